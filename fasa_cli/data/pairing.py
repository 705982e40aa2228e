"""Which mask belongs to which image: by name, never by the place in a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fasa_cli.data.masks import MASK_SUFFIXES, Convention
from fasa_cli.data.samples import Entry, Listing, Problem
from fasa_cli.imaging.formats import IMAGE_SUFFIXES

MASK_ENDINGS = ("", "_gt", "_mask")
WITHOUT_MASK = "images without a mask"
WITHOUT_IMAGE = "masks without an image"


def files_below(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> list[Path]:
    """Every image below a folder, sorted; hidden files are none (`._a.jpg` of some systems)."""
    wanted = frozenset(suffixes)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in wanted and path.is_file() and not path.name.startswith(".")
    )


def masks_below(folder: Path) -> list[Path]:
    """Every file below a folder that can be a mask, sorted."""
    return files_below(folder, IMAGE_SUFFIXES | MASK_SUFFIXES)


def by_path(files: Iterable[Path], folder: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Files by their path inside `folder`, without the suffix."""
    return _keyed({path: path.relative_to(folder).with_suffix("").as_posix() for path in files})


def by_stem(files: Iterable[Path]) -> tuple[dict[str, Path], list[Problem]]:
    """Files by their bare name, without the suffix, whatever folder they lie in."""
    return _keyed({path: path.stem for path in files})


def pair(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    *,
    endings: Iterable[str] = MASK_ENDINGS,
    convention: Convention = "bright",
    may_turn: bool = False,
) -> Listing:
    """Give each image `a` the one mask that is called `a` + one of `endings`."""
    entries, problems = [], []
    used: set[str] = set()
    for stem, image in images.items():
        names = [stem + ending for ending in endings if stem + ending in masks]
        names = [name for name in names if name == stem or name not in images]  # another's own name
        used.update(names)
        if len(names) == 1:
            entries.append(Entry(image, masks[names[0]], convention, may_turn))
        elif names:
            several = " and ".join(masks[name].name for name in names)
            problems.append(Problem("more than one mask for", f"{image}: {several}"))
        else:
            problems.append(Problem(WITHOUT_MASK, str(image)))
    problems += [Problem(WITHOUT_IMAGE, str(p)) for name, p in masks.items() if name not in used]
    return Listing(tuple(entries), tuple(problems))


def authentic(folder: Path | None) -> Listing:
    """Every image below a folder, without a mask; nothing for None."""
    files = files_below(folder) if folder else []
    return Listing(tuple(Entry(path) for path in files))


def together(*listings: Listing, problems: Iterable[Problem] = ()) -> Listing:
    """One listing of several, `problems` first."""
    return Listing(
        tuple(entry for listing in listings for entry in listing.entries),
        (*problems, *(problem for listing in listings for problem in listing.problems)),
    )


def _keyed(keys: Mapping[Path, str]) -> tuple[dict[str, Path], list[Problem]]:
    files: dict[str, Path] = {}
    problems = []
    for path, key in keys.items():
        if key in files:
            kind = "two files of one name, either of which may be meant"
            problems.append(Problem(kind, f"{files[key]} and {path.name}"))
        files[key] = path
    return files, problems

"""Data sets in the folders in which their makers publish them.

Each reader lists files by name and decodes nothing; what it cannot place becomes a problem. What
its masks mean is in masks.py.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from fasa_cli.data.pairing import (
    WITHOUT_MASK,
    authentic,
    by_path,
    by_stem,
    files_below,
    masks_below,
    pair,
    together,
)
from fasa_cli.data.samples import Entry, Listing, Problem
from fasa_cli.errors import DatasetError

IMAGE_FOLDERS = ("images", "Tp")
MASK_FOLDERS = ("masks", "Gt")
AUTHENTIC_FOLDERS = ("authentic", "Au")


@dataclass(frozen=True)
class Layout:
    """`looks_like` describes it to people; `fits` looks at names only; `read` lists everything."""

    looks_like: str
    fits: Callable[[Path], bool]
    read: Callable[[Path], Listing]


# --- Plain folders, IMDL-BenCo's -----------------------------------------------------------------


def _is_plain(root: Path) -> bool:
    images, masks, untouched = _plain_folders(root)
    return (images is None) == (masks is None) and bool(images or untouched)


def _read_plain(root: Path) -> Listing:
    images, masks, untouched = _plain_folders(root)
    if (images is None) != (masks is None) or not (images or untouched):
        raise DatasetError(
            f"{root}: expected images/ and masks/ (or Tp/ and Gt/), authentic/ (or Au/), or both"
        )
    pairs = _pair_by_path(images, masks) if images and masks else Listing(())
    return together(pairs, authentic(untouched))


def _plain_folders(root: Path) -> tuple[Path | None, ...]:
    return tuple(_first(root, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS, AUTHENTIC_FOLDERS))


def _pair_by_path(image_folder: Path, mask_folder: Path) -> Listing:
    images, doubles = by_path(files_below(image_folder), image_folder)
    masks, more = by_path(masks_below(mask_folder), mask_folder)
    return together(pair(images, masks), problems=(*doubles, *more))


# --- CASIA v1 and v2 -----------------------------------------------------------------------------

_CASIA_TAMPERED = ("Tp", "Modified Tp/Tp", "Modified Tp", "ModifiedTp")
_CASIA_TRUTH = re.compile(r"ground[ _]?truth|^gt$|^masks?$", re.IGNORECASE)


def _casia_parts(root: Path) -> tuple[Path | None, Path | None, Path | None]:
    """Tampered, truth and authentic; v1 keeps photos and truth in two folders side by side."""
    tops = [root, *_folders(root)]
    tampered = next((found for top in tops if (found := _first(top, _CASIA_TAMPERED))), None)
    untouched = next((found for top in tops if (found := _first(top, ("Au",)))), None)
    truth = next((folder for folder in _folders(root) if _CASIA_TRUTH.search(folder.name)), None)
    return tampered, truth, untouched


def _is_casia(root: Path) -> bool:
    tampered, truth, _ = _casia_parts(root)
    return bool(tampered and truth)


def _read_casia(root: Path) -> Listing:
    """`Tp_..._gt.png` belongs to `Tp_....jpg` or `.tif`, whichever sub-folders they lie in."""
    tampered, truth, untouched = _casia_parts(root)
    if not (tampered and truth):
        raise DatasetError(f"{root}: no CASIA; expected Tp/, a folder of ground truth, and Au/")
    images, doubles = by_stem(files_below(tampered))
    masks, more = by_stem(masks_below(truth))
    pairs = pair(images, masks, endings=("_gt", ""), may_turn=True)
    return together(pairs, authentic(untouched), problems=(*doubles, *more))


# --- Columbia ------------------------------------------------------------------------------------


def _is_columbia(root: Path) -> bool:
    return (root / "4cam_splc").is_dir()


def _read_columbia(root: Path) -> Listing:
    """4cam_splc/a.tif and its edgemask/a_edgemask.jpg; unpacked archives may nest a folder."""
    spliced = _children_by_stem(_innermost(root / "4cam_splc"))
    masks, _ = by_stem(files_below(root / "4cam_splc"))
    masks = {name: path for name, path in masks.items() if name.endswith("_edgemask")}
    untouched = root / "4cam_auth"
    photos = _children_by_stem(_innermost(untouched)) if untouched.is_dir() else {}
    pairs = pair(spliced, masks, endings=("_edgemask",), convention="green")
    return together(pairs, Listing(tuple(Entry(path) for path in photos.values())))


def _innermost(folder: Path) -> Path:
    nested = folder / folder.name
    return nested if nested.is_dir() else folder


def _children_by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in files_below(folder) if path.parent == folder}


# --- Coverage ------------------------------------------------------------------------------------


def _is_coverage(root: Path) -> bool:
    masks = root / "mask"
    return (root / "image").is_dir() and any(masks.glob("*forged.*"))


def _read_coverage(root: Path) -> Listing:
    """image/1t.tif is the forgery of image/1.tif; mask/1forged.tif marks what was pasted."""
    files, doubles = by_path(files_below(root / "image"), root / "image")
    forged = {name.removesuffix("t"): path for name, path in files.items() if name.endswith("t")}
    masks, more = by_path(files_below(root / "mask"), root / "mask")
    masks = {name: path for name, path in masks.items() if name.endswith("forged")}
    photos = [Entry(path) for name, path in files.items() if not name.endswith("t")]
    pairs = pair(forged, masks, endings=("forged",))
    return together(pairs, Listing(tuple(photos)), problems=(*doubles, *more))


# --- NIST16 --------------------------------------------------------------------------------------


def _is_nist16(root: Path) -> bool:
    return (root / "probe").is_dir() and (root / "mask").is_dir()


def _read_nist16(root: Path) -> Listing:
    """By the reference CSV where there is one, else a.jpg with a.png, a_gt.png or a_mask.png.

    Of the references under reference/ that on all manipulations is taken: the others repeat parts
    of it. Probes that it calls no target are authentic.
    """
    references = sorted(root.glob("reference/**/*ref.csv"))
    if references:
        chosen = [path for path in references if "manipulation" in path.name] or references
        return together(*(_read_reference(path, root) for path in chosen))
    images, doubles = by_stem(files_below(root / "probe"))
    masks, more = by_stem(masks_below(root / "mask"))
    return together(pair(images, masks, convention="dark"), problems=(*doubles, *more))


def _read_reference(reference: Path, root: Path) -> Listing:
    entries, problems = [], []
    try:
        with reference.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="|"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{reference}: cannot be read ({error}); get a fresh copy") from error
    for row in rows:
        if not row.get("ProbeFileName"):
            raise DatasetError(f"{reference}: no column ProbeFileName, separated by |")
        image, name = root / row["ProbeFileName"], row.get("ProbeMaskFileName")
        is_target = row.get("IsTarget", "Y" if name else "N") == "Y"
        mask = root / name if name else None
        if not image.is_file():
            problems.append(Problem("listed but missing", str(image)))
        elif not is_target:
            entries.append(Entry(image))
        elif mask and mask.is_file():
            entries.append(Entry(image, mask, "dark"))
        else:
            problems.append(Problem(WITHOUT_MASK, str(image)))
    entries.sort(key=lambda entry: entry.mask is None)  # manipulated ones first; stable
    return Listing(tuple(entries), tuple(problems))


# --- IMD2020 -------------------------------------------------------------------------------------


def _is_imd2020(root: Path) -> bool:
    return any(next(folder.glob("*_orig.*"), None) for folder in _folders(root))


def _read_imd2020(root: Path) -> Listing:
    """One folder for each photo: x_orig.jpg, its forgeries y.jpg, and for each a y_mask.png."""
    files = files_below(root)
    photos = [path for path in files if path.stem.endswith("_orig")]
    masks, doubles = by_path((p for p in files if p.stem.endswith("_mask")), root)
    forged, more = by_path((p for p in files if not p.stem.endswith(("_mask", "_orig"))), root)
    pairs = pair(forged, masks, endings=("_mask",))
    return together(pairs, Listing(tuple(map(Entry, photos))), problems=(*doubles, *more))


# --- FantasticReality and tampered COCO ----------------------------------------------------------


def _fantastic_root(root: Path) -> Path:
    return root / "dataset" if (root / "dataset" / "ColorFakeImages").is_dir() else root


def _is_fantastic_reality(root: Path) -> bool:
    return (_fantastic_root(root) / "ColorFakeImages").is_dir()


def _read_fantastic_reality(root: Path) -> Listing:
    """ColorFakeImages/a.jpg and SegmentationFake/a.npz (or masks/a.png); ColorRealImages/."""
    root = _fantastic_root(root)
    folder = _first(root, ("SegmentationFake", "masks"))
    if folder is None:
        raise DatasetError(f"{root}: FantasticReality without SegmentationFake/ or masks/")
    images, doubles = by_stem(files_below(root / "ColorFakeImages"))
    masks, more = by_stem(masks_below(folder))
    pairs = pair(images, masks, convention="nonzero")
    untouched = authentic(_first(root, ("ColorRealImages",)))
    return together(pairs, untouched, problems=(*doubles, *more))


# Images -> masks; the compressed copies of `bcmc` share the masks of `bcm`.
_TAMPCOCO = {"sp": "sp", "cm": "cm", "bcm": "bcm", "bcmc": "bcm"}


def _is_tampcoco(root: Path) -> bool:
    return any((root / f"{kind}_images").is_dir() for kind in _TAMPCOCO)


def _read_tampcoco(root: Path) -> Listing:
    listings = []
    for kind, truth in _TAMPCOCO.items():
        folder, masks_folder = root / f"{kind}_images", root / f"{truth}_masks"
        if folder.is_dir():
            images, doubles = by_path(files_below(folder), folder)
            masks, more = by_path(masks_below(masks_folder), masks_folder)
            listing = pair(images, masks, convention="nonzero")
            listings.append(together(listing, problems=(*doubles, *more)))
    return together(*listings)


# --- All of them ---------------------------------------------------------------------------------

LAYOUTS: dict[str, Layout] = {
    "columbia": Layout("4cam_splc/ with edgemask/, 4cam_auth/", _is_columbia, _read_columbia),
    "coverage": Layout("image/1t.tif, mask/1forged.tif", _is_coverage, _read_coverage),
    "nist16": Layout("probe/, mask/, reference/*.csv", _is_nist16, _read_nist16),
    "fantastic-reality": Layout(
        "ColorFakeImages/, SegmentationFake/", _is_fantastic_reality, _read_fantastic_reality
    ),
    "tampcoco": Layout("sp_images/, sp_masks/ and so on", _is_tampcoco, _read_tampcoco),
    "folder": Layout("images/ + masks/ or Tp/ + Gt/; authentic/ or Au/", _is_plain, _read_plain),
    "casia": Layout("Tp/, a folder of ground truth, Au/", _is_casia, _read_casia),
    "imd2020": Layout("sub-folders with *_orig.* and *_mask.png", _is_imd2020, _read_imd2020),
}


def recognise(root: Path) -> str | None:
    """The name of the layout that a folder has, or None."""
    return next((name for name, layout in LAYOUTS.items() if layout.fits(root)), None)


def _first(root: Path, names: Iterable[str]) -> Path | None:
    exact = next((root / name for name in names if (root / name).is_dir()), None)
    if exact is not None or not root.is_dir():
        return exact
    # On case-sensitive disks, Images and Masks are images and masks all the same.
    children = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
    return next((children[name.lower()] for name in names if name.lower() in children), None)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())

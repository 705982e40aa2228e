"""Read public data sets as they are published, without converting them.

`read_dataset` recognises the layout of what it is given:

    folder   images/ + masks/ (or IMDL-BenCo's Tp/ + Gt/), authentic/ (or Au/) beside or alone
    casia, columbia, coverage, nist16, imd2020, fantastic-reality, tampcoco
             the folders in which these data sets are published (layouts.py)
    json     IMDL-BenCo's lists, [["image", "mask" or "Negative"], ...]
    balanced IMDL-BenCo's lists of data sets, [["ManiDataset", "folder"], ["JsonDataset", "list"],
             ...], drawn from equally; the kind may also be a layout's name (lists.py)
    list     the text lists of CAT-Net and MVSS, `image mask` or `image None` per line
    parquet  OpenSDI's rows of key, image, mask, label (parquet.py)

A mask belongs to the image whose name it bears (`a.jpg` and `a.png`, `a_gt.png` or `a_mask.png`),
never to the one at the same place in a list.
"""

from __future__ import annotations

from pathlib import Path

from fasa_cli.data.layouts import LAYOUTS, recognise
from fasa_cli.data.lists import BalancedDataset, list_json, list_text, read_json
from fasa_cli.data.parquet import ParquetDataset
from fasa_cli.data.samples import (
    Dataset,
    Entry,
    FolderDataset,
    Listing,
    Problem,
    Sample,
    SampleError,
    readable,
    refuse,
)
from fasa_cli.errors import ConfigError, DatasetError

__all__ = [
    "LAYOUT_NAMES",
    "Dataset",
    "Entry",
    "FolderDataset",
    "Problem",
    "Sample",
    "SampleError",
    "find_layout",
    "read_dataset",
    "read_folder",
    "readable",
]

LAYOUT_NAMES = (*LAYOUTS, "json", "balanced", "list", "parquet")

# What balanced lists call kinds of data sets: IMDL-BenCo's readers, and our layouts. Its folders
# are recognised, for some published ones have the same names inside.
_KINDS = {"ManiDataset": None, "JsonDataset": "json", **{name: name for name in LAYOUT_NAMES}}


def read_dataset(
    path: Path, *, layout: str | None = None, root: Path | None = None, lenient: bool = False
) -> Dataset:
    """List a data set, without decoding an image yet.

    `layout` names one of `LAYOUT_NAMES` where recognising it is not wanted; `root` is what the
    paths of a list are relative to, its own folder unless given. `lenient` leaves out what has no
    partner, as the data set's `problems`; otherwise that is an error.

    Raises:
        ConfigError: `layout` is none of them.
        DatasetError: there is no such file, no layout that is known, or no image; an image without
            exactly one mask, a mask without an image, or a listed file that is missing, by name.
    """
    layout = layout or find_layout(path)
    if layout not in LAYOUT_NAMES:
        raise ConfigError(f"no layout {layout!r}; there are {', '.join(LAYOUT_NAMES)}")
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder")
    if layout == "parquet":
        return _not_empty(ParquetDataset(path, _parquet_files(path)), path)
    if layout == "balanced":
        return _read_balanced(path, root, lenient)
    if layout in ("json", "list"):
        root = root or path.parent
        listing = list_json(path, root) if layout == "json" else list_text(path, root)
        return _dataset(listing, root, lenient, path.stem)
    _check_folder(path)
    return _dataset(LAYOUTS[layout].read(path), path, lenient)


def read_folder(root: Path) -> FolderDataset:
    """List a data set of the layout `folder`, without decoding anything yet.

    Raises:
        DatasetError: there is no such folder or layout, no image, or an image without exactly
            one mask, or a mask without an image; the files are named.
    """
    _check_folder(root)
    return _dataset(LAYOUTS["folder"].read(root), root, lenient=False)


def find_layout(path: Path) -> str:
    """The name of the layout that a file or folder has.

    Raises:
        DatasetError: there is nothing there, or nothing known.
    """
    if path.is_dir():
        if found := recognise(path) or ("parquet" if _parquet_files(path) else None):
            return found
        known = "; ".join(f"{name}: {layout.looks_like}" for name, layout in LAYOUTS.items())
        raise DatasetError(f"{path}: not a layout that is known. Folders: {known}")
    if not path.exists():
        raise DatasetError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return "balanced" if all(kind in _KINDS for kind, _ in read_json(path)) else "json"
    found = {".txt": "list", ".csv": "list", ".parquet": "parquet"}.get(suffix)
    if found is None:
        raise DatasetError(f"{path}: a data set is a folder, or a .json, .txt or .parquet file")
    return found


def _dataset(
    listing: Listing, root: Path, lenient: bool, title: str | None = None
) -> FolderDataset:
    if not lenient:
        refuse(listing.problems)
    dataset = FolderDataset(root, listing.entries, title, listing.problems)
    if not listing.entries and not listing.problems:
        _not_empty(dataset, root)
    return dataset


def _read_balanced(path: Path, root: Path | None, lenient: bool) -> BalancedDataset:
    """Members lie relative to `root` or to the list; their own lists' paths to those lists."""
    top = root or path.parent
    members = []
    for kind, name in read_json(path):
        if kind not in _KINDS:
            raise DatasetError(f"{path}: no kind {kind!r}; there are {', '.join(_KINDS)}")
        member = read_dataset(top / name, layout=_KINDS[kind], lenient=lenient)
        if not len(member):
            raise DatasetError(f"{path}: {name} has no image that could be drawn")
        members.append(member)
    problems = tuple(problem for member in members for problem in member.problems)
    return BalancedDataset(path.stem, tuple(members), problems=problems)


def _parquet_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.parquet"))


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder")


def _not_empty(dataset: Dataset, path: Path) -> Dataset:
    if not len(dataset):
        raise DatasetError(f"{path}: holds no image")
    return dataset

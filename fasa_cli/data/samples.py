"""What every data set is made of: samples, where they lie, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from fasa_cli.data.masks import Convention, read_mask, turn_to_fit
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.imaging.decode import read_image, upright
from fasa_cli.results import DecodedImage

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Sample:
    """One image and its truth.

    `image` is H x W x 3 uint8 RGB; `target_mask` is H x W bool, True where manipulated, or None
    for an authentic image. `source` names the data set, `name` the image's path inside it.
    `notes` say what was put right in reading. `file` is the image's, where it has one of its own.
    """

    image: np.ndarray
    target_mask: np.ndarray | None
    source: str
    name: str
    notes: tuple[str, ...] = ()
    file: Path | None = None


@dataclass(frozen=True)
class Entry:
    """Where a sample lies; without a mask it is authentic.

    `convention` says which of the mask's pixels are manipulated. `may_turn`: the data set is known
    for masks that lie on their side; elsewhere such a mask is an error.
    """

    image: Path
    mask: Path | None = None
    convention: Convention = "bright"
    may_turn: bool = False


@dataclass(frozen=True)
class Problem:
    """What is wrong with a data set: a `kind` that ends like "images without a mask", and where."""

    kind: str
    where: str


@dataclass(frozen=True)
class Listing:
    """What a layout's reader found, in its order, and what it could not place."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()


class SampleError(DatasetError):
    """One sample cannot be used; `kind` says in which of a few ways, for counting."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Dataset(Protocol):
    """Samples in a fixed order, each read when it is asked for and not kept."""

    @property
    def name(self) -> str: ...

    @property
    def problems(self) -> tuple[Problem, ...]: ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that samples are read from, in a fixed order."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True)
class FolderDataset:
    """Samples in files of their own, manipulated ones first.

    `root` is the folder that names are relative to; `title` is the data set's name where that is
    not the folder's. `problems` are those that the reader leaves out on request.
    """

    root: Path
    entries: tuple[Entry, ...]
    title: str | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def name(self) -> str:
        """The data set's title, or the name of the root folder."""
        return self.title or self.root.resolve().name

    @property
    def files(self) -> tuple[Path, ...]:
        """Each image, its mask after it."""
        pairs = ((entry.image, entry.mask) for entry in self.entries)
        return tuple(path for pair in pairs for path in pair if path)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            SampleError: a file cannot be decoded, the mask's size is not the image's, or the
                mask is not black and white.
        """
        entry = self.entries[index]
        image = _read(entry.image)
        name = _name(entry.image, self.root)
        if entry.mask is None:
            return Sample(image.pixels, None, self.name, name, file=entry.image)
        mask, notes = _mask_of(entry, entry.mask, image)
        return Sample(image.pixels, mask, self.name, name, notes, entry.image)

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples one by one; none is kept."""
        return (self[index] for index in range(len(self)))


def readable(dataset: Dataset) -> Iterator[Sample | SampleError]:
    """The samples one by one, and in the place of one that cannot be used the reason."""
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except SampleError as error:
            yield error


def refuse(problems: Iterable[Problem]) -> None:
    """
    Raises:
        DatasetError: there are problems; those of the first one's kind are named.
    """
    problems = list(problems)
    if not problems:
        return
    kind = problems[0].kind
    names = [problem.where for problem in problems if problem.kind == kind]
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    raise DatasetError(f"{kind}: {shown}; `fasa data check` lists everything")


def _read(path: Path) -> DecodedImage:
    try:
        return read_image(path)
    except ImageError as error:
        raise SampleError("unreadable", str(error)) from error


def _mask_of(entry: Entry, path: Path, image: DecodedImage) -> tuple[np.ndarray, tuple[str, ...]]:
    """The mask in the image's size, and what was put right."""
    try:
        mask = read_mask(path, entry.convention)
    except ImageError as error:
        raise SampleError("unreadable", str(error)) from error
    except DatasetError as error:
        raise SampleError("mask values", str(error)) from error
    if mask.shape == image.pixels.shape[:2]:
        return mask, ()
    if image.orientation > 4 and mask.shape == image.stored_size[::-1]:
        # Made by a program that does not know EXIF: the mask lies as the file stores the image.
        note = f"{path}: the mask was turned upright as its image is by EXIF"
        return upright(mask, image.orientation), (note,)
    if entry.may_turn and mask.shape == image.pixels.shape[1::-1]:
        mask, how = turn_to_fit(mask, image.pixels)
        return mask, (f"{path}: the mask lay on its side and was {how}; look at it",)
    sizes = [f"{array.shape[1]} x {array.shape[0]}" for array in (image.pixels, mask)]
    raise SampleError(
        "size mismatch", f"{entry.image} is {sizes[0]} pixels but its mask {path} is {sizes[1]}"
    )


def _name(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()

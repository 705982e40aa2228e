"""Masks and probability maps that any method has left in a folder, as `Prediction`s.

A file belongs to the image whose name it bears, never to the one at the same place in a list. For
the image `images/sub/a.jpg` of a data set these are looked for, with and without the image's own
suffix, and then without the leading folders, one after another:

    images/sub/a.jpg.prob.png   a map as `fasa scan --probabilities` writes it; preferred to
    images/sub/a.jpg.mask.png   a mask as `fasa scan` writes it
    images/sub/a.png            8-bit or 16-bit grey, or any other suffix of an image
    images/sub/a.jpg.npz        an array in [0, 1] (.npy), or TruFor's `map` and `score` (.npz)
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from fasa_cli.data.datasets import Sample
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.imaging.decode import open_picture
from fasa_cli.imaging.formats import IMAGE_SUFFIXES
from fasa_cli.imaging.limits import Arrays
from fasa_cli.results import Prediction
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES, RUN_FOLDER

_ARRAYS = (".npy", ".npz")
_ROUNDING = 1e-5  # by which float32 may leave [0, 1], as 1.0000002 does
# What a name ends in, the preferred one first.
_ENDINGS = (OUTPUT_SUFFIXES["probabilities"], OUTPUT_SUFFIXES["mask"])
_OTHERS = tuple(set(OUTPUT_SUFFIXES.values()) - set(_ENDINGS))
_COLOUR = 8  # grey levels; JPEG moves the channels of a grey picture apart by less


class SavedPredictions:
    """The predictions in one folder, each read when its image is asked for.

    `unused` and `notes` say what looks wrong, once all samples of a data set were read.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            DatasetError: no such folder, nothing in it, or two predictions for one name.
        """
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder of predictions")
        self.folder = folder
        self._files = _index(folder)
        if not self._files:
            raise DatasetError(f"{folder}: holds no mask and no map (.png, .tif, .npy, .npz ...)")
        self._asked: dict[Path, str] = {}
        self._binary = 0
        self._highest = 0.0

    @cached_property
    def sha256(self) -> str:
        """One hash over the names and bytes of all predictions."""
        total = hashlib.sha256()
        for key, path in sorted(self._files.items()):
            total.update(repr((key, hashlib.sha256(path.read_bytes()).hexdigest())).encode())
        return total.hexdigest()

    @property
    def unused(self) -> int:
        """How many predictions no image has asked for."""
        return len(self._files) - len(self._asked)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores must know."""
        notes = []
        if self._asked and self._binary == len(self._asked):
            notes.append("all predictions are masks: their AUC and best F1 say no more than F1")
        if self._asked and self._highest < 1.5 / 255:
            notes.append("no prediction is above 1 of 255; scale masks of 0 and 1 to 0 and 255")
        if self.unused:
            notes.append(f"{self.unused} of {len(self._files)} predictions belong to no image")
        return tuple(notes)

    @property
    def source(self) -> Path:
        """The folder."""
        return self.folder

    def identity(self) -> dict[str, Any]:
        """See `Localizer`."""
        return {"kind": "predictions", "sha256": self.sha256}

    def predict_sample(self, sample: Sample, size: tuple[int, int] | None = None) -> Prediction:
        """The prediction for one sample, brought to `size` (width, height); None: the image's own.

        Raises:
            ImageError: there is none, it cannot be read, or it has neither the image's size nor
                `size`; all sizes are named.
            DatasetError: it has been taken for another image already.
        """
        path = self._find(sample.name)
        if self._asked.setdefault(path, sample.name) != sample.name:
            raise DatasetError(
                f"{path}: would stand for both {self._asked[path]} and {sample.name}; put the "
                "predictions into folders as the images are"
            )
        own = sample.image.shape[1::-1]
        size = size or own

        def check(found: tuple[int, ...]) -> None:
            if found not in (own, size):
                protocol = "" if size == own else f" and the protocol {size[0]} x {size[1]}"
                raise ImageError(
                    f"{path}: is {' x '.join(map(str, found))} pixels but its image {own[0]} x "
                    f"{own[1]}{protocol}; resize it"
                )

        probabilities, score = read_map(path, check)
        found = probabilities.shape[::-1]
        self._binary += bool(((probabilities == 0) | (probabilities == 1)).all())
        self._highest = max(self._highest, float(probabilities.max()))
        if found != size:
            probabilities = cv2.resize(probabilities, size, interpolation=cv2.INTER_LINEAR)
        score = float(probabilities.max()) if score is None else score
        return Prediction(probabilities, score, found)

    def _find(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        for start in range(len(parts)):
            tail = PurePosixPath(*parts[start:])
            # The last is the name that `fasa robustness --export` gives the degraded image.
            for key in (f"{tail}", f"{tail.with_suffix('')}", f"{tail}.png"):
                if key in self._files:
                    return self._files[key]
        stem = PurePosixPath(name).stem
        raise ImageError(f"{self.folder}: no prediction for {name}; expected, say, {stem}.png")


def read_map(
    path: Path, check: Callable[[tuple[int, ...]], None] = lambda size: None
) -> tuple[np.ndarray, float | None]:
    """Read a mask or map as H x W float32 in [0, 1], and the image's score where it is given.

    8-bit values are divided by 255, 16-bit ones by 65535; floating point is taken as it is.
    `check` is called with the (width, height) that the file declares, before it is decoded.

    Raises:
        ImageError: it cannot be read, is in colour, or has values outside [0, 1].
    """
    try:
        if path.suffix.lower() in _ARRAYS:
            values, score = _read_array(path, check)
        else:
            values, score = _read_picture(path, check), None
    except (OSError, ValueError, SyntaxError, KeyError, zipfile.BadZipFile) as error:
        raise ImageError(f"{path}: cannot be read as a mask or map ({error})") from error
    if values.ndim != 2 or values.size == 0:
        raise ImageError(f"{path}: a map has two dimensions, not the shape {values.shape}")
    if np.issubdtype(values.dtype, np.integer):
        values = values / np.iinfo(values.dtype).max
    values = values.astype(np.float32)
    low, high = values.min(), values.max()
    if -_ROUNDING <= low < 0 or 1 < high <= 1 + _ROUNDING:
        values = values.clip(0, 1)
        low, high = values.min(), values.max()
    if not (low >= 0 and high <= 1):  # NaN fails every comparison
        raise ImageError(f"{path}: the values of a map lie in [0, 1], not in [{low}, {high}]")
    if score is not None and not 0 <= score <= 1:
        raise ImageError(f"{path}: a score lies in [0, 1], {score} does not")
    return values, score


def _read_array(
    path: Path, check: Callable[[tuple[int, ...]], None]
) -> tuple[np.ndarray, float | None]:
    arrays = Arrays(path)
    names = arrays.names
    name = "map" if "map" in names else names[0] if len(names) == 1 else None
    if name is None:
        raise ValueError(f"no array `map`; it has {', '.join(names) or 'none'}")
    sides = tuple(side for side in arrays.shape(name) if side != 1)
    if len(sides) == 2:  # what has another shape is refused by it
        check(sides[::-1])
    score = None
    if "score" in names:
        if math.prod(arrays.shape("score")) != 1:
            raise ValueError("`score` is not one number")
        score = float(arrays.read("score").reshape(()))
    return arrays.read(name).squeeze(), score


def _read_picture(path: Path, check: Callable[[tuple[int, ...]], None]) -> np.ndarray:
    with open_picture(path.read_bytes(), str(path)) as picture:
        check(picture.size)
        if picture.mode.startswith("I;16"):
            return np.asarray(picture).astype(np.uint16)
        if picture.mode == "I":  # 16 bits in 32
            values = np.asarray(picture)
            if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
                raise ValueError("32-bit integers; write 8-bit or 16-bit grey")
            return values.astype(np.uint16)
        if picture.mode == "F":
            return np.asarray(picture)
        pixels = np.asarray(picture.convert("RGB"))
    if int((pixels.max(axis=2) - pixels.min(axis=2)).max()) > _COLOUR:
        raise ValueError("in colour")
    return pixels[..., 0]


def _index(folder: Path) -> dict[str, Path]:
    """Predictions by their path inside the folder, without what marks them as predictions."""
    files: dict[str, Path] = {}
    ranks: dict[str, int] = {}
    for path in _files_below(folder):
        key, rank = _key(path.relative_to(folder).as_posix())
        if ranks.get(key) == rank:
            raise DatasetError(f"{files[key]} and {path.name}: two predictions for one image")
        if rank < ranks.get(key, len(_ENDINGS) + 1):
            files[key], ranks[key] = path, rank
    return files


def _files_below(folder: Path) -> Iterator[Path]:
    suffixes = IMAGE_SUFFIXES | set(_ARRAYS)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == RUN_FOLDER for part in inside)
        is_other = path.name.endswith(_OTHERS)
        if path.suffix.lower() in suffixes and path.is_file() and not hidden and not is_other:
            yield path


def _key(name: str) -> tuple[str, int]:
    for rank, ending in enumerate(_ENDINGS):
        if name.endswith(ending):
            return name.removesuffix(ending), rank
    return PurePosixPath(name).with_suffix("").as_posix(), len(_ENDINGS)

"""A pool of authentic photos, some with an object mask, from which forgeries are made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from fasa_cli.data.checking import fingerprint
from fasa_cli.data.masks import read_mask
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.imaging.decode import read_image
from fasa_cli.imaging.formats import HEAD_BYTES, IMAGE_SUFFIXES, sniff_format, why_unreadable


class PhotoPool:
    """Photos below a folder; masks are found by the same relative name below another.

    Photos are decoded on first use and kept while `cache_bytes` lasts, so that a pool that fits
    is decoded once and one that does not still works. `sha256` identifies a pool by its names and
    pixels, masks included; "" before `check`.
    """

    def __init__(self, photos: Path, masks: Path | None = None, cache_bytes: int = 4 << 30) -> None:
        """
        Raises:
            DatasetError: there is no photo, or a mask folder that fits none of them.
        """
        if not photos.is_dir():
            raise DatasetError(f"{photos}: no such folder; give a folder of authentic photos")
        if masks is not None and not masks.is_dir():
            raise DatasetError(f"{masks}: no such folder; give the object masks' folder")
        self.folder = photos
        self.left_out: list[str] = []
        self.photos = [path for path in sorted(photos.rglob("*")) if self._is_photo(path)]
        if not self.photos:
            more = f" ({'; '.join(self.left_out[:3])})" if self.left_out else ""
            raise DatasetError(f"{photos}: no photo in this folder or below it{more}")
        self.masks: dict[int, Path] = {}
        if masks is not None:
            found = {
                (path.parent, path.stem): path
                for path in sorted(masks.rglob("*"))
                if path.suffix.lower() in IMAGE_SUFFIXES
            }
            for index, path in enumerate(self.photos):
                place = masks / path.relative_to(photos)
                if mask := found.get((place.parent, place.stem)):
                    self.masks[index] = mask
            if not self.masks:
                raise DatasetError(
                    f"{masks}: no mask has the name of a photo below {photos}; "
                    "a.jpg's mask is a.png in the same subfolder"
                )
        self.with_object = sorted(self.masks)
        self.sha256 = ""
        self._left = cache_bytes
        self._cache: dict[Path, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.photos)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cache": {}}  # a spawned worker fills its own

    def photo(self, index: int) -> np.ndarray:
        """H x W x 3 uint8 RGB, upright. Do not write into it."""
        return self._read(self.photos[index])

    def object_mask(self, index: int) -> np.ndarray:
        """H x W bool, True on the photo's main object; read as ground truth is (masks.py).

        Raises:
            DatasetError: the mask has another size than its photo, or cannot be read.
        """
        path = self.masks[index]
        mask = self._cache.get(path)
        if mask is None:
            mask = read_mask(path)
            self._keep(path, mask)
        photo = self.photo(index)
        if mask.shape != photo.shape[:2]:
            raise DatasetError(
                f"{self.masks[index]}: the mask is {mask.shape[1]} x {mask.shape[0]}, its photo "
                f"{photo.shape[1]} x {photo.shape[0]}"
            )
        return mask

    def check(self) -> list[str]:
        """Decode everything once, filling the cache; returns what cannot be read, and drops it.

        Raises:
            DatasetError: nothing can be read, or a mask does not fit its photo.
        """
        problems = list(self.left_out)
        readable: list[Path] = []
        masks: dict[int, Path] = {}
        digest = hashlib.sha256()
        for index, path in enumerate(self.photos):
            try:
                content = fingerprint(self.photo(index))
                if index in self.masks:
                    content += fingerprint(self.object_mask(index))
                    masks[len(readable)] = self.masks[index]
                readable.append(path)
                digest.update(path.relative_to(self.folder).as_posix().encode() + content)
            except ImageError as error:
                problems.append(str(error))
        if not readable:
            raise DatasetError(f"no photo can be read; the first reason: {problems[0]}")
        self.photos, self.masks, self.with_object = readable, masks, sorted(masks)
        self.sha256 = digest.hexdigest()
        return problems

    def _is_photo(self, path: Path) -> bool:
        """By content, as a scan does; what claims to be a photo and is none is noted."""
        if not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                file_format = sniff_format(file.read(HEAD_BYTES))
        except OSError as error:
            self.left_out.append(f"{path}: cannot be read ({error.strerror})")
            return False
        if file_format is not None:
            why = why_unreadable(file_format)
            if why is None:
                return True
            self.left_out.append(f"{path}: {file_format} {why}")
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            self.left_out.append(f"{path}: is no image, whatever its name says")
        return False

    def _read(self, path: Path) -> np.ndarray:
        cached = self._cache.get(path)
        if cached is not None:
            return cached
        pixels = read_image(path).pixels
        self._keep(path, pixels)
        return pixels

    def _keep(self, path: Path, pixels: np.ndarray) -> None:
        if pixels.nbytes <= self._left:
            self._left -= pixels.nbytes
            self._cache[path] = pixels

"""A pool of authentic photos, some with an object mask, from which forgeries are made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from fasa_cli.data.checking import fingerprint
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.images import IMAGE_SUFFIXES, read_image


class PhotoPool:
    """Photos below a folder; masks are found by the same relative name below another.

    Photos are decoded on first use and kept while `cache_bytes` lasts, so that a pool that fits
    is decoded once and one that does not still works. `sha256` tells pools apart by their names and
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
        self.photos = sorted(
            path for path in photos.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES
        )
        if not self.photos:
            raise DatasetError(f"{photos}: no photo in this folder or below it")
        self.masks: dict[int, Path] = {}
        if masks is not None:
            for index, path in enumerate(self.photos):
                mask = masks / path.relative_to(photos).with_suffix(".png")
                if mask.is_file():
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
        """H x W bool, True on the photo's main object.

        Raises:
            DatasetError: the mask has another size than its photo.
        """
        mask = self._read(self.masks[index])[..., 0]
        photo = self.photo(index)
        if mask.shape != photo.shape[:2]:
            raise DatasetError(
                f"{self.masks[index]}: the mask is {mask.shape[1]} x {mask.shape[0]}, its photo "
                f"{photo.shape[1]} x {photo.shape[0]}"
            )
        return mask > 127

    def check(self) -> list[str]:
        """Decode everything once, filling the cache; returns what cannot be read, and drops it.

        Raises:
            DatasetError: nothing can be read, or a mask does not fit its photo.
        """
        problems: list[str] = []
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

    def _read(self, path: Path) -> np.ndarray:
        cached = self._cache.get(path)
        if cached is not None:
            return cached
        pixels = read_image(path).pixels
        if pixels.nbytes <= self._left:
            self._left -= pixels.nbytes
            self._cache[path] = pixels
        return pixels

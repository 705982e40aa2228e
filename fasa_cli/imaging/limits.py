"""One guard for every picture and array that is read: how many pixels it may declare.

A few kilobytes can declare gigabytes. What a header declares is checked before anything is
decoded. Nothing is set for the whole process: Pillow's own limit stays as its user has it.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from fasa_cli.errors import ImageError
from fasa_cli.imaging.other_decoders import jpeg_xl_size, open_heic, open_jpeg_xl

# What Pillow mutters while reading belongs into records or nowhere; its warnings of
# large pictures stay as they are. A filter set once is safe with threads;
# warnings.catch_warnings() is not.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

MAX_PIXELS = 200_000_000
_MAX_ITEM = 16  # bytes of a value
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def check_size(size: tuple[int, int], name: str, most: int = MAX_PIXELS) -> None:
    """
    Raises:
        ImageError: `size` (width, height) is empty, or has more than `most` pixels.
    """
    width, height = size
    if width <= 0 or height <= 0:
        raise ImageError(f"{name}: declares {width} x {height} pixels; get a fresh copy")
    if width * height > most:
        raise ImageError(
            f"{name}: declares {width} x {height} pixels, more than the limit of {most}; "
            "if you trust the file, scale it down first or cut it into parts"
        )


def open_header(data: bytes, file_format: str) -> Image.Image:
    """Read a picture's header as Pillow does, but without its limit; no pixel is decoded yet.

    `file_format` is what `sniff_format` says. Of JPEG XL the pixels are decoded, after a look at
    their number; of a camera RAW file, what is read are the directories around its picture.

    Raises:
        UnidentifiedImageError: the header is damaged.
        ImageError: it needs a library that is not installed, or a JPEG XL has too many pixels.
    """
    if file_format == "HEIC":
        return open_heic(data)
    if file_format == "JPEG XL":
        check_size(jpeg_xl_size(data), "it")
        return open_jpeg_xl(data)
    if file_format == "camera RAW":
        file_format = "TIFF"
    if file_format not in Image.OPEN:
        Image.preinit()
    if file_format not in Image.OPEN:
        Image.init()
    factory, _ = Image.OPEN[file_format]
    try:
        return factory(io.BytesIO(data), "")
    except (SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error) as error:
        raise UnidentifiedImageError(f"not a {file_format} file that can be read") from error


class Arrays:
    """The arrays of an .npy or .npz file, each read when asked for, and none that is too large."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            OSError, ValueError, zipfile.BadZipFile: it cannot be read.
        """
        self._path = path
        self._is_zip = path.suffix.lower() == ".npz"
        self.names: tuple[str, ...] = ("",)
        if self._is_zip:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
            self.names = tuple(name.removesuffix(".npy") for name in names)

    def shape(self, name: str = "") -> tuple[int, ...]:
        """The shape of one of them, as its header declares it.

        Raises:
            OSError, ValueError, zipfile.BadZipFile: it cannot be read.
        """
        with self._opened(name) as file:
            return _checked_header(file)[0]

    def read(self, name: str = "") -> np.ndarray:
        """One of them; objects are never unpickled.

        Raises:
            OSError, ValueError, zipfile.BadZipFile: it cannot be read, or declares too much.
        """
        with self._opened(name) as file:
            _checked_header(file)
        with self._opened(name) as file:
            array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
        return array

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        if not self._is_zip:
            with self._path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self._path) as archive, archive.open(f"{name}.npy") as member:
            yield member


def _checked_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"arrays of format {version[0]}.{version[1]} are not read")
    shape, _, dtype = _HEADERS[version](file)
    if dtype.hasobject or dtype.itemsize > _MAX_ITEM:
        raise ValueError(f"values of type {dtype} are no map")
    if any(side < 0 for side in shape) or math.prod(shape) > MAX_PIXELS:
        sides = " x ".join(map(str, shape))
        raise ValueError(f"declares {sides} values, more than the limit of {MAX_PIXELS}")
    return shape, dtype

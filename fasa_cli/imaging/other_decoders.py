"""What Pillow alone does not decode: HEIC (libheif), JPEG XL (libjxl), camera RAW (LibRaw).

HEIC needs pi-heif, which always comes with fasa; the others need an extra. All are decoded from
bytes already read, and none before its declared size was checked.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from fasa_cli.errors import ImageError
from fasa_cli.imaging.formats import why_unreadable

_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIDE_BITS = (9, 13, 18, 30)  # of a JPEG XL's size header
_FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's turns -> EXIF's
_MOST_BOXES = 100


def open_heic(data: bytes) -> Image.Image:
    """A HEIC or HEIF file, upright by its container's own transforms; no pixel is decoded yet.

    EXIF's orientation in it is ignored, as ISO 23008-12 has it.

    Raises:
        UnidentifiedImageError: the header is damaged.
    """
    from pi_heif.as_plugin import HeifImageFile

    try:
        return HeifImageFile(io.BytesIO(data), "")
    except (SyntaxError, OSError, RuntimeError, EOFError) as error:
        raise UnidentifiedImageError("not a HEIC file that can be read") from error


def open_jpeg_xl(data: bytes) -> Image.Image:
    """A JPEG XL file; its library decodes at once, so check `jpeg_xl_size` before.

    Raises:
        ImageError: the library is not installed.
    """
    _need("JPEG XL")
    from pillow_jxl.JpegXLImagePlugin import JXLImageFile

    image = JXLImageFile(io.BytesIO(data), "")
    if not image.jpeg:  # the codestream's own orientation was applied
        image.getexif()[0x0112] = 1
    return image


def jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """(width, height) as a JPEG XL's header declares it (ISO 18181-1, section 5.1).

    Raises:
        UnidentifiedImageError: it has no such header.
    """
    stream = data[:16] if data.startswith(b"\xff\x0a") else _codestream(data)
    if not stream.startswith(b"\xff\x0a"):
        raise UnidentifiedImageError("not a JPEG XL file that can be read")
    bits = int.from_bytes(stream[2:16].ljust(14, b"\0"), "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(is_small: int) -> int:
        return 8 * (take(5) + 1) if is_small else take(_SIDE_BITS[take(2)]) + 1

    is_small = take(1)
    height = side(is_small)
    ratio = _RATIOS.get(take(3))
    width = side(is_small) if ratio is None else height * ratio[0] // ratio[1]
    return width, height


def _codestream(data: bytes) -> bytes:
    """The start of the coded picture within a container."""
    position = 0
    for _ in range(_MOST_BOXES):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        header = 8
        if length == 1:
            length, header = int.from_bytes(data[position + 8 : position + 16], "big"), 16
        start = position + header + (4 if kind == b"jxlp" else 0)
        if kind in (b"jxlc", b"jxlp"):
            return data[start : start + 16]
        if length < 8:
            break
        position += length
    return b""


def raw_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a camera RAW file's picture as stored, nothing decoded.

    Raises:
        ImageError: the library is not installed.
        Exception: LibRaw cannot read it.
    """
    _need("camera RAW")
    import rawpy

    with rawpy.imread(io.BytesIO(data)) as raw:
        return int(raw.sizes.width), int(raw.sizes.height)


def develop_raw(data: bytes) -> tuple[np.ndarray, int]:
    """(upright H x W x 3 uint8 sRGB, the EXIF orientation that was applied) of a camera RAW file.

    Developed by LibRaw with the camera's white balance and its other defaults.

    Raises:
        ImageError: the library is not installed.
        Exception: LibRaw cannot read it.
    """
    _need("camera RAW")
    import rawpy

    with rawpy.imread(io.BytesIO(data)) as raw:
        orientation = _FLIPS.get(raw.sizes.flip, 1)
        pixels = raw.postprocess(use_camera_wb=True)
    if pixels.ndim == 2 or pixels.shape[2] == 1:  # a sensor without colours
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"it was developed to {pixels.shape} of {pixels.dtype}")
    return np.ascontiguousarray(pixels), orientation


def _need(file_format: str) -> None:
    if why := why_unreadable(file_format):
        raise ImageError(f"{file_format} {why}")

"""Tags of TIFF files: what Pillow does not read or check."""

from __future__ import annotations

import io

from PIL import Image, TiffImagePlugin

_SUBFILE_TYPE, _IMAGE_WIDTH, _IMAGE_LENGTH, BITS_PER_SAMPLE = 254, 256, 257, 258
PHOTOMETRIC, _STRIP_OFFSETS, ORIENTATION, _STRIP_BYTES = 262, 273, 274, 279
_TILE_OFFSETS, _TILE_BYTES, _SUB_IFDS, SAMPLE_FORMAT, _DNG_VERSION = 324, 325, 330, 339, 50706
_SENSOR_VALUES = (32803, 34892)  # photometric interpretations: a mosaic, linear RAW


def size_as_stored(image: Image.Image) -> tuple[int, int]:
    """(width, height) before any rotation; Pillow's own `size` of a TIFF is already turned."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[_IMAGE_WIDTH], image.tag_v2[_IMAGE_LENGTH]
    return image.size


def tiff_tag(image: Image.Image, tag: int) -> object:
    """A tag of the current TIFF page, its only value where it has one; None without it."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(tag)
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF is a RAW file (DNG, NEF, ARW): what its first page holds is no photo, but a
    sensor's values or a preview. Damage is left to those who decode."""
    try:
        stream = io.BytesIO(data)
        header = stream.read(16 if b"+" in data[2:4] else 8)
        directory = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream.seek(directory.next)
        directory.load(stream)
        subfile_type = directory.get(_SUBFILE_TYPE, 0)
    except Exception:  # Pillow raises nearly anything on damaged headers
        return False
    is_preview = isinstance(subfile_type, int) and bool(subfile_type & 1)
    is_sensor = directory.get(PHOTOMETRIC) in _SENSOR_VALUES
    return is_sensor or _DNG_VERSION in directory or (is_preview and _SUB_IFDS in directory)


def check_tiff_extents(image: Image.Image, length: int) -> None:
    """Every strip or tile must lie within the file; a fax-coded one may lose its end unnoticed."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    for offsets, sizes in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        for offset, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
            if offset + size > length:
                raise ValueError(f"pixel data at byte {offset} reach beyond its end")

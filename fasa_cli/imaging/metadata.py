"""What a photo's file says about itself: camera, software, date, position, JPEG quality.

All of it can be missing, edited or invented; it is shown, never judged by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from fasa_cli.imaging.formats import HEAD_BYTES, sniff_format
from fasa_cli.imaging.jpeg_tables import LUMA, scaled_table
from fasa_cli.imaging.limits import open_header
from fasa_cli.imaging.png import chunks

_LONGEST_TEXT = 200  # characters; a tag can hold megabytes


@dataclass(frozen=True)
class PhotoMetadata:
    """Read from a file's header; None where it says nothing that can be read.

    `jpeg_quality` is the libjpeg quality (1-100) whose brightness table is closest to the file's;
    it is exact where `standard_tables`. `position` is (latitude, longitude) in degrees.
    """

    camera: str | None = None
    software: str | None = None
    taken: str | None = None
    jpeg_quality: int | None = None
    standard_tables: bool = False
    position: tuple[float, float] | None = None


def read_metadata(data: bytes) -> PhotoMetadata:
    """Read an image file's metadata; damage in them is taken for absence."""
    try:
        with open_header(data, sniff_format(data[:HEAD_BYTES]) or "") as image:
            quality, standard = _jpeg_quality(getattr(image, "quantization", None) or {})
            exif = _exif(image, data)
            return PhotoMetadata(
                camera=_camera(exif),
                software=_text(exif.get(ExifTags.Base.Software)),
                taken=_text(
                    _block(exif, ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
                    or exif.get(ExifTags.Base.DateTime)
                ),
                jpeg_quality=quality,
                standard_tables=standard,
                position=_position(_block(exif, ExifTags.IFD.GPSInfo)),
            )
    except Exception:  # Pillow's plugins raise nearly anything on damaged headers
        return PhotoMetadata()


def exif_of(image: Image.Image, data: bytes) -> Image.Exif:
    """EXIF of a file's bytes as Pillow opened them; no pixel is decoded, as Pillow does for PNG.

    Raises:
        Exception: it is damaged; Pillow raises nearly anything.
    """
    if image.format == "PNG" and "exif" not in image.info:
        block = next((contents for kind, contents in chunks(data) if kind == b"eXIf"), None)
        if block is not None:  # after the pixels
            image.info["exif"] = b"Exif\0\0" + block
    return Image.Image.getexif(image)


def _exif(image: Image.Image, data: bytes) -> Image.Exif:
    try:
        return exif_of(image, data)
    except Exception:  # as above; the JPEG tables are still worth reporting
        return Image.Exif()


def _block(exif: Image.Exif, block: ExifTags.IFD) -> dict[int, Any]:
    try:
        return exif.get_ifd(block)
    except Exception:  # as above
        return {}


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    if make and model and not model.lower().startswith(make.split()[0].lower()):
        return f"{make} {model}"
    return model or make


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    return value.split("\0")[0].strip()[:_LONGEST_TEXT] or None


def _position(gps: dict[int, Any]) -> tuple[float, float] | None:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef))
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef))
    if latitude is None or longitude is None:
        return None
    return latitude, longitude


def _degrees(parts: Any, reference: Any) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        return None
    return round(-value if str(reference).upper() in ("S", "W") else value, 6)


# --- JPEG quality ---------------------------------------------------------------------------


@cache
def _standard_tables() -> np.ndarray:
    """100 x 64: the sorted brightness tables of libjpeg's qualities 1 to 100; files store them in
    zigzag order, and readers differ in whether they undo that."""
    return np.sort([scaled_table(LUMA, quality) for quality in range(1, 101)], axis=1)


def _jpeg_quality(tables: dict[int, list[int]]) -> tuple[int | None, bool]:
    """(quality, whether it is exact) from a JPEG's quantisation tables."""
    if 0 not in tables or len(tables[0]) != 64:
        return None, False
    distances = np.abs(_standard_tables() - np.sort(np.array(tables[0]))).sum(axis=1)
    best = int(distances.argmin())
    return best + 1, bool(distances[best] == 0)

"""Image files in: bytes -> upright H x W x 3 uint8 RGB, strictly."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from fasa_cli.errors import ImageError
from fasa_cli.imaging.colour import to_rgb
from fasa_cli.imaging.completeness import check_complete, checked_jpeg, without_broken_chunks
from fasa_cli.imaging.formats import (
    HEAD_BYTES,
    SUPPORTED_FORMATS,
    sniff_format,
    why_unreadable,
)
from fasa_cli.imaging.jpeg_damage import find_damage
from fasa_cli.imaging.jpeg_structure import has_gain_map, layout
from fasa_cli.imaging.limits import MAX_PIXELS, check_size, open_header
from fasa_cli.imaging.other_decoders import develop_raw, jpeg_xl_size, raw_size
from fasa_cli.imaging.profiles import is_srgb, profile_name
from fasa_cli.imaging.tiff import ORIENTATION, check_tiff_extents, is_camera_raw, size_as_stored
from fasa_cli.results import Box, DecodedImage


def read_image(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Read a file once, hash those bytes and decode those bytes; see `decode_image`.

    Raises:
        ImageError: the file cannot be read, or not be decoded.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{path}: cannot be read ({reason}); check the path and rights") from error
    return decode_image(data, str(path), max_pixels=max_pixels)


Photo = str | os.PathLike[str] | bytes | Image.Image | np.ndarray


def open_image(path: str | os.PathLike[str]) -> Image.Image | None:
    """A file as Pillow stores it, alpha and palette included, within the limit of pixels; None
    where only `read_image` can say what is wrong with it."""
    try:
        data = Path(path).read_bytes()
        if not 0 < declared_pixels(data) <= MAX_PIXELS:
            return None
        image = open_header(data, sniff_format(data[:HEAD_BYTES]) or "")
        image.load()
    except Exception:  # Pillow's plugins raise nearly anything; read_image says it in words
        return None
    return image


def as_pixels(photo: Photo) -> np.ndarray:
    """A file's path or bytes, a Pillow image, or an array -> upright H x W x 3 uint8 RGB.

    Raises:
        ImageError: the file cannot be read or decoded, or the array is no RGB image.
    """
    if isinstance(photo, bytes):
        return decode_image(photo, "bytes").pixels
    if isinstance(photo, Image.Image):
        return np.asarray(ImageOps.exif_transpose(photo).convert("RGB")).copy()
    if not isinstance(photo, np.ndarray):
        return read_image(photo).pixels
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or not photo.size:
        raise ImageError(
            f"an array of shape {photo.shape} and type {photo.dtype} is no image; "
            "give height x width x 3 of uint8, RGB"
        )
    return photo


def decode_image(
    data: bytes,
    name: str,
    *,
    max_pixels: int = MAX_PIXELS,
    sha256: str | None = None,
    page: int | None = None,
) -> DecodedImage:
    """Decode an image file strictly to upright H x W x 3 uint8 RGB (C-contiguous, writeable).

    `name` is what messages call the file; `max_pixels` bounds width x height as declared in the
    header, before anything is decoded; `sha256` is that of `data` where it is known already;
    `page` counts the pages or frames of the file from 0. The rules, of which those that may
    surprise leave a line in `warnings`:

    - Format: by content, one of `SUPPORTED_FORMATS`, or with an extra JPEG XL or camera RAW. MPO
      is JPEG.
    - Damage: a file that ends before its picture does is refused; bytes after it are allowed. A
      JPEG whose coded data are damaged and yet can be decoded leaves a warning, and `damaged` boxes
      where that shows.
    - Orientation: EXIF 1-8 applied; unreadable or other values are ignored. HEIC and JPEG XL are
      turned by their container's own transforms, and EXIF is ignored there.
    - Frames: the first of an animation or of several pages, unless `page` names another; of HEIC
      the primary picture. What the file holds beside it leaves a line, gain maps too.
    - Camera RAW: developed by LibRaw with the camera's white balance.
    - 8 bits: 16-bit grey is divided by 257 and rounded (12-bit grey likewise, by its own white);
      16-bit colour keeps the high byte, as Pillow reads it. 32-bit integers are read as 16-bit
      when they all lie in 0..65535, else stretched from min..max to 0..255. Floats are multiplied
      by 255 when they all lie in 0..1, else stretched; NaN becomes 0.
    - Grey becomes three equal channels. Palettes, 1-bit, YCbCr: Pillow's conversion.
    - Alpha: dropped when every pixel is opaque, else the picture is composited over white.
    - CMYK: to sRGB by the embedded ICC profile, else by Pillow's plain formula. LAB: to sRGB.
    - RGB and grey ICC profiles are NOT applied: that would alter the statistics to be analysed. One
      other than sRGB leaves a line; `icc_profile` keeps it for display (imaging/profiles.py).

    Raises:
        ImageError: not an image, an unsupported format, damaged, cut short, or too many pixels.
    """
    file_format = _supported_format(data, name)
    notes: list[str] = []
    profile = b""
    damaged: tuple[Box, ...] = ()
    with _damage_named(name, file_format):
        if file_format == "camera RAW":
            stored_size = raw_size(data)
            check_size(stored_size, name, max_pixels)
            pixels, orientation = develop_raw(data)
            mode, frames = "RGB", 1
            notes.append("developed from camera RAW; it is not the picture that the camera made")
        else:
            stored = without_broken_chunks(data, notes) if file_format == "PNG" else data
            check_complete(stored, file_format)
            if file_format == "JPEG XL":
                check_size(jpeg_xl_size(data), name, max_pixels)
            image = open_header(stored, file_format)
            if page is not None and file_format != "JPEG":
                image.seek(page)
            check_tiff_extents(image, len(data))
            stored_size = size_as_stored(image)
            check_size(stored_size, name, max_pixels)
            if file_format == "JPEG":
                image, reason = checked_jpeg(image, data, notes)
                if page is not None:
                    image.seek(page)
                    stored_size = image.size
                    check_size(stored_size, name, max_pixels)
            mode = image.mode
            pixels, orientation = _upright_pixels(image, notes)
            if file_format == "JPEG" and not page:
                damaged = _damaged_boxes(pixels, orientation, data, reason, notes)
            frames = _count_frames(image, notes, page)
            profile = _profile(image, notes)
            if file_format == "JPEG" and has_gain_map(data):
                notes.append("a gain map for bright screens (HDR) was not analysed")
    return DecodedImage(
        pixels=pixels,
        format=file_format,
        mode=mode,
        stored_size=stored_size,
        orientation=orientation,
        frames=frames,
        bytes=len(data),
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        warnings=tuple(notes),
        icc_profile=profile,
        damaged=damaged,
    )


def count_pages(data: bytes) -> int:
    """How many pages or frames a file has, of which each can be decoded; 1 where that cannot be
    read."""
    try:
        file_format = _supported_format(data, "")
        if file_format in ("JPEG XL", "camera RAW"):
            return 1
        image = open_header(data, file_format)
        check_size(size_as_stored(image), "it")
        return max(1, int(getattr(image, "n_frames", 1)))
    except Exception:  # decode_image says what is wrong with it
        return 1


def declared_size(data: bytes) -> tuple[int, int]:
    """(width, height) as an image file's header declares it; zeros where it cannot be read."""
    try:
        file_format = _supported_format(data, "")
        if file_format == "JPEG XL":
            return jpeg_xl_size(data)
        if file_format == "camera RAW":
            return raw_size(data)
        width, height = open_header(data, file_format).size
    except Exception:  # decode_image says what is wrong with it
        return 0, 0
    return max(width, 0), max(height, 0)


def declared_pixels(data: bytes) -> int:
    """Width x height as an image file's header declares it; 0 where it cannot be read."""
    width, height = declared_size(data)
    return width * height


def open_picture(data: bytes, name: str) -> Image.Image:
    """An image file as Pillow has it, not decoded yet, its size checked.

    Raises:
        ImageError: not an image, of an unsupported format or a damaged header, or too many pixels.
    """
    file_format = _supported_format(data, name)
    with _damage_named(name, file_format):
        image = open_header(data, file_format)
        check_size(size_as_stored(image), name)
    return image


def _supported_format(data: bytes, name: str) -> str:
    if not data:
        raise ImageError(f"{name}: the file is empty; get a fresh copy")
    file_format = sniff_format(data[:HEAD_BYTES])
    if file_format is None:
        raise ImageError(f"{name}: not an image; supported are {', '.join(SUPPORTED_FORMATS)}")
    if file_format == "TIFF" and is_camera_raw(data):
        file_format = "camera RAW"
    if why := why_unreadable(file_format):
        raise ImageError(f"{name}: {file_format} {why}")
    return file_format


@contextmanager
def _damage_named(name: str, file_format: str) -> Iterator[None]:
    """Turn whatever Pillow raises into one line of ImageError.

    On damaged input its plugins raise nearly every type there is (struct.error, KeyError,
    MemoryError, zlib.error ...), so a list of types would only be the list of those met so far.
    """
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: {file_format} file with a damaged header or of a kind that is not "
            "supported; get a fresh copy, or convert it to PNG"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImageError(
            f"{name}: {file_format} file is damaged or incomplete ({reason}); get a fresh copy"
        ) from error


# --- Orientation and frames -----------------------------------------------------------------

# EXIF orientation -> the upright view of an H x W x 3 array.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}

_INVERSE = {6: 8, 8: 6}  # of the others each undoes itself


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array (H x W, or H x W x C) that lies as its file stores it by EXIF 1-8."""
    return np.ascontiguousarray(_UPRIGHT[orientation](stored))


def upright_box(box: Box, stored_size: tuple[int, int], orientation: int) -> Box:
    """Turn a box of an image that lies as its file stores it by EXIF 1-8."""
    x, y, width, height = box
    right, below = stored_size[0] - x - width, stored_size[1] - y - height
    if orientation in (2, 3, 7, 8):  # mirrored from left to right before any transposition
        x = right
    if orientation in (3, 4, 6, 7):
        y = below
    return (x, y, width, height) if orientation < 5 else (y, x, height, width)


def _damaged_boxes(
    pixels: np.ndarray, orientation: int, data: bytes, reason: str | None, notes: list[str]
) -> tuple[Box, ...]:
    """The boxes of a JPEG's upright pixels that are damaged; `reason` is its decoder's."""
    stored = upright(pixels, _INVERSE.get(orientation, orientation))
    units = layout(data)
    boxes = find_damage(stored, units, suspected=bool(reason)) if units else ()
    if boxes:
        share = sum(box[2] * box[3] for box in boxes) / (pixels.size // 3)
        sign = reason or "a run of blocks is shifted"
        notes.append(
            f"its coded data are damaged ({sign}): {share:.0%} of the picture are not what was "
            "encoded, and nothing is marked there. Get a fresh copy"
        )
    elif reason:
        notes.append(
            f"its coded data are damaged, or other bytes follow them ({reason}); where cannot be "
            "seen, and what is marked may be the damage. Get a fresh copy"
        )
    size = (stored.shape[1], stored.shape[0])
    return tuple(upright_box(box, size, orientation) for box in boxes)


def _upright_pixels(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, int]:
    """(upright H x W x 3 uint8 RGB, the EXIF orientation that was applied)."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow turns a TIFF upright while it loads, and then forgets the tag.
        orientation = _read_orientation(image, notes)
        image.load()
        return to_rgb(image, notes), orientation
    image.load()
    orientation = _read_orientation(image, notes)  # a PNG may carry it after the pixels
    stored = to_rgb(image, notes)
    if image.format in ("JPEG", "MPO") and (stored[-8:, -8:] == 128).all():
        notes.append("ends in plain mid-grey, as a JPEG does when a part of its data is missing")
    return upright(stored, orientation), orientation


def _read_orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        exif = image.getexif()
    except Exception as error:  # the pixels are sound, so a broken side note is no reason to stop
        notes.append(f"EXIF unreadable ({type(error).__name__}); orientation ignored")
        return 1
    if image.info.get("exif") and not exif:
        notes.append("EXIF unreadable; orientation ignored")
    orientation = exif.get(ORIENTATION, 1)
    if orientation in _UPRIGHT:
        return int(orientation)
    notes.append(f"EXIF orientation {orientation!r:.40} is not one of 1-8; ignored")
    return 1


def _count_frames(image: Image.Image, notes: list[str], page: int | None) -> int:
    """Frames or pages in the file; 1 when they cannot be counted."""
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception:  # as for EXIF: the first frame is already here
        notes.append("further frames unreadable; only the first was analysed")
        return 1
    if frames > 1:
        only = "only the first was analysed" if page is None else f"this is number {page + 1}"
        notes.append(f"{frames} frames; {only}")
    return max(frames, 1)


def _profile(image: Image.Image, notes: list[str]) -> bytes:
    """The ICC profile of a picture whose colours it changes, b"" of others."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or image.mode in ("CMYK", "LAB") or is_srgb(profile):
        return b""
    notes.append(
        f"its colours are those of the profile {profile_name(profile)!r}; the stored values were "
        "analysed, and pictures for display are converted to sRGB"
    )
    return profile

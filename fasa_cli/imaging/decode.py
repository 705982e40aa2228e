"""Image files in: bytes -> upright H x W x 3 uint8 RGB, strictly."""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from fasa_cli.errors import ImageError
from fasa_cli.imaging.formats import HEAD_BYTES, SUPPORTED_FORMATS, sniff_format
from fasa_cli.imaging.jpeg_structure import END_OF_IMAGE, damage, is_whole_without_end
from fasa_cli.imaging.limits import MAX_PIXELS, check_size, open_header
from fasa_cli.results import DecodedImage


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
    return decode_image(data, str(path), max_pixels)


Photo = str | os.PathLike[str] | bytes | Image.Image | np.ndarray


def open_image(path: str | os.PathLike[str]) -> Image.Image | None:
    """A file as Pillow stores it, alpha and palette included, within the limit of pixels; None
    where only `read_image` can tell what is wrong with it."""
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
    data: bytes, name: str, max_pixels: int = MAX_PIXELS, sha256: str | None = None
) -> DecodedImage:
    """Decode an image file strictly to upright H x W x 3 uint8 RGB (C-contiguous, writeable).

    `name` is what messages call the file; `max_pixels` bounds width x height as declared in the
    header, before anything is decoded; `sha256` is that of `data` where it is known already. The
    rules, of which those that may surprise leave a line in `warnings`:

    - Format: by content, one of `SUPPORTED_FORMATS`. MPO is JPEG.
    - Damage: a file that ends before its picture does is refused; bytes after it are allowed. A
      JPEG whose coded data are damaged and yet can be decoded leaves a warning.
    - Orientation: EXIF 1-8 applied; unreadable or other values are ignored.
    - Frames: the first of an animation or of several pages.
    - 8 bits: 16-bit grey is divided by 257 and rounded (12-bit grey likewise, by its own white);
      16-bit colour keeps the high byte, as Pillow reads it. 32-bit integers are read as 16-bit
      when they all lie in 0..65535, else stretched from min..max to 0..255. Floats are multiplied
      by 255 when they all lie in 0..1, else stretched; NaN becomes 0.
    - Grey becomes three equal channels. Palettes, 1-bit, YCbCr: Pillow's conversion.
    - Alpha: dropped when every pixel is opaque, else the picture is composited over white.
    - CMYK: to sRGB by the embedded ICC profile, else by Pillow's plain formula. LAB: to sRGB.
    - RGB and grey ICC profiles are NOT applied: that would alter the traces to be analysed.

    Raises:
        ImageError: not an image, an unsupported format, damaged, cut short, or too many pixels.
    """
    file_format = _supported_format(data, name)
    notes: list[str] = []
    with _damage_named(name, file_format):
        stored = _without_broken_chunks(data, notes) if file_format == "PNG" else data
        _check_complete(stored, file_format)
        image = open_header(stored, file_format)
        _check_tiff_extents(image, len(data))
        stored_size = _stored_size(image)
        check_size(stored_size, name, max_pixels)
        _refuse_camera_raw(image, name)
        if file_format == "JPEG":
            image = _checked_jpeg(image, data, notes)
        mode = image.mode
        pixels, orientation = _upright_pixels(image, notes)
        frames = _count_frames(image, notes)
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
    )


def declared_size(data: bytes) -> tuple[int, int]:
    """(width, height) as an image file's header declares it; zeros where that cannot be told."""
    try:
        width, height = open_header(data, _supported_format(data, "")).size
    except Exception:  # decode_image says what is wrong with it
        return 0, 0
    return max(width, 0), max(height, 0)


def declared_pixels(data: bytes) -> int:
    """Width x height as an image file's header declares it; 0 where that cannot be told."""
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
        check_size(_stored_size(image), name)
    return image


def _supported_format(data: bytes, name: str) -> str:
    if not data:
        raise ImageError(f"{name}: the file is empty; get a fresh copy")
    file_format = sniff_format(data[:HEAD_BYTES])
    if file_format is None:
        raise ImageError(f"{name}: not an image; supported are {', '.join(SUPPORTED_FORMATS)}")
    if file_format not in SUPPORTED_FORMATS:
        raise _unsupported(name, file_format)
    return file_format


def _unsupported(name: str, file_format: str) -> ImageError:
    return ImageError(f"{name}: {file_format} is not supported; convert it to PNG (lossless) first")


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


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before any rotation; Pillow's own `size` of a TIFF is already turned."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[_IMAGE_WIDTH], image.tag_v2[_IMAGE_LENGTH]
    return image.size


# --- Completeness ---------------------------------------------------------------------------

_END_OF_IMAGE = 0xD9
_PIXELS_DEPEND = (b"tRNS", b"fcTL", b"fdAT", b"acTL")  # ancillary, and yet not beside the pixels
_STANDALONE_MARKERS = {0x01, 0xD8}
_MARKER_BYTES = 1 << 20  # of a file that are searched at a time


def _check_complete(data: bytes, file_format: str) -> None:
    """Check by the format's own structure that the file reaches its end; ValueError if not.

    Pillow refuses most cut files because it runs out of bytes; these checks do not depend on how
    far it happens to read, and PNG checksums it does not look at while decoding.
    """
    if file_format == "GIF" and not _gif_reaches_end(data):
        raise ValueError("it stops before its trailer")
    if file_format == "TIFF" and not _tiff_directory_fits(data):
        raise ValueError("it stops before the end of its first directory")
    if file_format == "PNG":
        open_header(data, file_format).verify()  # every checksum, up to IEND


def _without_broken_chunks(data: bytes, notes: list[str]) -> bytes:
    """A PNG file without ancillary chunks whose checksum is wrong; `notes` name them.

    Pixels do not depend on those (text, times, profiles), and Pillow would refuse the file.
    """
    position, kept, broken = 8, [data[:8]], []
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        whole = data[position:end]
        is_ancillary = bool(kind[0] & 0x20) and kind not in _PIXELS_DEPEND
        checksum = int.from_bytes(whole[-4:], "big")
        if is_ancillary and end <= len(data) and zlib.crc32(whole[4:-4]) != checksum:
            broken.append(kind.decode("latin-1"))
        else:
            kept.append(whole)
        position = end
        if kind == b"IEND":
            break
    if not broken:
        return data
    notes.append(f"damaged chunks without pixels were left out: {', '.join(map(ascii, broken))}")
    return b"".join(kept)


def _checked_jpeg(image: Image.Image, data: bytes, notes: list[str]) -> Image.Image:
    """The image, of which `notes` say where its coded data are not whole; ValueError if cut off."""
    if not _jpeg_reaches_end(data):
        if not is_whole_without_end(data):
            raise ValueError("it stops before its end-of-image marker")
        notes.append("it has no end-of-image marker; its picture is whole")
        return open_header(data + END_OF_IMAGE, "JPEG")
    if reason := damage(data):
        notes.append(
            f"its coded data are damaged, or other bytes follow them ({reason}); what is marked "
            "may be the damage. Get a fresh copy"
        )
    return image


def _jpeg_reaches_end(data: bytes) -> bool:
    """Walk the segments, since a thumbnail inside the EXIF block has an end marker of its own."""
    end = 2
    for position in _jpeg_markers(data):
        if position < end:  # within the segment before it
            continue
        marker, end = data[position + 1], position + 2
        if marker == _END_OF_IMAGE:
            return True
        if marker not in _STANDALONE_MARKERS:
            end += int.from_bytes(data[end : end + 2], "big")
    return False


def _jpeg_markers(data: bytes) -> Iterator[int]:
    """Places of FF and a code; FF 00 is a stuffed data byte, FF D0-D7 restart within a scan."""
    codes = np.frombuffer(data, np.uint8)
    for start in range(0, len(codes) - 1, _MARKER_BYTES):
        part = codes[start : start + _MARKER_BYTES + 1]
        places = np.flatnonzero(part[:-1] == 0xFF)
        followers = part[places + 1]
        is_code = (followers != 0x00) & (followers != 0xFF) & (followers & 0xF8 != 0xD0)
        yield from (start + places[is_code]).tolist()


def _gif_reaches_end(data: bytes) -> bool:
    try:
        position = 13 + _gif_palette_bytes(data[10])
        while (block := data[position : position + 1]) != b";":
            if block == b"!":  # extension: label, sub-blocks
                position += 2
            elif block == b",":  # image: descriptor, palette, code size, sub-blocks
                position += 11 + _gif_palette_bytes(data[position + 9])
            else:
                return False
            while data[position]:
                position += 1 + data[position]
            position += 1
    except IndexError:
        return False
    return True


def _gif_palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _tiff_directory_fits(data: bytes) -> bool:
    """Pillow reads a cut directory as far as it goes, and floats without their tag as integers."""
    order: Literal["little", "big"] = "little" if data.startswith(b"II") else "big"
    is_big = b"+" in data[2:4]
    start = int.from_bytes(data[8:16] if is_big else data[4:8], order)
    count_bytes, entry_bytes, pointer_bytes = (8, 20, 8) if is_big else (2, 12, 4)
    entries = int.from_bytes(data[start : start + count_bytes], order)
    return start + count_bytes + entries * entry_bytes + pointer_bytes <= len(data)


# --- TIFF tags ------------------------------------------------------------------------------

_SUBFILE_TYPE, _IMAGE_WIDTH, _IMAGE_LENGTH, _BITS_PER_SAMPLE = 254, 256, 257, 258
_PHOTOMETRIC, _STRIP_OFFSETS, _ORIENTATION, _STRIP_BYTES = 262, 273, 274, 279
_TILE_OFFSETS, _TILE_BYTES, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION = 324, 325, 330, 339, 50706


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """A tag of the current TIFF page, its only value where it has one; None without it."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(tag)
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _refuse_camera_raw(image: Image.Image, name: str) -> None:
    """The first page of a RAW file in TIFF clothes (DNG, NEF, ARW) is no photo but a preview."""
    subfile_type = _tiff_tag(image, _SUBFILE_TYPE)
    is_preview = isinstance(subfile_type, int) and subfile_type & 1
    if _tiff_tag(image, _DNG_VERSION) or (is_preview and _tiff_tag(image, _SUB_IFDS)):
        raise _unsupported(name, "camera RAW")


def _check_tiff_extents(image: Image.Image, length: int) -> None:
    """Every strip or tile must lie within the file; a fax-coded one may lose its end unnoticed."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    for offsets, sizes in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        for offset, size in zip(tags.get(offsets, ()), tags.get(sizes, ()), strict=False):
            if offset + size > length:
                raise ValueError(f"pixel data at byte {offset} reach beyond its end")


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


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array (H x W, or H x W x C) that lies as its file stores it by EXIF 1-8."""
    return np.ascontiguousarray(_UPRIGHT[orientation](stored))


def _upright_pixels(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, int]:
    """(upright H x W x 3 uint8 RGB, the EXIF orientation that was applied)."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        # Pillow turns a TIFF upright while it loads, and then forgets the tag.
        orientation = _read_orientation(image, notes)
        image.load()
        return _to_rgb(image, notes), orientation
    image.load()
    orientation = _read_orientation(image, notes)  # a PNG may carry it after the pixels
    stored = _to_rgb(image, notes)
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
    orientation = exif.get(_ORIENTATION, 1)
    if orientation in _UPRIGHT:
        return int(orientation)
    notes.append(f"EXIF orientation {orientation!r:.40} is not one of 1-8; ignored")
    return 1


def _count_frames(image: Image.Image, notes: list[str]) -> int:
    """Frames or pages in the file; 1 when they cannot be counted."""
    try:
        frames = int(getattr(image, "n_frames", 1))
    except Exception:  # as for EXIF: the first frame is already here
        notes.append("further frames unreadable; only the first was analysed")
        return 1
    if frames > 1:
        notes.append(f"{frames} frames; only the first was analysed")
    return max(frames, 1)


# --- Modes to RGB ---------------------------------------------------------------------------

_ROWS = 256  # of a photo that are converted at a time
_CROP_PIXELS = 16_000_000


def _to_rgb(image: Image.Image, notes: list[str]) -> np.ndarray:
    """Decoded pixels of any Pillow mode as H x W x 3 uint8 RGB, by the rules of decode_image."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_deep_grey_to_8_bits(image, notes)[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image, notes)
    elif image.mode == "LAB":
        notes.append("LAB converted to RGB")
        image = _convert_by_profiles(image, ImageCms.createProfile("LAB"))
    elif image.mode == "La" or image.has_transparency_data:
        image = _without_alpha(image, notes)
    return _rgb_array(image if image.mode == "RGB" else image.convert("RGB"))


def _rgb_array(image: Image.Image) -> np.ndarray:
    """The same as np.array, which would hold a large photo twice more on the way."""
    width, height = image.size
    if width > _CROP_PIXELS:
        return np.array(image)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = min(_ROWS, _CROP_PIXELS // width)  # Pillow has a limit for crops, too
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def _without_alpha(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "La":  # Pillow has no direct way from premultiplied grey to RGBA
        image = image.convert("LA")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image
    notes.append("transparent pixels; composited over white")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _cmyk_to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if profile := image.info.get("icc_profile"):
        try:
            converted = _convert_by_profiles(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notes.append("embedded CMYK profile unusable")
        else:
            notes.append("CMYK converted to RGB by its embedded profile")
            return converted
    notes.append("CMYK converted to RGB")
    return image.convert("RGB")


def _convert_by_profiles(
    image: Image.Image, profile: ImageCms._CmsProfileCompatible
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    if converted is None:  # only with inPlace=True
        raise ValueError("no colour conversion")
    return converted


def _deep_grey_to_8_bits(image: Image.Image, notes: list[str]) -> np.ndarray:
    """H x W uint8 from modes I;16 (all byte orders), I (32-bit integers) and F (floats)."""
    samples = np.array(image)
    if image.mode == "F":
        grey = _floats_to_8_bits(samples, notes)
    else:
        if image.mode == "I" and _tiff_tag(image, _SAMPLE_FORMAT) in (None, 1):
            samples = samples.view(np.uint32)  # Pillow keeps unsigned samples in signed ones
        white = 4095 if _tiff_tag(image, _BITS_PER_SAMPLE) == 12 else 65535
        grey = _integers_to_8_bits(samples, white, notes)
    return 255 - grey if _tiff_tag(image, _PHOTOMETRIC) == 0 else grey  # 0: white is zero


def _integers_to_8_bits(samples: np.ndarray, white: int, notes: list[str]) -> np.ndarray:
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high > 65535:
        notes.append(f"integer samples {low}..{high} stretched to 0..255")
        return _stretch(samples, low, high)
    levels = np.rint(np.arange(65536) * (255 / white)).clip(0, 255).astype(np.uint8)
    return levels[samples]


def _floats_to_8_bits(samples: np.ndarray, notes: list[str]) -> np.ndarray:
    finite = samples[np.isfinite(samples)]
    if finite.size < samples.size:
        notes.append(f"{samples.size - finite.size} samples are not finite numbers")
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return _stretch(samples, 0.0, 1.0)
    notes.append(f"float samples {low:g}..{high:g} stretched to 0..255")
    return _stretch(samples, low, high)


def _stretch(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..255 linearly, rounded; NaN to 0, infinities to the ends."""
    scaled = (samples.astype(np.float64) - low) * (255 / ((high - low) or 1))
    return np.rint(np.nan_to_num(scaled, nan=0.0).clip(0, 255)).astype(np.uint8)

"""Whether an image file reaches its end, by its format's own structure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image

from fasa_cli.imaging.jpeg_structure import END_OF_IMAGE, damage, is_whole_without_end
from fasa_cli.imaging.limits import open_header

_END_OF_IMAGE = 0xD9
_PIXELS_DEPEND = (b"tRNS", b"fcTL", b"fdAT", b"acTL")  # ancillary, and yet not beside the pixels
_STANDALONE_MARKERS = {0x01, 0xD8}
_MARKER_BYTES = 1 << 20  # of a file that are searched at a time


def check_complete(data: bytes, file_format: str) -> None:
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


def without_broken_chunks(data: bytes, notes: list[str]) -> bytes:
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


def checked_jpeg(
    image: Image.Image, data: bytes, notes: list[str]
) -> tuple[Image.Image, str | None]:
    """The image, and what its decoder says against its coded data; ValueError if it is cut off."""
    if _jpeg_reaches_end(data):
        return image, damage(data)
    if not is_whole_without_end(data):
        raise ValueError("it stops before its end-of-image marker")
    notes.append("it has no end-of-image marker; its picture is whole")
    return open_header(data + END_OF_IMAGE, "JPEG"), None


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

"""A JPEG file taken apart by its markers (ITU-T T.81, annex B), without decoding a pixel.

Whatever lengths a file declares, it is walked once and forwards, and what is kept is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from fasa_cli.inspection.records import Component, JpegStructure, Segment

_LISTED_SEGMENTS = 500
_LISTED_COMMENTS = 20
_LONGEST_COMMENT = 500  # characters

_NAMES = {
    0xC4: "DHT",
    0xC8: "JPG",
    0xCC: "DAC",
    0xD8: "SOI",
    0xD9: "EOI",
    0xDA: "SOS",
    0xDB: "DQT",
    0xDC: "DNL",
    0xDD: "DRI",
    0xDE: "DHP",
    0xDF: "EXP",
    0xFE: "COM",
    **{0xE0 + n: f"APP{n}" for n in range(16)},
    **{0xC0 + n: f"SOF{n}" for n in range(16) if n not in (4, 8, 12)},
}
_CODINGS = {
    0xC0: "baseline",
    0xC1: "extended",
    0xC2: "progressive",
    0xC3: "lossless",
    **dict.fromkeys(range(0xC5, 0xC8), "differential"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic"),
}
# How application segments name themselves.
_CONTENTS = (
    (b"JFIF\0", "JFIF"),
    (b"JFXX\0", "JFIF extension"),
    (b"Exif\0", "EXIF"),
    (b"http://ns.adobe.com/xap/1.0/\0", "XMP"),
    (b"http://ns.adobe.com/xmp/extension/\0", "XMP extension"),
    (b"Photoshop 3.0\0", "Photoshop resources"),
    (b"ICC_PROFILE\0", "ICC profile"),
    (b"MPF\0", "MPF"),
    (b"urn:iso:std:iso:ts:21496:-1", "gain map"),
    (b"Adobe", "Adobe"),
    (b"Ducky", "Ducky"),
    (b"FPXR\0", "FlashPix"),
    (b"JP", "JUMBF"),
    (b"Meta\0", "Meta"),
    (b"HDR_RI", "HDR"),
)
_TRAILERS = (
    (b"\xff\xd8\xff", "another JPEG"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x89PNG", "a PNG"),
    (b"%PDF", "a PDF"),
    (b"RIFF", "a RIFF file"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"<?xml", "XML"),
    (b"<?php", "a PHP script"),
    (b"<html", "HTML"),
)
# A marker within coded data: FF and neither a stuffed zero, nor padding, nor a restart.
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_FIRST_WINDOW, _LARGEST_WINDOW = 1 << 10, 1 << 20  # bytes of coded data looked at together

# The lengths of code lists in annex K's example tables; encoders that do not optimise write these.
_STANDARD_CODES = {
    bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)),
    bytes((0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)),
    bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D)),
    bytes((0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77)),
}


@dataclass
class _Walk:
    coding: str = "unknown"
    size: tuple[int, int] = (0, 0)
    precision: int = 0
    components: tuple[Component, ...] = ()
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    huffman: list[bool] = field(default_factory=list)
    scans: int = 0
    interval: int = 0
    restarts: int = 0
    restart_errors: int = 0
    jfif: str | None = None
    density: tuple[int, int, int] | None = None
    adobe: int | None = None
    comments: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    count: int = 0
    end: int | None = None


def read_structure(data: bytes) -> JpegStructure:
    """Take a JPEG file apart; what is damaged is left out, and `is_complete` is then False."""
    walk = _Walk()
    position = 2
    while (match := _NEXT_MARKER.search(data, position)) is not None:
        start, marker = match.end() - 2, data[match.end() - 1]
        walk.count += 1
        if marker == 0xD9:
            _list(walk, marker, b"", start, 2)
            walk.end = match.end()
            break
        if marker in (0x01, 0xD8):
            position = match.end()
            continue
        length = int.from_bytes(data[match.end() : match.end() + 2], "big")
        contents = data[match.end() + 2 : match.end() + max(length, 2)]
        _list(walk, marker, contents, start, length + 2)
        _take(walk, marker, contents)
        position = match.end() + max(length, 2)
        if marker == 0xDA:
            position = _coded_data(walk, data, position)
    trailing = b"" if walk.end is None else data[walk.end : walk.end + 64]
    return JpegStructure(
        coding=walk.coding,
        size=walk.size,
        precision=walk.precision,
        sampling=_sampling(walk.components),
        components=walk.components,
        tables=walk.tables,
        huffman=_huffman(walk.huffman),
        scans=walk.scans,
        restart_interval=walk.interval,
        restart_markers=walk.restarts,
        restart_errors=walk.restart_errors,
        jfif=walk.jfif,
        density=walk.density,
        adobe_transform=walk.adobe,
        comments=tuple(walk.comments),
        segments=tuple(walk.segments),
        segment_count=walk.count,
        trailing_bytes=0 if walk.end is None else len(data) - walk.end,
        trailing_kind=_trailing_kind(trailing) if trailing else None,
        is_complete=walk.end is not None,
    )


def segment_contents(data: bytes, structure: JpegStructure, content: str) -> list[bytes]:
    """The contents of all listed segments that hold `content`, such as "EXIF"."""
    return [
        data[one.offset + 4 : one.offset + one.length]
        for one in structure.segments
        if one.content == content
    ]


def _list(walk: _Walk, marker: int, contents: bytes, start: int, length: int) -> None:
    if len(walk.segments) >= _LISTED_SEGMENTS:
        return
    name = _NAMES.get(marker, f"{marker:02X}")
    content = ""
    if 0xE0 <= marker <= 0xEF:
        content = next((text for head, text in _CONTENTS if contents.startswith(head)), "unknown")
    walk.segments.append(Segment(name, content, start, length))


def _take(walk: _Walk, marker: int, contents: bytes) -> None:
    if marker in _CODINGS and not walk.components:
        _frame(walk, marker, contents)
    elif marker == 0xDB:
        _quantisation(walk, contents)
    elif marker == 0xC4:
        _huffman_tables(walk, contents)
    elif marker == 0xDD:
        walk.interval = int.from_bytes(contents[:2], "big")
    elif marker == 0xE0 and contents.startswith(b"JFIF\0") and len(contents) >= 12:
        walk.jfif = f"{contents[5]}.{contents[6]:02d}"
        x, y = int.from_bytes(contents[8:10], "big"), int.from_bytes(contents[10:12], "big")
        walk.density = (contents[7], x, y)
    elif marker == 0xEE and contents.startswith(b"Adobe") and len(contents) >= 12:
        walk.adobe = contents[11]
    elif marker == 0xFE and len(walk.comments) < _LISTED_COMMENTS:
        walk.comments.append(contents[: 4 * _LONGEST_COMMENT].decode("utf-8", "replace"))
        walk.comments[-1] = walk.comments[-1][:_LONGEST_COMMENT]


def _frame(walk: _Walk, marker: int, contents: bytes) -> None:
    if len(contents) < 6:
        return
    walk.coding = _CODINGS[marker]
    walk.precision = contents[0]
    height, width = int.from_bytes(contents[1:3], "big"), int.from_bytes(contents[3:5], "big")
    walk.size = (width, height)
    parts = [contents[6 + 3 * n : 9 + 3 * n] for n in range(contents[5])]
    walk.components = tuple(
        Component(part[0], part[1] >> 4, part[1] & 15, part[2]) for part in parts if len(part) == 3
    )


def _quantisation(walk: _Walk, contents: bytes) -> None:
    position = 0
    while position < len(contents):
        is_wide, number = contents[position] >> 4, contents[position] & 15
        step = 2 if is_wide else 1
        values = contents[position + 1 : position + 1 + 64 * step]
        if len(values) < 64 * step:
            return
        table = tuple(
            int.from_bytes(values[n : n + step], "big") for n in range(0, len(values), step)
        )
        walk.tables[number] = table
        position += 1 + 64 * step


def _huffman_tables(walk: _Walk, contents: bytes) -> None:
    position = 0
    while position + 17 <= len(contents):
        lengths = contents[position + 1 : position + 17]
        walk.huffman.append(lengths in _STANDARD_CODES)
        position += 17 + sum(lengths)


def _coded_data(walk: _Walk, data: bytes, start: int) -> int:
    """Where the coded data of a scan end; its restart markers are counted."""
    walk.scans += 1
    expected, size = 0, _FIRST_WINDOW
    while start < len(data):
        window = np.frombuffer(data, np.uint8, min(size + 1, len(data) - start), start)
        places = np.flatnonzero(window[:-1] == 0xFF)
        followers = window[places + 1]
        is_restart = followers & 0xF8 == 0xD0
        ends = places[(followers != 0x00) & (followers != 0xFF) & ~is_restart]
        if walk.interval:
            restarts = followers[is_restart & (places < (ends[0] if len(ends) else size))]
            order = 0xD0 + (np.arange(expected, expected + len(restarts)) % 8)
            walk.restarts += len(restarts)
            walk.restart_errors += int((restarts != order).sum())
            expected += len(restarts)
        if len(ends):
            return start + int(ends[0])
        start += size
        size = min(2 * size, _LARGEST_WINDOW)  # small at first: a file can have a million scans
    return len(data)


def _sampling(components: tuple[Component, ...]) -> str:
    """As in "4:2:0"; other factors are written out."""
    if len(components) == 1:
        return "grey"
    factors = [(one.horizontal, one.vertical) for one in components]
    if len(factors) == 3 and factors[1] == factors[2] == (1, 1):
        names = {
            (1, 1): "4:4:4",
            (2, 1): "4:2:2",
            (2, 2): "4:2:0",
            (1, 2): "4:4:0",
            (4, 1): "4:1:1",
        }
        if factors[0] in names:
            return names[factors[0]]
    return ",".join(f"{horizontal}x{vertical}" for horizontal, vertical in factors)


def _huffman(standard: list[bool]) -> str:
    if not standard:
        return "none"
    return "standard" if all(standard) else "mixed" if any(standard) else "optimised"


def _trailing_kind(trailing: bytes) -> str:
    if trailing[4:8] == b"ftyp":
        return "a video (MP4)"
    if not trailing.strip(b"\0"):
        return "zeros"
    return next((name for head, name in _TRAILERS if trailing.startswith(head)), "unknown bytes")

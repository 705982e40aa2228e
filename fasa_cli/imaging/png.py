"""The chunks of PNG files, walked without decoding a pixel."""

from __future__ import annotations

from collections.abc import Iterator


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, contents) of each chunk up to the end of the image; checksums are not looked at."""
    position = 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        yield kind, data[position + 8 : position + 8 + length] if kind != b"IDAT" else b""
        if kind == b"IEND":
            return
        position += 12 + length

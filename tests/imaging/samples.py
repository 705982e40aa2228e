"""Files that no library of the tests can write: HEIC, as bytes; camera RAW, by hand.

The HEIC files show 64 x 48 pixels: red 4 x, green 5 y, blue 2 (x + y). They were made with x265.
"""

from __future__ import annotations

import base64
import struct

import numpy as np

# One picture.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAIsAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAAB"
    "AABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADw"
    "NgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAA"
    "AAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcA"
    "AAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWB"
    "AgMFhAAAAJNtZGF0AAAAhygBrwngPg6bnk4QeI6NhB+gzRduc7iO9n3mafBP5cmyZnuztXvUUzhK6NU7sWcA7I0vl8"
    "6H9Ue3sfALRIZ/J7btyt6EA98xO8rXVthAK+UgPQYBxepHXPfLo4yzCk6HpkCIX9ekkS/T+SVGO8hShDLBPEFPgN/C"
    "Rphwfopt5KyD7Xk+TjNH6g=="
)
# Its container turns it by 90 degrees clockwise, and EXIF says the same once more.
HEIC_TURNED = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB7AABAAAAAAAAAIsAAgAAAAACdwABAAAAAAAAADYAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcn"
    "AAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm"
    "5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAA"
    "AOY2RzYwACAAEAAQAAAMltZGF0AAAAhygBrwngPg6bnk4QeI6NhB+gzRduc7iO9n3mafBP5cmyZnuztXvUUzhK6NU7"
    "sWcA7I0vl86H9Ue3sfALRIZ/J7btyt6EA98xO8rXVthAK+UgPQYBxepHXPfLo4yzCk6HpkCIX9ekkS/T+SVGO8hShD"
    "LBPEFPgN/CRphwfopt5KyD7Xk+TjNH6gAAAAZFeGlmAABNTQAqAAAACAACAQ8AAgAAAAYAAAAmARIAAwAAAAEABgAA"
    "AAAAAE1ha2VyAA=="
)
# Two pictures, the second turned by 180 degrees.
HEIC_TWO = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAA"
    "AAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB0AABAAAAAAAAAIsAAgAAAAACWwABAAAAAAAAAJEAAAA4aWluZgAA"
    "AAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAAACAABodmMxAAAAAA5waXRtAAAAAAABAAABBWlwcn"
    "AAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroC"
    "QGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm"
    "5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AA"
    "AAACAAAAEHBpeGkAAAAAAwgICAAAACBpcG1hAAAAAAAAAAIAAQWBAgMFhAACBYECAwWEAAABJG1kYXQAAACHKAGvCe"
    "A+DpueThB4jo2EH6DNF25zuI72feZp8E/lybJme7O1e9RTOEro1TuxZwDsjS+Xzof1R7ex8AtEhn8ntu3K3oQD3zE7"
    "ytdW2EAr5SA9BgHF6kdc98ujjLMKToemQIhf16SRL9P5JUY7yFKEMsE8QU+A38JGmHB+im3krIPteT5OM0fqAAAAjS"
    "gBrwngPg6a51nVvoTe8AfsF6+xLBDeR8NGRPBEGcmyZnWu3e/uZJ9tGRguMQfNStpxfNJohjlXSf1Wvcx8AtEhm5IP"
    "exRYM2JtJ7RdHXVthLrFRr5SA1GKYFMpqc9+jQ3lm+50HDIPC3p1SQl96a/iSM/clylKJ09OuQNfDCOztBSgcYIh5d"
    "TUFBru8A=="
)


def heic_pixels() -> np.ndarray:
    """48 x 64 x 3 uint8: what the HEIC files show, before compression."""
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    return np.stack([4 * x, 5 * y, 2 * (x + y)], axis=2).astype(np.uint8)


def dng(pixels: np.ndarray, orientation: int = 1) -> bytes:
    """A camera RAW file (DNG 1.4): the RGGB mosaic of H x W x 3 uint8 pixels, 16 bits."""
    height, width = pixels.shape[:2]
    linear = (pixels / 255.0) ** 2.2 * 65535
    mosaic = np.empty((height, width), "<u2")
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = linear[row::2, column::2, channel]
    xyz_to_srgb = (32404542, -15371385, -4985314, -9692660, 18760108, 415560)
    xyz_to_srgb += (556434, -2040259, 10572252)  # ten millionths
    short, long = struct.Struct("<H").pack, struct.Struct("<I").pack
    tags: list[tuple[int, int, int, bytes]] = [
        (254, 4, 1, long(0)),
        (256, 4, 1, long(width)),
        (257, 4, 1, long(height)),
        (258, 3, 1, short(16)),
        (259, 3, 1, short(1)),  # not compressed
        (262, 3, 1, short(32803)),  # a colour filter array
        (271, 2, 6, b"Maker\0"),
        (272, 2, 7, b"Camera\0"),
        (273, 4, 1, b""),  # where the strip lies, below
        (274, 3, 1, short(orientation)),
        (277, 3, 1, short(1)),
        (278, 4, 1, long(height)),
        (279, 4, 1, long(mosaic.nbytes)),
        (33421, 3, 2, short(2) + short(2)),
        (33422, 1, 4, bytes((0, 1, 1, 2))),
        (50706, 1, 4, bytes((1, 4, 0, 0))),
        (50708, 2, 7, b"Camera\0"),
        (50721, 10, 9, b"".join(struct.pack("<ii", one, 10_000_000) for one in xyz_to_srgb)),
        (50728, 5, 3, struct.pack("<6I", 1, 1, 1, 1, 1, 1)),  # white as shot
        (50778, 3, 1, short(21)),  # D65
    ]
    start = 8 + 2 + 12 * len(tags) + 4
    strip = start + sum(len(value) + len(value) % 2 for *_, value in tags if len(value) > 4)
    directory, values = b"", b""
    for tag, kind, count, value in tags:
        value = value or long(strip)
        if len(value) > 4:
            place = long(start + len(values))
            values += value + b"\0" * (len(value) % 2)
            value = place
        directory += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    head = b"II*\0" + long(8) + short(len(tags))
    return head + directory + long(0) + values + mosaic.tobytes()

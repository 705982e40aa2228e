"""Files that tests inspect: a scene, and what encoders and programs make of it."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image


def scene(width: int = 320, height: int = 240, seed: int = 0) -> np.ndarray:
    """height x width x 3 uint8: smooth shapes and fine grain, unlike itself when turned."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grain = generator.normal(0, 6, (height, width, 3))
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray, quality: int = 90, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, **options)
    return stream.getvalue()


def exif_block(thumbnail: bytes = b"", **tags: Any) -> bytes:
    """An EXIF block with tags by their names, and a thumbnail in its second directory."""
    from PIL import ExifTags

    exif = Image.Exif()
    below = exif.get_ifd(ExifTags.IFD.Exif)
    position = exif.get_ifd(ExifTags.IFD.GPSInfo)
    main = {"Make", "Model", "Software", "DateTime", "Orientation", "ImageDescription"}
    for name, value in tags.items():
        if name.startswith("GPS"):
            position[ExifTags.GPS[name]] = value
        elif name in main:
            exif[ExifTags.Base[name]] = value
        else:
            below[ExifTags.Base[name]] = value
    if not thumbnail:
        return exif.tobytes()
    return with_thumbnail(exif.tobytes(), thumbnail)


def with_thumbnail(block: bytes, thumbnail: bytes) -> bytes:
    """Add a second directory that points to a JPEG; Pillow writes none."""
    head, tiff = block[:6], bytearray(block[6:])
    order = "little" if tiff[:2] == b"II" else "big"

    def number(value: int, length: int) -> bytes:
        return value.to_bytes(length, order)  # type: ignore[arg-type]

    start = int.from_bytes(tiff[4:8], order)  # type: ignore[arg-type]
    count = int.from_bytes(tiff[start : start + 2], order)  # type: ignore[arg-type]
    following = start + 2 + 12 * count
    place = len(tiff)
    tiff[following : following + 4] = number(place, 4)
    data = place + 2 + 12 * 3 + 4
    entries = [(259, 3, number(6, 2) + b"\0\0"), (513, 4, number(data, 4))]
    entries.append((514, 4, number(len(thumbnail), 4)))
    tiff += number(len(entries), 2)
    for tag, kind, value in entries:
        tiff += number(tag, 2) + number(kind, 2) + number(1, 4) + value
    tiff += number(0, 4) + thumbnail
    return head + bytes(tiff)


def xmp_packet(*attributes: str, body: str = "") -> bytes:
    spaces = (
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" '
        'xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    )
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f"{spaces} {' '.join(attributes)}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def small(pixels: np.ndarray, width: int = 160, height: int = 120) -> bytes:
    """A thumbnail's JPEG."""
    return jpeg(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), 80)

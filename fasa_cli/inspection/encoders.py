"""Quantisation tables against those of encoders that we can run.

A table says which scale it lies on, hardly ever which program wrote it: most programs use one of
these libraries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from fasa_cli.imaging.jpeg_tables import CHROMA, LUMA, MOZJPEG, scaled_table
from fasa_cli.inspection.records import JpegCoding, JpegStructure

_SCALES = (
    ("libjpeg", LUMA, CHROMA),
    ("libjpeg 9", LUMA, (16, *CHROMA[1:])),
    ("mozjpeg", MOZJPEG, MOZJPEG),
)
_USERS = {
    "libjpeg": "libjpeg, libjpeg-turbo (Pillow, OpenCV, ImageMagick, GIMP, browsers, many phones)",
    "libjpeg 9": "libjpeg 9",
    "mozjpeg": "mozjpeg 3 or later (web services, image optimisers)",
}
# What programs write by default: (quality, sampling).
_DEFAULTS = {
    ("libjpeg", 75, "4:2:0"): "Pillow or cjpeg at their default quality",
    ("libjpeg", 95, "4:2:0"): "OpenCV at its default quality",
    ("libjpeg", 85, "4:4:4"): "simplejpeg at its default quality",
}
_PLAIN_ORDER = ("APP0", "DQT", "DQT", "SOF0", "DHT", "DHT", "DHT", "DHT", "SOS", "EOI")


@lru_cache(maxsize=1)
def _known() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Per scale: its name, and 100 x 64 steps for brightness and for colour."""
    qualities = range(1, 101)
    return [
        (
            name,
            np.stack([scaled_table(luma, quality) for quality in qualities]),
            np.stack([scaled_table(chroma, quality) for quality in qualities]),
        )
        for name, luma, chroma in _SCALES
    ]


@lru_cache(maxsize=256)  # a folder's files often share their tables
def _estimate(luma: tuple[int, ...], chroma: tuple[int, ...] | None) -> tuple[int, str, bool]:
    """(quality, scale, whether every step is equal) of the nearest known tables."""
    best: tuple[float, int, str] | None = None
    for name, lumas, chromas in _known():
        distance = np.abs(lumas - np.array(luma)).sum(axis=1)
        if chroma is not None:
            distance = distance + np.abs(chromas - np.array(chroma)).sum(axis=1)
        # Equal tables at several qualities (all ones, all 255): the highest.
        nearest = 99 - int(distance[::-1].argmin())
        if best is None or distance[nearest] < best[0]:
            best = float(distance[nearest]), nearest + 1, name
    assert best is not None
    return best[1], best[2], best[0] == 0


def identify(structure: JpegStructure) -> JpegCoding:
    """The quality of a JPEG's tables, and the encoders with which they are consistent."""
    numbers = [one.table for one in structure.components]
    luma = structure.tables.get(numbers[0]) if numbers else None
    if luma is None:
        return JpegCoding(None, None, False, ())
    chroma = structure.tables.get(numbers[1]) if len(numbers) > 1 else None
    quality, scale, is_exact = _estimate(luma, chroma)
    names: list[str] = []
    contents = {one.content for one in structure.segments}
    if is_exact:
        names.append(_USERS[scale])
        default = _DEFAULTS.get((scale, quality, structure.sampling))
        if default and _is_plain(structure):
            names.append(default)
    if "Ducky" in contents:
        names.append("Photoshop's Save for Web")
    elif {"Photoshop resources", "Adobe"} <= contents:
        names.append("Photoshop or another Adobe program")
    return JpegCoding(quality, scale, is_exact, tuple(names))


def is_written_by_libjpeg(structure: JpegStructure, coding: JpegCoding) -> bool:
    """Whether tables, Huffman codes and JFIF header are all as libjpeg writes them by itself."""
    return coding.is_exact and structure.jfif == "1.01" and structure.density == (0, 1, 1)


def _is_plain(structure: JpegStructure) -> bool:
    """Whether the order of segments is what libjpeg writes without any metadata."""
    names = tuple(one.name for one in structure.segments)
    return names == _PLAIN_ORDER and structure.jfif == "1.01" and structure.huffman == "standard"

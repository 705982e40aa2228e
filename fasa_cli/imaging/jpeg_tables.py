"""The quantisation tables of encoders whose scales are known, and zigzag order.

The base tables are those of the JPEG standard's annex K and mozjpeg's; each was checked against
files that these libraries wrote.
"""

from __future__ import annotations

import numpy as np

LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
MOZJPEG = (  # mozjpeg 3 and later, for all components
    *(16, 16, 16, 18, 25, 37, 56, 85),
    *(16, 17, 20, 27, 34, 40, 53, 75),
    *(16, 20, 24, 31, 43, 62, 91, 135),
    *(18, 27, 31, 40, 53, 74, 106, 156),
    *(25, 34, 43, 53, 69, 94, 131, 189),
    *(37, 40, 62, 74, 94, 124, 169, 238),
    *(56, 53, 91, 106, 131, 169, 226, 311),
    *(85, 75, 135, 156, 189, 238, 311, 418),
)


def zigzag_order() -> np.ndarray:
    """64 indices: the place (8 * row + column) of each coefficient in zigzag order."""
    places = sorted(
        ((row, column) for row in range(8) for column in range(8)),
        key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
    )
    return np.array([8 * row + column for row, column in places])


ZIGZAG = zigzag_order()


def scaled_table(base: tuple[int, ...], quality: int) -> np.ndarray:
    """64 steps in zigzag order: a base table at a libjpeg quality (1-100), limited to 255."""
    factor = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((np.array(base)[ZIGZAG] * factor + 50) // 100, 1, 255)


def standard_tables(quality: int) -> tuple[np.ndarray, np.ndarray]:
    """(brightness, colour) steps of libjpeg at a quality of 1-100, in zigzag order."""
    return scaled_table(LUMA, quality), scaled_table(CHROMA, quality)

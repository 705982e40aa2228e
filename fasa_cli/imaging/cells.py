"""What is measured in each 8 x 8 pixels of a photo, and where nothing can be measured.

Noise and sharpness are what a mark can be checked against; a cell that is clipped, dark, flat, out
of focus or a bar holds neither, so that no method can say there whether the photo was changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fasa_cli.results import GRID, Frame

CELL = GRID
_STRIP_PIXELS = 1_000_000  # that are measured together
_MARGIN = 2 * CELL
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# Immerkaer, "Fast noise variance estimation", 1996: its mean strength on noise of sigma 1 is
# 6 sqrt(2 / pi), and it does not see planes and straight edges along the axes.
_RESIDUAL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_PER_SIGMA = 6 * float(np.sqrt(2 / np.pi))
_WHITE, _BLACK = 254, 1  # grey levels from and to which a value is clipped

# Ours, all in grey levels, looked at on camera photos:
_CLIPPED = 0.5  # share of a cell's pixels with a clipped channel
_DARK = 16.0  # mean brightness
_FLAT = 0.2  # of noise; JPEG rounds less away to nothing
_DETAIL = 0.6  # of fine detail, which a cell with structure has unless it is out of focus
_STRUCTURE = 4.0  # mean gradient at half the resolution

# Why nothing can be determined of a cell, by its number in an unjudgeable map; 0 is none of them.
REASONS = ("", "bars", "clipped", "dark", "flat", "out of focus")


@dataclass(frozen=True)
class Cells:
    """Measures of each whole 8 x 8 pixels, float32 h x w, in grey levels (shares for `clipped`).

    `noise` and `colour_noise` are the standard deviations of what a 3 x 3 high-pass leaves of
    brightness and of the two colour differences; `fine` and `coarse` are mean gradients at full and
    at half resolution.
    """

    brightness: np.ndarray
    noise: np.ndarray
    colour_noise: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    clipped: np.ndarray


def measure_cells(pixels: np.ndarray) -> Cells:
    """Measure an H x W x 3 uint8 RGB photo; a rest of fewer than 8 rows or columns is left out."""
    rows, columns = (length // CELL for length in pixels.shape[:2])
    whole = pixels[: rows * CELL, : columns * CELL]
    maps = [np.zeros((rows, columns), np.float32) for _ in range(6)]
    if not whole.size:  # fewer than 8 rows or columns
        return Cells(*maps)
    step = CELL * max(1, _STRIP_PIXELS // (CELL * CELL * max(1, columns)))
    for top in range(0, rows * CELL, step):
        start, bottom = max(0, top - _MARGIN), min(rows * CELL, top + step)
        strip = whole[start : min(rows * CELL, bottom + _MARGIN)]
        own = slice((top - start) // CELL, (bottom - start) // CELL)
        for target, values in zip(maps, _measured(strip), strict=True):
            target[top // CELL : bottom // CELL] = values[own]
    return Cells(*maps)


def _measured(strip: np.ndarray) -> tuple[np.ndarray, ...]:
    luma = strip @ _LUMA
    red, blue = (strip[..., channel] - luma for channel in (0, 2))
    residuals = [np.abs(cv2.filter2D(one, cv2.CV_32F, _RESIDUAL)) for one in (luma, red, blue)]
    noise, of_red, of_blue = (_by_cell(one) / _PER_SIGMA for one in residuals)
    half = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    ends = (strip.max(2) >= _WHITE) | (strip.min(2) <= _BLACK)
    return (
        _by_cell(luma),
        noise,
        np.hypot(of_red, of_blue),
        _by_cell(_gradient(luma)),
        _by_cell(_gradient(half), CELL // 2),
        _by_cell(ends.astype(np.float32)),
    )


def _gradient(luma: np.ndarray) -> np.ndarray:
    """Mean absolute central differences along both axes, per pixel."""
    across, down = (cv2.Sobel(luma, cv2.CV_32F, *axes, ksize=1) for axes in ((1, 0), (0, 1)))
    gradient: np.ndarray = (np.abs(across) + np.abs(down)) / 4
    return gradient


def _by_cell(values: np.ndarray, side: int = CELL) -> np.ndarray:
    rows, columns = (length // side for length in values.shape)
    return cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA)


def unjudgeable_cells(cells: Cells, frame: Frame | None = None) -> np.ndarray:
    """The number in REASONS why nothing can be determined of a cell, uint8 h x w; 0: something can.

    Of several reasons the first counts; `frame` is where the photo lies in its picture.
    """
    reasons = np.zeros(cells.noise.shape, np.uint8)
    tests = {
        "out of focus": (cells.coarse >= _STRUCTURE) & (cells.noise < _DETAIL),
        "flat": cells.noise < _FLAT,
        "dark": cells.brightness < _DARK,
        "clipped": cells.clipped >= _CLIPPED,
    }
    for name, found in tests.items():
        reasons[found] = REASONS.index(name)
    if frame is not None:
        outside = np.ones_like(reasons, bool)
        first_row, first_column = -(-frame.top // CELL), -(-frame.left // CELL)
        outside[first_row : frame.bottom // CELL, first_column : frame.right // CELL] = False
        reasons[outside] = REASONS.index("bars")
        if not (~outside).any():
            reasons[:] = 0
    return reasons


def shares_of_reasons(reasons: np.ndarray) -> dict[str, float]:
    """The share of the cells with each reason, those that occur."""
    counts = np.bincount(reasons.ravel(), minlength=len(REASONS))
    return {
        name: round(float(count / max(1, reasons.size)), 4)
        for name, count in zip(REASONS[1:], counts[1:], strict=True)
        if count
    }

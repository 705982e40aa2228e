"""Where the photo lies in its picture: bars around it, and the phase of its JPEG grid.

A file's JPEG grid starts at its corner, but what was cropped, framed or pasted into a page carries
the grid of its earlier compression elsewhere. The block statistics of `compact` compare blocks, so
they must be taken on that grid; bars of one colour have no noise at all and would be the oddest
place of every picture they frame.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from fasa_cli.results import GRID, Frame

_PATCH = 96  # pixels, the side of the parts that are looked at
_PATCHES = 3  # of them along each axis
_LEAST_SPREAD = 1.0  # grey levels; a flatter part says nothing about the grid
_LEAST_EVIDENCE = 4.0  # standard deviations by which the best phase exceeds the others
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BAR_SPREAD = 2.0  # grey levels by which the pixels of a bar's line may differ from its colour
_BAR_EDGE = 12.0  # grey levels, on average, by which the photo's first line must
_LARGEST_BAR = 0.45  # of a side; more is no bar but a picture with an empty half


def find_frame(picture: np.ndarray) -> Frame:
    """Bars and grid of an H x W x 3 uint8 RGB picture."""
    top, bottom, left, right = _without_bars(picture)
    inside = picture[top:bottom, left:right]
    return Frame(top, bottom, left, right, jpeg_phase(inside))


def jpeg_phase(picture: np.ndarray) -> tuple[int, int] | None:
    """The offset (down, right) of the JPEG grid in an H x W x 3 uint8 RGB picture; None: no grid.

    JPEG sets most high-frequency coefficients of a block to 0. Rounding to pixels moves them
    little, but blocks taken at any other of the 64 phases mix two neighbours. So the phase with
    the most coefficients near 0 is the grid's, if it stands out.
    """
    shares = phase_shares(picture)
    if shares is None:
        return None
    best = np.unravel_index(shares.argmax(), shares.shape)
    others = np.delete(shares.ravel(), shares.argmax())
    evidence = (shares[best] - others.mean()) / (others.std() + 1e-4)
    return (int(best[0]), int(best[1])) if evidence >= _LEAST_EVIDENCE else None


def phase_shares(picture: np.ndarray) -> np.ndarray | None:
    """8 x 8: the mean share of high-frequency coefficients near 0 in blocks at each phase (down,
    right) of an H x W x 3 uint8 RGB picture; None where it is too small or flat."""
    height, width = picture.shape[:2]
    shares, counts = np.zeros((GRID, GRID)), 0
    for top in _starts(height):
        for left in _starts(width):
            part = picture[top : top + _PATCH + GRID - 1, left : left + _PATCH + GRID - 1] @ _LUMA
            if min(part.shape) < 2 * GRID or part.std() < _LEAST_SPREAD:
                continue
            shares += _near_zero(part)
            counts += 1
    return shares / counts if counts else None


def _starts(length: int) -> list[int]:
    """Where the patches along an axis start, on multiples of GRID."""
    free = length - _PATCH - GRID + 1
    if free <= 0:
        return [0]
    return sorted({round(k * free / (_PATCHES - 1)) // GRID * GRID for k in range(_PATCHES)})


def _near_zero(part: np.ndarray) -> np.ndarray:
    """8 x 8: for each phase, the mean share of high-frequency coefficients near 0."""
    matrix, high = _dct()
    rows, columns = ((length - GRID + 1) // GRID for length in part.shape)
    windows = np.lib.stride_tricks.sliding_window_view(part, (GRID, GRID))
    windows = windows[: rows * GRID, : columns * GRID]
    coefficients = np.matmul(np.matmul(matrix, windows), matrix.T)[..., high]
    share = np.exp(-2 * coefficients**2).mean(-1)
    return share.reshape(rows, GRID, columns, GRID).mean((0, 2))


@cache
def _dct() -> tuple[np.ndarray, np.ndarray]:
    """The 8 x 8 orthonormal DCT-II matrix, and which coefficients count as high."""
    k, n = np.mgrid[:GRID, :GRID].astype(np.float32)
    matrix = np.cos((n + 0.5) * k * np.pi / GRID) * np.sqrt(2 / GRID)
    matrix[0] /= np.sqrt(2)
    order = k + n
    return matrix.astype(np.float32), (order >= 5) & (order <= 9)


def _without_bars(picture: np.ndarray) -> tuple[int, int, int, int]:
    """top, bottom, left, right of what is left when bars of one colour are cut off."""
    height, width = picture.shape[:2]
    top, bottom = _bars(picture, height)
    left, right = _bars(picture[top:bottom].swapaxes(0, 1), width)
    return top, bottom, left, right


def _bars(lines: np.ndarray, length: int) -> tuple[int, int]:
    """The first and one past the last line (rows of `lines`) that belong to no bar."""
    most = int(length * _LARGEST_BAR)
    first = _bar(lines[: most + 1])
    last = length - _bar(lines[::-1][: most + 1])
    return (first, last) if last - first >= 2 * GRID else (0, length)


def _bar(lines: np.ndarray) -> int:
    """How many of the first lines are a bar: all of one colour, up to a clear edge; 0: none.

    A smooth sky is nearly of one colour too, but fades; and it is part of the photo.
    """
    colour = np.median(lines[0], axis=0)
    departures: list[float] = []
    for line in lines:
        departures.append(float(np.abs(line - colour).mean()))
        first = next((n for n, one in enumerate(departures) if one > _BAR_SPREAD), None)
        if first is not None and len(departures) > first + GRID:
            break
    if first is None or first < 2:
        return 0
    # JPEG blurs the edge over a block: it lies where lines depart from the colour at once.
    steps = np.diff(departures)
    edge = first + int(steps[first - 1 :].argmax())
    return edge if departures[edge] - departures[first - 1] > _BAR_EDGE else 0

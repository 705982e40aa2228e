"""JPEG ghosts (Farid, IEEE TIFS 2009): regions that were once saved at another quality.

A picture is saved again at many qualities. Where that changes a region least, although the rest
changes more, the region had been saved at that quality before.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fasa_cli.results import GRID

QUALITIES = tuple(range(50, 100, 5))
_WINDOW = 2  # blocks on each side over which differences are averaged: 5 x 5
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Ghosts:
    """`quality` is that at which the blocks fall apart most clearly into two kinds, `separation`
    (0-1) how clearly; `share` of the blocks change least there. `map` is rows x columns float32 per
    block: 1 where saving at that quality changes least, 0 where most."""

    quality: int
    separation: float
    share: float
    map: np.ndarray


def find_ghosts(brightness: np.ndarray) -> Ghosts | None:
    """Save H x W uint8 brightness again at `QUALITIES`; None where it is too small."""
    rows, columns = (side // GRID for side in brightness.shape)
    if min(rows, columns) < 4 * _WINDOW:
        return None
    whole = np.ascontiguousarray(brightness[: rows * GRID, : columns * GRID])
    differences = np.stack([_difference(whole, quality) for quality in QUALITIES])
    low, high = differences.min(axis=0), differences.max(axis=0)
    normal = (differences - low) / np.maximum(high - low, _LEAST_SPREAD)
    best: tuple[float, int, float, np.ndarray] | None = None
    for quality, one in zip(QUALITIES, normal, strict=True):
        separation, threshold = _otsu(one)
        share = float((one < threshold).mean())
        if best is None or separation > best[0]:
            best = separation, quality, share, one
    assert best is not None
    return Ghosts(best[1], best[0], best[2], (1 - best[3]).astype(np.float32))


def _difference(whole: np.ndarray, quality: int) -> np.ndarray:
    """rows x columns float32: the mean squared difference around each block."""
    done, data = cv2.imencode(".jpg", whole, [cv2.IMWRITE_JPEG_QUALITY, quality])
    again = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if done else None
    if again is None:
        raise ValueError("the picture cannot be saved as JPEG")
    squares = (whole.astype(np.float32) - again) ** 2
    blocks = cv2.resize(squares, (whole.shape[1] // GRID, whole.shape[0] // GRID), interpolation=3)
    side = 2 * _WINDOW + 1
    return np.asarray(cv2.blur(blocks, (side, side), borderType=cv2.BORDER_REFLECT))


def _otsu(values: np.ndarray) -> tuple[float, float]:
    """(share of the variance that two classes explain, the threshold between them); values 0-1."""
    counts, edges = np.histogram(values, 64, (0, 1))
    shares = counts / counts.sum()
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(shares)[:-1]
    mean = np.cumsum(shares * centres)
    total = mean[-1]
    variance = float((shares * (centres - total) ** 2).sum())
    if variance < _LEAST_SPREAD:
        return 0.0, 0.5
    between = (total * below - mean[:-1]) ** 2 / np.maximum(below * (1 - below), 1e-9)
    place = int(between.argmax())
    return float(between[place] / variance), float(edges[place + 1])

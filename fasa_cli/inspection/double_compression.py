"""Where a JPEG was compressed twice on the same grid, and at which quality first.

Quantising twice leaves gaps and peaks in the histogram of every DCT coefficient. As in Lin et al.
(Pattern Recognition 2009) and Bianchi and Piva (IEEE TIFS 2012), each frequency's histogram is
explained as a mixture of two: of coefficients that were quantised once, and of those that were
quantised before with another step. What the picture's coefficients were before any compression is
taken from its own pixels on a grid that is shifted by half a block. The likelihoods of a block's
coefficients under the two then give its probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasa_cli.imaging.jpeg_tables import standard_tables
from fasa_cli.inspection.blocks import block_coefficients
from fasa_cli.results import GRID

FREQUENCIES = 16  # in zigzag order; the first, the mean, is left out
_QUALITIES = range(40, 100)
_SHARES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97)
_LEVELS = 40  # quantised values up to this, on both sides; what is larger counts as this
_FINE = 0.25  # width of the bins in which unquantised coefficients are counted
_ROUNDING = 0.45  # standard deviation that rounding pixels adds to a coefficient
_FLOOR = 2e-3  # share of a histogram that no model explains
_LEAST_BLOCKS = 64
_BLACK, _WHITE = 2, 253  # brightness from which a pixel counts as clipped
_LEAST_STEP = 2  # a step of one leaves nothing to see


@dataclass(frozen=True)
class DoubleCompression:
    """What the histograms say.

    `quality` is the libjpeg quality of the first compression that explains them best, `share` the
    share of blocks (0-1) that were compressed at it, and `gain` how much better than one
    compression: nats per block. `probability` is rows x columns float32 per block; flat and clipped
    blocks say nothing, and have what their neighbours and `share` give.
    """

    quality: int
    share: float
    gain: float
    probability: np.ndarray


def find_double_compression(
    brightness: np.ndarray, steps: tuple[int, ...]
) -> DoubleCompression | None:
    """Explain a JPEG's decoded brightness (H x W uint8) by a first compression.

    `steps` are its quantisation steps in zigzag order. None where there is too little to see.
    """
    used = [n for n in range(1, FREQUENCIES) if steps[n] >= _LEAST_STEP]
    stored = block_coefficients(brightness, FREQUENCIES)
    rows, columns = stored.shape[:2]
    if rows * columns < _LEAST_BLOCKS or len(used) < 3:
        return None
    levels = {n: _levels(stored[:, :, n].ravel(), steps[n]) for n in used}
    known = _is_informative(brightness, rows, columns, levels)
    if known.sum() < _LEAST_BLOCKS:
        return None
    before = block_coefficients(brightness, FREQUENCIES, shift=4).reshape(-1, FREQUENCIES)
    counts = {n: np.bincount(levels[n][known], minlength=2 * _LEVELS + 1) for n in used}
    fine = {n: _fine_histogram(before[:, n], steps[n]) for n in used}
    once = {n: _floored(_requantised(*fine[n], 1, steps[n], 0.0)) for n in used}
    models: dict[tuple[int, int], np.ndarray] = {}

    def twice(n: int, first: int) -> np.ndarray:
        if (n, first) not in models:
            quantised = _requantised(*fine[n], first, steps[n], _ROUNDING)
            models[n, first] = _floored(quantised)
        return models[n, first]

    alone = sum(float(counts[n] @ np.log(once[n])) for n in used)
    best: tuple[float, int, float] | None = None
    for quality in _QUALITIES:
        table = standard_tables(quality)[0]
        if all(int(table[n]) == steps[n] for n in used):
            continue  # compressed again at the same quality: nothing to see
        firsts = {n: int(table[n]) for n in used}
        for share in _SHARES:
            fit = sum(
                float(counts[n] @ np.log(share * twice(n, firsts[n]) + (1 - share) * once[n]))
                for n in used
            )
            if best is None or fit > best[0]:
                best = fit, quality, share
    assert best is not None
    table = standard_tables(best[1])[0]
    ratio = np.zeros(rows * columns, np.float64)
    for n in used:
        ratio += np.log(twice(n, int(table[n])) / once[n])[levels[n]]
    ratio[~known] = 0
    evidence = _neighbourhood(ratio.reshape(rows, columns)) + np.log(best[2] / (1 - best[2]))
    probability = 1 / (1 + np.exp(-np.clip(evidence, -30, 30)))
    gain = (best[0] - alone) / int(known.sum())
    return DoubleCompression(best[1], best[2], gain, probability.astype(np.float32))


def _is_informative(
    brightness: np.ndarray, rows: int, columns: int, levels: dict[int, np.ndarray]
) -> np.ndarray:
    """Per block: False where pixels are clipped, which disturbs coefficients, or nothing varies."""
    whole = brightness[: rows * GRID, : columns * GRID].reshape(rows, GRID, columns, GRID)
    clipped = (whole.min(axis=(1, 3)) <= _BLACK) | (whole.max(axis=(1, 3)) >= _WHITE)
    varies = np.zeros(rows * columns, bool)
    for one in levels.values():
        varies |= one != _LEVELS
    return varies & ~clipped.ravel()


def _levels(coefficients: np.ndarray, step: int) -> np.ndarray:
    """Quantised values as indices 0 .. 2 * _LEVELS."""
    quantised = np.rint(coefficients / step).astype(np.int64)
    return np.clip(quantised, -_LEVELS, _LEVELS) + _LEVELS


def _fine_histogram(coefficients: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """(values, shares) of unquantised coefficients, in bins of a quarter."""
    reach = (_LEVELS + 2) * step
    edges = np.arange(-reach, reach + _FINE, _FINE)
    clipped = np.clip(coefficients, -reach + _FINE, reach - _FINE)
    shares = np.histogram(clipped, edges)[0].astype(np.float64)
    shares = (shares + shares[::-1]) / 2  # signs are as likely
    return (edges[:-1] + edges[1:]) / 2, shares / max(shares.sum(), 1)


def _requantised(
    values: np.ndarray, shares: np.ndarray, first: int, second: int, noise: float
) -> np.ndarray:
    """Shares of the levels at step `second` of values that were quantised at `first` before."""
    once = np.rint(values / first) * first if noise else values
    if not noise:
        return np.bincount(_levels(once, second), shares, 2 * _LEVELS + 1)
    places, inverse = np.unique(once, return_inverse=True)
    mass = np.bincount(inverse, shares)
    edges = (np.arange(-_LEVELS, _LEVELS) + 0.5) * second
    below = 1 / (1 + np.exp(-np.clip((edges[None] - places[:, None]) * (1.702 / noise), -40, 40)))
    steps = np.diff(below, axis=1, prepend=0, append=1)
    return np.asarray(mass @ steps)


def _floored(shares: np.ndarray) -> np.ndarray:
    """Never zero: a little of a smoothed copy, and of everything."""
    smooth = np.convolve(np.pad(shares, 3, mode="edge"), np.ones(7) / 7, mode="valid")
    return (1 - _FLOOR) * shares + _FLOOR * (0.9 * smooth + 0.1 / len(shares))


def _neighbourhood(evidence: np.ndarray) -> np.ndarray:
    """The mean of 3 x 3 blocks: a forged region is hardly a block alone."""
    import cv2

    return np.asarray(cv2.blur(evidence, (3, 3), borderType=cv2.BORDER_REFLECT))

"""How two pictures of the same thing differ, beyond tone and a small shift."""

from __future__ import annotations

import cv2
import numpy as np

FLAT = 3.0  # standard deviation of brightness below which correlation means nothing
_LOCAL_SHARE = 0.004  # of the picture, at least


def brightness_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two h x w arrays, -1 to 1; 1 where both are flat, 0 where one is."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    spread = (float(a.std()), float(b.std()))
    if max(spread) < FLAT:
        return 1.0
    if min(spread) < FLAT / 3:
        return 0.0
    return float((a @ b) / (len(a) * spread[0] * spread[1]))


def brightness_difference(one: np.ndarray, other: np.ndarray, shift: int) -> np.ndarray:
    """h x w float32: how far two differ in brightness, whose tone is fitted by a line.

    What a shift by up to `shift` pixels explains does not count: each is compared with the range of
    the other's neighbourhood, and the smaller of the two differences is taken.
    """
    a, b = one.astype(np.float32), other.astype(np.float32)
    b = _with_tone_of(a, b)
    side = 2 * shift + 1
    return np.minimum(_outside(a, b, side), _outside(b, a, side))


def _with_tone_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b on the line that fits it to a best where the two agree: what was changed must not count."""
    kept = np.ones(a.shape, bool)
    for _ in range(3):
        x, y = b[kept], a[kept]
        spread = float(x.var())
        slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 1 else 1.0
        slope = min(max(slope, 0.5), 2.0)
        fitted = slope * (b - x.mean()) + y.mean()
        residual = np.abs(a - fitted)
        kept = residual <= max(float(np.percentile(residual, 75)), 1.0)
    return fitted.astype(np.float32)


def _outside(a: np.ndarray, b: np.ndarray, side: int) -> np.ndarray:
    """How far a is from the range of b within side x side pixels."""
    kernel = np.ones((side, side), np.uint8)
    above, below = a - cv2.dilate(b, kernel), cv2.erode(b, kernel) - a
    return np.maximum(np.maximum(above, below), 0).astype(np.float32)


def differing_place(difference: np.ndarray, least: float) -> tuple[float, ...] | None:
    """(x, y, width, height, share, level) of what differs by more than `least` levels (0-255), as
    shares of the picture; None: nothing."""
    smooth = cv2.GaussianBlur(difference, (0, 0), 1.5)
    level = max(least, 5 * float(np.median(smooth)))
    marked = (smooth > level).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < max(4, _LOCAL_SHARE * difference.size):
        return None
    left, top, wide, high, _ = (int(one) for one in stats[1 + int(areas.argmax())])
    height, width = difference.shape
    place = difference[top : top + high, left : left + wide]
    share = float(marked.mean())
    return left / width, top / height, wide / width, high / height, share, float(place.mean())

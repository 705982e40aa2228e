"""One threshold for photos of all sizes: what is added to the logits of a photo of few pixels.

Ours. At one threshold, untouched photos of many megapixels are marked several times as often as
small ones, whose forgeries are missed. So the checkpoint holds, for some sizes, the constant with
which 0.5 is as strict for photos of this size as for all others (benchmarks/calibrate.py). A
constant changes no ranking of the pixels of a photo.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def offset_for_size(offsets: Sequence[tuple[float, float]], pixels: int) -> float:
    """The constant for a photo of so many `pixels`: straight between the (megapixels, logit) pairs
    in the logarithm of the size, level beyond the first and the last. No pairs: 0."""
    if not offsets:
        return 0.0
    sizes = [math.log(megapixels) for megapixels, _ in offsets]
    return float(np.interp(math.log(pixels / 1e6), sizes, [logit for _, logit in offsets]))


def add_offset(probabilities: np.ndarray, offset: float) -> None:
    """Add `offset` to the logits of H x W float32 probabilities, in place."""
    # p / (1 - p) times e^offset, without infinite logits where p is 0 or 1
    factor = np.float32(math.exp(offset))
    scaled = probabilities * factor
    np.divide(scaled, 1 - probabilities + scaled, out=probabilities)

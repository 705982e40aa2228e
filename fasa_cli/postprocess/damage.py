"""What is damaged in a file is shown, and is no finding: nothing is marked in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fasa_cli.results import Box, Prediction, within

_MOSTLY = 0.5  # of a region's box


def set_aside(prediction: Prediction, damaged: Sequence[Box]) -> Prediction:
    """The prediction with nothing marked in boxes of damaged pixels; the network's map stays.

    Duplicated regions of which one lies mostly in them are left out: damage repeats itself.
    """
    if not damaged:
        return prediction
    is_damaged = np.zeros(prediction.probabilities.shape, bool)
    for box in damaged:
        within(is_damaged, box)[:] = True
    probabilities = np.where(is_damaged, np.float32(0), prediction.probabilities)
    return replace(
        prediction,
        probabilities=probabilities,
        score=float(probabilities.max()),
        network=prediction.network_map,
        pairs=tuple(
            pair
            for pair in prediction.pairs
            if all(within(is_damaged, box).mean() <= _MOSTLY for box in pair.boxes)
        ),
        damaged=tuple(damaged),
    )

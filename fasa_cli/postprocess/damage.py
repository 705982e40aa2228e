"""What is damaged in a file is shown, and is no finding: nothing is marked in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fasa_cli.results import Box, Prediction, within


def set_aside(prediction: Prediction, damaged: Sequence[Box]) -> Prediction:
    """The prediction with nothing marked in boxes of damaged pixels; the network's map stays.

    Copy-move pairs stay, though damage can repeat itself: the mark of a pair's other region stays,
    and would have no reason without it.
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
        damaged=tuple(damaged),
    )

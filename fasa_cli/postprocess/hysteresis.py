"""Hysteresis: a region is marked only if something in it stands out.

Ours. The network marks sharp or glossy parts of untouched photos faintly, and what was manipulated
strongly in places, faintly in others. One threshold cannot separate the two; hysteresis can: a
faint pixel counts if it is connected to a strong one. The h-maxima transform (Vincent 1993) is
hysteresis for all thresholds at once, so that the answer stays a map. See benchmarks/accuracy.md.
"""

from __future__ import annotations

import cv2
import numpy as np

CELL = 4  # pixels, the finest grid that the model answers on
_STRIP = 512  # rows of a photo that are lowered at a time, a multiple of CELL
_PASSES = 1000  # over a map whose regions are no mazes; 20 to 80 were counted


def apply_hysteresis(probabilities: np.ndarray, prominence: float) -> None:
    """Lower H x W float32 probabilities, in place, so that peaks lose `prominence` of their logit.

    A region above a threshold stays above it where its highest logit is at least `prominence`
    more, and all of it does; where not, all of it falls below. Regions are connected by sides or
    corners of cells of CELL x CELL pixels.
    """
    peaks = _highest_by_cell(probabilities).clip(1e-6, 1 - 1e-6)
    logits = np.log(peaks / (1 - peaks))
    limits = _reconstruction(logits - prominence, logits)
    limits = 1 / (1 + np.exp(-limits))
    columns = np.arange(probabilities.shape[1]) // CELL
    for start in range(0, len(probabilities), _STRIP):  # a large photo's limits would fill memory
        part = probabilities[start : start + _STRIP]
        rows = (start + np.arange(len(part))) // CELL
        np.minimum(part, limits[rows][:, columns], out=part)


def _reconstruction(seed: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Morphological reconstruction by dilation of `seed` under `mask`, h x w float32 both.

    Dilated again and again until nothing changes: a tenth of the time of a queue of sorted pixels
    (scikit-image), whose import alone takes longer than that of all but PyTorch. The queue takes
    the same time whatever the map, so it does what long winding paths would make slow.
    """
    around = np.ones((3, 3), np.uint8)
    for _ in range(_PASSES):
        before, seed = seed, cv2.min(cv2.dilate(seed, around), mask)
        if np.array_equal(before, seed):
            return seed
    from skimage.morphology import reconstruction

    return reconstruction(seed, mask).astype(np.float32)


def _highest_by_cell(values: np.ndarray) -> np.ndarray:
    rows, columns = (-(-side // CELL) for side in values.shape)
    highest = np.zeros((rows, columns), values.dtype)
    for down in range(min(CELL, len(values))):
        for across in range(min(CELL, values.shape[1])):
            part = values[down::CELL, across::CELL]
            inner = highest[: part.shape[0], : part.shape[1]]
            np.maximum(inner, part, out=inner)
    return highest

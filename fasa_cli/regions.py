"""Connected regions of a probability map."""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli.results import Region


def find_regions(
    probabilities: np.ndarray, threshold: float, limit: int | None = None
) -> tuple[Region, ...]:
    """Find the 8-connected regions of an H x W float map where it is above `threshold`.

    Largest area first, ties by box; only the first `limit` of them when it is given.
    """
    marked = probabilities > threshold
    if not marked.any():
        return ()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        marked.astype(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    boxes, areas = stats[1:, :4], stats[1:, cv2.CC_STAT_AREA]
    means, peaks = _scores(labels[marked] - 1, probabilities[marked], areas)
    # No two regions share a box (they would have to cross), so the order is complete.
    order = np.lexsort((*boxes.T[::-1], -areas))[:limit]
    columns = (boxes[order], areas[order], means[order], peaks[order])
    return tuple(
        Region((x, y, width, height), area, mean, peak)
        for (x, y, width, height), area, mean, peak in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )


def _scores(
    labels: np.ndarray, scores: np.ndarray, areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, peak) score per region from the label and score of each marked pixel."""
    labels = labels.astype(np.intp)  # bincount is ten times faster with it
    peaks = np.full(len(areas), -np.inf, scores.dtype)  # so is maximum.at when types agree
    np.maximum.at(peaks, labels, scores)
    means = np.bincount(labels, weights=scores, minlength=len(areas)) / areas
    return np.minimum(means, peaks), peaks  # rounding must not lift a mean above its peak

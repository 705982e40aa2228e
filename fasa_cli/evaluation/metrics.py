"""Pixel and image metrics under named protocols (section 4.1): pure functions, numpy only.

A pixel is marked when its probability is strictly above the threshold. Edge cases, said once:

- an authentic image (no mask, or an all-black one) has no pixel F1, IoU or AUC: they are None and
  do not enter a mean; it counts for the image metrics and the false alarms;
- an all-white mask has an F1 and an IoU, but no AUC, which needs both classes;
- an image without a marked pixel has F1 0 when it is manipulated;
- over an empty set every metric is None, never 0 and never 0/0;
- maps and masks of different sizes, and NaN, are errors, never numbers.

No result depends on the order of the images: means are exact sums (`math.fsum`), divided once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fasa_cli.results import FALSE_ALARM_AREA

EPS = 1e-8  # IMDL-BenCo's
THRESHOLDS = np.arange(101) / 100  # the grid of the best single threshold
ROUNDING = 1e-6  # float32 interpolation may leave [0, 1] by this much, no more
PIXEL_METRICS = ("pixel_f1", "pixel_iou", "pixel_auc", "pixel_f1_best", "pixel_f1_permuted")
IMAGE_METRICS = ("image_f1", "image_accuracy", "image_auc")
FALSE_ALARM_METRICS = ("false_alarm_share", "false_alarm_large_share", "false_alarm_area")
METRICS = (*PIXEL_METRICS, *IMAGE_METRICS, *FALSE_ALARM_METRICS)


@dataclass(frozen=True)
class Protocol:
    """How a set is scored. `size` (width, height): images and masks are resized to it first.

    `full_masks`: whether wholly manipulated images enter the pixel metrics.
    """

    name: str
    size: tuple[int, int] | None = None
    full_masks: bool = True


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("native"),  # Ours: every image at its own size
        Protocol("benco", size=(512, 512)),  # IMDL-BenCo: a plain resize
        Protocol("opensdi", size=(512, 512), full_masks=False),  # pixels: partial edits only
    )
}


class Confusion(NamedTuple):
    """Counts of pixels, or of images; positive means manipulated."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn + 1e-8)."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn + EPS)

    @property
    def iou(self) -> float:
        """Intersection over union of the positives: tp / (tp + fp + fn + 1e-8)."""
        return self.tp / (self.tp + self.fp + self.fn + EPS)

    @property
    def reversed(self) -> Confusion:
        """The counts of the inverted mask: what was marked is not, and the other way round."""
        return Confusion(tp=self.fn, fp=self.tn, fn=self.tp, tn=self.fp)


class FalseAlarms(NamedTuple):
    """Over authentic images: the share with any pixel marked, the share with more than 1 % of
    their area marked, and the mean share of area marked."""

    any_share: float | None
    large_share: float | None
    area: float | None


def confusion(mask: np.ndarray, target: np.ndarray) -> Confusion:
    """Count agreement of two bool arrays of one shape.

    Raises:
        ValueError: the shapes differ, or an array is not bool.
    """
    _check_target(mask, target)
    if mask.dtype != bool:
        raise ValueError(f"the mask is {mask.dtype}, not bool: threshold it first")
    marked, manipulated = int(mask.sum()), int(target.sum())
    tp = int(np.count_nonzero(mask & target))
    fp, fn = marked - tp, manipulated - tp
    return Confusion(tp, fp, fn, mask.size - tp - fp - fn)


def pixel_f1(probabilities: np.ndarray, target: np.ndarray, threshold: float = 0.5) -> float | None:
    """Pixel F1 of one image at `> threshold`; None for an authentic one.

    `probabilities` is H x W in [0, 1], `target` H x W bool. IMDL-BenCo computes the same by way
    of precision and recall; the two differ by less than 1e-7.

    Raises:
        ValueError: sizes differ, a value is NaN or outside [0, 1], or the target is not bool.
    """
    counts = _pixel_confusion(probabilities, target, threshold)
    return counts.f1 if target.any() else None


def pixel_f1_permuted(
    probabilities: np.ndarray, target: np.ndarray, threshold: float = 0.5
) -> float | None:
    """The better F1 of the mask and its inverse (IMDL-BenCo's `double`); None if authentic.

    Raises:
        ValueError: as `pixel_f1`.
    """
    counts = _pixel_confusion(probabilities, target, threshold)
    return max(counts.f1, counts.reversed.f1) if target.any() else None


def pixel_iou(
    probabilities: np.ndarray, target: np.ndarray, threshold: float = 0.5
) -> float | None:
    """Intersection over union of the foreground at `> threshold`; None for an authentic image.

    Raises:
        ValueError: as `pixel_f1`.
    """
    counts = _pixel_confusion(probabilities, target, threshold)
    return counts.iou if target.any() else None


def pixel_auc(probabilities: np.ndarray, target: np.ndarray) -> float | None:
    """Area under the ROC curve over the pixels of one image, exact; None with one class.

    Raises:
        ValueError: as `pixel_f1`.
    """
    check_probabilities(probabilities, target)
    return rank_auc(*sorted_classes(probabilities, target))


def f1_curve(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Pixel F1 of one image at each of `THRESHOLDS`; None for an authentic image.

    Raises:
        ValueError: as `pixel_f1`.
    """
    check_probabilities(probabilities, target)
    return f1_at_thresholds(*sorted_classes(probabilities, target)) if target.any() else None


def best_threshold(curves: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """The ONE threshold whose F1, averaged over all images, is highest, and that F1.

    `curves` holds one `f1_curve` per manipulated image. Of equal thresholds the one nearest to
    0.5 is taken. None for an empty set.
    """
    if not curves:
        return None
    means = [math.fsum(column) / len(curves) for column in np.stack(curves).T]
    index = max(range(len(means)), key=lambda i: (means[i], -abs(THRESHOLDS[i] - 0.5)))
    return float(THRESHOLDS[index]), means[index]


def image_f1(scores: np.ndarray, manipulated: np.ndarray, threshold: float = 0.5) -> float | None:
    """F1 of the images whose score is above `threshold`; None without a manipulated image.

    `scores` is N floats, `manipulated` N bools.

    Raises:
        ValueError: lengths differ or a score is NaN.
    """
    _check_scores(scores, manipulated)
    return confusion(scores > threshold, manipulated).f1 if manipulated.any() else None


def image_accuracy(
    scores: np.ndarray, manipulated: np.ndarray, threshold: float = 0.5
) -> float | None:
    """Share of images on the right side of `threshold`; None for an empty set.

    Raises:
        ValueError: as `image_f1`.
    """
    _check_scores(scores, manipulated)
    return float(((scores > threshold) == manipulated).mean()) if scores.size else None


def image_auc(scores: np.ndarray, manipulated: np.ndarray) -> float | None:
    """Area under the ROC curve over images; None with one class.

    Raises:
        ValueError: as `image_f1`.
    """
    _check_scores(scores, manipulated)
    return rank_auc(*sorted_classes(scores, manipulated))


def false_alarms(areas: Sequence[float]) -> FalseAlarms:
    """How often and how much is marked in authentic images; None for an empty set.

    `areas` holds each image's share of marked pixels, in [0, 1].
    """
    return FalseAlarms(
        any_share=mean(float(area > 0) for area in areas),
        large_share=mean(float(area > FALSE_ALARM_AREA) for area in areas),
        area=mean(areas),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the defined values, whatever their order; None when there are none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def _pixel_confusion(probabilities: np.ndarray, target: np.ndarray, threshold: float) -> Confusion:
    check_probabilities(probabilities, target)
    return confusion(probabilities > threshold, target)


def sorted_classes(values: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of the positives and of the negatives, each sorted: all that AUC and F1 need."""
    return np.sort(values[target]), np.sort(values[~target])


def rank_auc(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """The share of (positive, negative) pairs in the right order; a tie counts half."""
    pairs = positives.size * negatives.size
    if pairs == 0:
        return None
    few, many = sorted((positives, negatives), key=len)  # few look-ups among many are faster
    below = np.searchsorted(many, few, "left").sum(dtype=np.int64)
    not_above = np.searchsorted(many, few, "right").sum(dtype=np.int64)
    half_points = int(below + not_above)  # two for a pair in which the few are higher, one if tied
    if few is negatives:
        half_points = 2 * pairs - half_points
    return half_points / (2 * pairs)


def f1_at_thresholds(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """F1 at each of `THRESHOLDS`, from sorted values."""
    tp, fp = _count_above(positives), _count_above(negatives)
    return 2 * tp / (tp + fp + positives.size + EPS)


def _count_above(ordered: np.ndarray) -> np.ndarray:
    # In the map's own precision, as in `probabilities > threshold`.
    thresholds = THRESHOLDS.astype(ordered.dtype)
    return ordered.size - np.searchsorted(ordered, thresholds, "right")


def check_probabilities(probabilities: np.ndarray, target: np.ndarray) -> None:
    _check_target(probabilities, target)
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise ValueError(f"probabilities are {probabilities.dtype}, not floating point")
    if probabilities.size == 0:
        raise ValueError("the image has no pixels")
    low, high = probabilities.min(), probabilities.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # NaN fails every comparison
        raise ValueError(f"probabilities are not in [0, 1]: from {low} to {high}")


def _check_target(values: np.ndarray, target: np.ndarray) -> None:
    if values.shape != target.shape:
        raise ValueError(f"the map is {_size(values)} but the mask is {_size(target)} pixels")
    if target.dtype != bool:
        raise ValueError(f"the target mask is {target.dtype}, not bool: write `mask > 127`")


def _check_scores(scores: np.ndarray, manipulated: np.ndarray) -> None:
    _check_target(scores, manipulated)
    if np.isnan(scores).any():
        raise ValueError("an image score is NaN")


def _size(array: np.ndarray) -> str:
    """Width x height, as image sizes are written."""
    return " x ".join(str(length) for length in reversed(array.shape))

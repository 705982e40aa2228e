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
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fasa_cli.results import ImageScores, Scores

EPS = 1e-8  # IMDL-BenCo's
THRESHOLDS = np.arange(101) / 100  # the grid of the best single threshold
ROUNDING = 1e-6  # float32 interpolation may leave [0, 1] by this much, no more
FALSE_ALARM_AREA = 0.01  # Ours: fewer marked pixels than 1 % are a speck, not an alarm


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
    """Over authentic images: the share with more than 1 % of their area marked, the share with
    any pixel marked, and the mean share of area marked."""

    share: float | None
    any_share: float | None
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
    _check_probabilities(probabilities, target)
    return _rank_auc(*_sorted_classes(probabilities, target))


def f1_curve(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Pixel F1 of one image at each of `THRESHOLDS`; None for an authentic image.

    Raises:
        ValueError: as `pixel_f1`.
    """
    _check_probabilities(probabilities, target)
    return _curve(*_sorted_classes(probabilities, target)) if target.any() else None


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
    return _rank_auc(*_sorted_classes(scores, manipulated))


def false_alarms(areas: Sequence[float]) -> FalseAlarms:
    """How often and how much is marked in authentic images; None for an empty set.

    `areas` holds each image's share of marked pixels, in [0, 1].
    """
    return FalseAlarms(
        share=mean(float(area > FALSE_ALARM_AREA) for area in areas),
        any_share=mean(float(area > 0) for area in areas),
        area=mean(areas),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the defined values, whatever their order; None when there are none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


def bootstrap_interval(
    values: Iterable[float | None], seed: int = 0, resamples: int = 2000
) -> tuple[float, float] | None:
    """The 95 % interval of a mean over images, by resampling them; None when there are none.

    It covers the choice of images, not the choice of the model's training.
    """
    # Sorted, so that the same images in another order give the same interval.
    defined = np.sort([value for value in values if value is not None])
    if defined.size == 0:
        return None
    generator = np.random.default_rng(seed)
    means = [
        defined[generator.integers(defined.size, size=defined.size)].mean()
        for _ in range(resamples)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


class SetMetrics:
    """Collects the images of one set, one after another, and scores the set.

    Of each image a few numbers are kept (and 101 for a manipulated one), never its pixels.

    Raises:
        ValueError: the protocol is not known.
    """

    def __init__(self, protocol: str = "native", threshold: float = 0.5) -> None:
        if protocol not in PROTOCOLS:
            raise ValueError(f"no protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")
        self.protocol = PROTOCOLS[protocol]
        self.threshold = threshold
        self.skipped = 0
        self._images: list[ImageScores] = []
        self._curves: list[np.ndarray] = []

    @property
    def images(self) -> tuple[ImageScores, ...]:
        """The result of every image, in the order in which they were added."""
        return tuple(self._images)

    def add(
        self,
        probabilities: np.ndarray,
        target: np.ndarray | None,
        name: str = "",
        score: float | None = None,
    ) -> ImageScores:
        """Score one image; a target that is None or all black means authentic.

        `probabilities` is H x W in [0, 1], `target` H x W bool. The image's score is the highest
        probability (Eq. 9) unless `score` is given.

        Raises:
            ValueError: sizes differ, a value is NaN or outside [0, 1], or the target is not bool.
        """
        if target is None:
            target = np.zeros(probabilities.shape, bool)
        _check_probabilities(probabilities, target)
        manipulated = bool(target.any())
        whole = ImageScores(
            name=name,
            manipulated=manipulated,
            score=float(probabilities.max() if score is None else score),
            area=float((probabilities > self.threshold).mean()),
        )
        counts_pixels = manipulated and (self.protocol.full_masks or not target.all())
        result = self._with_pixels(whole, probabilities, target) if counts_pixels else whole
        self._images.append(result)
        return result

    def skip(self) -> None:
        """Count an image that could not be scored."""
        self.skipped += 1

    def scores(self) -> Scores:
        """The metrics of the images added so far."""
        images = self._images
        scores = np.array([image.score for image in images], dtype=np.float64)
        manipulated = np.array([image.manipulated for image in images], dtype=bool)
        alarms = false_alarms([image.area for image in images if not image.manipulated])
        best = best_threshold(self._curves)
        return Scores(
            protocol=self.protocol.name,
            threshold=self.threshold,
            images=len(images),
            manipulated=int(manipulated.sum()),
            skipped=self.skipped,
            pixel_f1=mean(image.pixel_f1 for image in images),
            pixel_f1_best=best[1] if best else None,
            best_threshold=best[0] if best else None,
            pixel_f1_reversed=mean(image.pixel_f1_reversed for image in images),
            pixel_f1_permuted=mean(image.pixel_f1_permuted for image in images),
            pixel_iou=mean(image.pixel_iou for image in images),
            pixel_auc=mean(image.pixel_auc for image in images),
            image_f1=image_f1(scores, manipulated, self.threshold),
            image_accuracy=image_accuracy(scores, manipulated, self.threshold),
            image_auc=image_auc(scores, manipulated),
            false_alarm_share=alarms.share,
            false_alarm_any_share=alarms.any_share,
            false_alarm_area=alarms.area,
        )

    def intervals(self, seed: int = 0) -> dict[str, tuple[float, float] | None]:
        """95 % intervals over images, by the names of `Scores`.

        That of `pixel_f1_best` holds the best threshold of the whole set fixed.
        """
        names = ("pixel_f1", "pixel_f1_permuted", "pixel_iou", "pixel_auc")
        values = {name: [getattr(image, name) for image in self._images] for name in names}
        best = best_threshold(self._curves)
        index = int(np.flatnonzero(best[0] == THRESHOLDS)[0]) if best else 0
        values["pixel_f1_best"] = [float(curve[index]) for curve in self._curves]
        return {name: bootstrap_interval(values[name], seed) for name in sorted(values)}

    def _with_pixels(
        self, whole: ImageScores, probabilities: np.ndarray, target: np.ndarray
    ) -> ImageScores:
        counts = confusion(probabilities > self.threshold, target)
        classes = _sorted_classes(probabilities, target)
        self._curves.append(_curve(*classes))
        return replace(
            whole,
            pixel_f1=counts.f1,
            pixel_f1_reversed=counts.reversed.f1,
            pixel_f1_permuted=max(counts.f1, counts.reversed.f1),
            pixel_iou=counts.iou,
            pixel_auc=_rank_auc(*classes),
        )


def _pixel_confusion(probabilities: np.ndarray, target: np.ndarray, threshold: float) -> Confusion:
    _check_probabilities(probabilities, target)
    return confusion(probabilities > threshold, target)


def _sorted_classes(values: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of the positives and of the negatives, each sorted: all that AUC and F1 need."""
    return np.sort(values[target]), np.sort(values[~target])


def _rank_auc(positives: np.ndarray, negatives: np.ndarray) -> float | None:
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


def _curve(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    """F1 at each of `THRESHOLDS`, from sorted values."""
    tp, fp = _count_above(positives), _count_above(negatives)
    return 2 * tp / (tp + fp + positives.size + EPS)


def _count_above(ordered: np.ndarray) -> np.ndarray:
    # In the map's own precision, as in `probabilities > threshold`.
    thresholds = THRESHOLDS.astype(ordered.dtype)
    return ordered.size - np.searchsorted(ordered, thresholds, "right")


def _check_probabilities(probabilities: np.ndarray, target: np.ndarray) -> None:
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

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fasa_cli.results import ImageScores, Scores

EPS = 1e-8  # IMDL-BenCo's
THRESHOLDS = np.arange(101) / 100  # the grid of the best single threshold
ROUNDING = 1e-6  # float32 interpolation may leave [0, 1] by this much, no more
FALSE_ALARM_AREA = 0.01  # Ours: fewer marked pixels than 1 % are a speck
RESAMPLES = 2000  # of a bootstrap; the ends of its intervals then move by a few per cent

_PORTION = 1 << 20  # numbers that are drawn at once

PIXEL_METRICS = ("pixel_f1", "pixel_iou", "pixel_auc", "pixel_f1_best", "pixel_f1_permuted")
IMAGE_METRICS = ("image_f1", "image_accuracy", "image_auc")
FALSE_ALARM_METRICS = ("false_alarm_share", "false_alarm_large_share", "false_alarm_area")
METRICS = (*PIXEL_METRICS, *IMAGE_METRICS, *FALSE_ALARM_METRICS)

Interval = tuple[float, float]


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


class Difference(NamedTuple):
    """One metric of two predictors on the same `images`: `difference` is second - first, with its
    95 % interval; `images` are those that the metric is over."""

    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None
    images: int


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
        any_share=mean(float(area > 0) for area in areas),
        large_share=mean(float(area > FALSE_ALARM_AREA) for area in areas),
        area=mean(areas),
    )


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of the defined values, whatever their order; None when there are none."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


# --- Intervals --------------------------------------------------------------------------------


def bootstrap_interval(
    values: Iterable[float | None], seed: int = 0, resamples: int = RESAMPLES
) -> Interval | None:
    """The 95 % interval of a mean over images, by resampling them; None for fewer than two.

    It covers the choice of images, not the choice of the model's training.
    """
    # Sorted, so that the same images in another order give the same interval.
    defined = np.sort([value for value in values if value is not None])
    if defined.size < 2:  # one image says nothing of how much images differ
        return None
    generator = np.random.default_rng(seed)
    means = [
        defined[generator.integers(defined.size, size=(rows, defined.size))].mean(axis=1)
        for rows in _portions(resamples, defined.size)
    ]
    return _middle(np.concatenate(means))


def image_intervals(
    images: Sequence[ImageScores], threshold: float = 0.5, seed: int = 0
) -> dict[str, Interval | None]:
    """The 95 % intervals of image F1, accuracy and AUC, by the names of `Scores`.

    Manipulated and authentic images are resampled apart: how many of each a set has was its
    makers' choice, not chance. None where the metric is not defined, or where there is just one
    image of a class.
    """
    statistics = _ImageStatistics(sorted(images, key=_by_scores), threshold)
    draws = _draws(statistics.manipulated, seed)
    drawn = np.concatenate([statistics(some) for some in draws])
    return {
        name: _middle(column) if statistics.can_vary(name) else None
        for name, column in zip(IMAGE_METRICS, drawn.T, strict=True)
    }


def paired_differences(
    first: Sequence[ImageScores],
    second: Sequence[ImageScores],
    thresholds: tuple[float, float] = (0.5, 0.5),
    seed: int = 0,
) -> dict[str, Difference]:
    """What two predictors differ by on the same images, by the names of `Scores`.

    `first[i]` and `second[i]` are of one image. Pixel metrics and false alarms are means of the
    images' own differences; for the image metrics both sides see the same resamples, drawn as in
    `image_intervals`. The thresholds are those of the two predictors.

    Raises:
        ValueError: the two are not of the same images: lengths or truths differ.
    """
    if [image.manipulated for image in first] != [image.manipulated for image in second]:
        raise ValueError("the two sides are not of the same images")
    pairs = sorted(
        zip(first, second, strict=True), key=lambda pair: (_by_scores(pair[0]), _by_scores(pair[1]))
    )
    values = {
        name: [(_metric_of(a, name), _metric_of(b, name)) for a, b in pairs]
        for name in (*PIXEL_METRICS, *FALSE_ALARM_METRICS)
    }
    differences = {name: _mean_difference(values[name], seed) for name in values}
    sides = [_ImageStatistics([pair[side] for pair in pairs], thresholds[side]) for side in (0, 1)]
    once = np.ones((1, len(pairs)))
    scores = [side(once)[0] for side in sides]
    draws = _draws(sides[0].manipulated, seed)
    drawn = np.concatenate([sides[1](some) - sides[0](some) for some in draws])
    for index, name in enumerate(IMAGE_METRICS):
        a, b = (None if np.isnan(side[index]) else float(side[index]) for side in scores)
        differences[name] = Difference(
            a,
            b,
            None if a is None or b is None else b - a,
            _middle(drawn[:, index]) if sides[0].can_vary(name) else None,
            len(pairs),
        )
    return differences


class _ImageStatistics:
    """Image F1, accuracy and AUC, NaN where not defined, of resampled images.

    Called with R x N numbers, how often each resample has each image, it gives R x 3 values.
    """

    def __init__(self, images: Sequence[ImageScores], threshold: float) -> None:
        scores = np.array([image.score for image in images], dtype=np.float64)
        self.manipulated = np.array([image.manipulated for image in images], dtype=bool)
        self._marked = scores > threshold
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        is_start = np.ones(scores.size, bool)
        is_start[1:] = ordered[1:] != ordered[:-1]
        self._starts = np.flatnonzero(is_start)  # of each run of equal scores

    def can_vary(self, name: str) -> bool:
        """Whether resampling tells anything of a metric: what it needs is there, and of no class
        there is just one image."""
        positives = int(self.manipulated.sum())
        negatives = self.manipulated.size - positives
        needed = {
            "image_f1": positives,
            "image_accuracy": positives + negatives,
            "image_auc": min(positives, negatives),
        }
        return needed[name] > 0 and 1 not in (positives, negatives)

    def __call__(self, draws: np.ndarray) -> np.ndarray:
        total, positives = draws.sum(axis=1), draws @ self.manipulated.astype(np.float64)
        hits = draws @ (self._marked & self.manipulated).astype(np.float64)
        marked = draws @ self._marked.astype(np.float64)
        right = draws @ (self._marked == self.manipulated).astype(np.float64)
        f1 = np.where(positives > 0, 2 * hits / (marked + positives + EPS), np.nan)
        with np.errstate(invalid="ignore"):  # nothing of nothing
            return np.stack([f1, right / total, self._auc(draws, positives, total)], axis=1)

    def _auc(self, draws: np.ndarray, positives: np.ndarray, total: np.ndarray) -> np.ndarray:
        """As `_rank_auc`, over runs of equal scores."""
        if not self._starts.size:
            return np.full(len(draws), np.nan)
        drawn, is_positive = draws[:, self._order], self.manipulated[self._order]
        up = np.add.reduceat(drawn * is_positive, self._starts, axis=1)
        down = np.add.reduceat(drawn * ~is_positive, self._starts, axis=1)
        below = np.cumsum(down, axis=1) - down
        half_points = (up * (2 * below + down)).sum(axis=1)
        result: np.ndarray = half_points / (2 * positives * (total - positives))
        return result


def _draws(manipulated: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn, R x N; manipulated and authentic ones apart."""
    generator = np.random.default_rng(seed)
    for rows in _portions(RESAMPLES, manipulated.size):
        draws = np.zeros((rows, manipulated.size))
        for members in (np.flatnonzero(manipulated), np.flatnonzero(~manipulated)):
            chosen = generator.integers(max(1, members.size), size=(rows, members.size))
            places = chosen + members.size * np.arange(rows)[:, None]
            counts = np.bincount(places.ravel(), minlength=rows * members.size)
            draws[:, members] = counts.reshape(rows, members.size)
        yield draws


def _portions(resamples: int, size: int) -> Iterator[int]:
    """Resamples in portions whose arrays stay small."""
    most = max(1, _PORTION // max(1, size))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _mean_difference(values: Sequence[tuple[float | None, float | None]], seed: int) -> Difference:
    both = [(a, b) for a, b in values if a is not None and b is not None]
    differences = [b - a for a, b in both]
    return Difference(
        mean(a for a, _ in both),
        mean(b for _, b in both),
        mean(differences),
        bootstrap_interval(differences, seed),
        len(both),
    )


def _metric_of(image: ImageScores, name: str) -> float | None:
    """What one image adds to a mean over images; None where it does not count."""
    if name not in FALSE_ALARM_METRICS:
        value: float | None = getattr(image, name)
        return value
    if image.manipulated:
        return None
    alarms = {
        "false_alarm_share": float(image.area > 0),
        "false_alarm_large_share": float(image.area > FALSE_ALARM_AREA),
        "false_alarm_area": image.area,
    }
    return alarms[name]


def _by_scores(image: ImageScores) -> tuple[float, ...]:
    """A sort key that the order of the images does not change."""
    return (image.manipulated, image.score, image.area, image.pixel_f1 or 0.0)


def _middle(values: Sequence[float] | np.ndarray) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
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

    def images(self) -> tuple[ImageScores, ...]:
        """The result of every image, in the order in which they were added."""
        best = best_threshold(self._curves)
        if best is None:
            return tuple(self._images)
        index = int(np.flatnonzero(best[0] == THRESHOLDS)[0])
        curves = iter(self._curves)
        return tuple(
            image
            if image.pixel_f1 is None
            else replace(image, pixel_f1_best=float(next(curves)[index]))
            for image in self._images
        )

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
            pixel_images=len(self._curves),
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
            false_alarm_share=alarms.any_share,
            false_alarm_large_share=alarms.large_share,
            false_alarm_area=alarms.area,
        )

    def intervals(self, seed: int = 0) -> dict[str, Interval | None]:
        """95 % intervals over images, by the names of `METRICS`.

        That of `pixel_f1_best` holds the best threshold of the whole set fixed.
        """
        images = self.images()
        means = {
            name: bootstrap_interval((_metric_of(image, name) for image in images), seed)
            for name in (*PIXEL_METRICS, *FALSE_ALARM_METRICS)
        }
        intervals = means | image_intervals(images, self.threshold, seed)
        return {name: intervals[name] for name in METRICS}

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

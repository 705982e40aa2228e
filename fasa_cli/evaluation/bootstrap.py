"""Bootstrap intervals of a metric over images, and of the difference of two methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fasa_cli.evaluation.metrics import (
    EPS,
    FALSE_ALARM_AREA,
    FALSE_ALARM_METRICS,
    IMAGE_METRICS,
    PIXEL_METRICS,
    mean,
)
from fasa_cli.results import ImageScores

RESAMPLES = 2000  # of a bootstrap; the ends of its intervals then move by a few per cent
_PORTION = 1 << 20  # numbers that are drawn at once
Interval = tuple[float, float]


class Difference(NamedTuple):
    """One metric of two predictors on the same `images`: `difference` is second - first, with its
    95 % interval; `images` are those that the metric is over."""

    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None
    images: int


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
    *,
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
        """Whether resampling says anything of a metric: what it needs is there, and of no class
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
        """As `rank_auc`, over runs of equal scores."""
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

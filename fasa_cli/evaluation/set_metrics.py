"""The metrics of a whole set under a protocol, collected image by image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fasa_cli.calibration import Assessment, area_score
from fasa_cli.evaluation.bootstrap import Interval, _metric_of, bootstrap_interval, image_intervals
from fasa_cli.evaluation.metrics import (
    FALSE_ALARM_METRICS,
    METRICS,
    PIXEL_METRICS,
    PROTOCOLS,
    THRESHOLDS,
    best_threshold,
    check_probabilities,
    confusion,
    f1_at_thresholds,
    false_alarms,
    image_accuracy,
    image_auc,
    image_f1,
    mean,
    rank_auc,
    sorted_classes,
)
from fasa_cli.results import ImageScores, Scores


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
        meaning: Assessment | None = None,
    ) -> ImageScores:
        """Score one image; a target that is None or all black means authentic.

        `probabilities` is H x W in [0, 1], `target` H x W bool. The image's score is the highest
        probability (Eq. 9) unless `score` is given. `meaning` is what a calibration says of it.

        Raises:
            ValueError: sizes differ, a value is NaN or outside [0, 1], or the target is not bool.
        """
        if target is None:
            target = np.zeros(probabilities.shape, bool)
        check_probabilities(probabilities, target)
        manipulated = bool(target.any())
        whole = ImageScores(
            name=name,
            manipulated=manipulated,
            score=float(probabilities.max() if score is None else score),
            area=float((probabilities > self.threshold).mean()),
            score_area=area_score(probabilities),
            false_alarm_rate=None if meaning is None else meaning.false_alarm_rate,
            log10_lr=None if meaning is None else meaning.log10_lr,
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
        classes = sorted_classes(probabilities, target)
        self._curves.append(f1_at_thresholds(*classes))
        return replace(
            whole,
            pixel_f1=counts.f1,
            pixel_f1_reversed=counts.reversed.f1,
            pixel_f1_permuted=max(counts.f1, counts.reversed.f1),
            pixel_iou=counts.iou,
            pixel_auc=rank_auc(*classes),
        )

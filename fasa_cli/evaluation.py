"""Score a predictor on samples under a named protocol, as they are or degraded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fasa_cli.data.datasets import Sample
from fasa_cli.degradations import resize_mask
from fasa_cli.errors import ImageError
from fasa_cli.metrics import PROTOCOLS, SetMetrics
from fasa_cli.results import ImageScores, Scores

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor


@dataclass(frozen=True)
class Evaluation:
    """What a predictor scored on a set of samples.

    `intervals` are 95 % intervals over images, by the names of `Scores`. `seconds` were spent
    predicting, reading not included. `skipped` says of each image left out which and why.
    """

    scores: Scores
    images: tuple[ImageScores, ...]
    intervals: dict[str, tuple[float, float] | None]
    seconds: float
    skipped: tuple[str, ...] = ()

    @property
    def seconds_per_image(self) -> float | None:
        """Mean time of a prediction; None without images."""
        return self.seconds / len(self.images) if self.images else None


def evaluate(
    predictor: Predictor,
    samples: Iterable[Sample],
    protocol: str = "native",
    threshold: float = 0.5,
) -> Evaluation:
    """Predict every sample and score it; samples are read one by one and not kept.

    A pixel is marked above `threshold`. `native` scores each image at its own size; `benco` and
    `opensdi` first resize image and mask to 512 x 512. An image that the predictor refuses
    (ImageError) is skipped, counted and named; a data set that cannot be read is an error.

    Raises:
        DatasetError: from reading the samples.
        ValueError: the protocol is not known, or a prediction is NaN or of another size.
    """
    metrics = SetMetrics(protocol, threshold)
    seconds = 0.0
    skipped = []
    for sample in samples:
        sample = _at_protocol_size(sample, protocol)
        start = time.perf_counter()
        try:
            prediction = predictor.predict(sample.image)
        except ImageError as error:
            metrics.skip()
            skipped.append(f"{sample.name}: {error}")
            continue
        seconds += time.perf_counter() - start
        # An authentic image gets an all-black mask, so that the prediction's size is checked too.
        target = sample.target_mask
        target = np.zeros(sample.image.shape[:2], bool) if target is None else target
        try:
            metrics.add(prediction.probabilities, target, sample.name, prediction.score)
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error
    return Evaluation(
        metrics.scores(), metrics.images, metrics.intervals(), seconds, tuple(skipped)
    )


def degraded(
    samples: Iterable[Sample], degradation: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Sample]:
    """The samples with degraded images (uint8 in and out); masks follow a change of size."""
    for sample in samples:
        yield _with_image(sample, degradation(sample.image))


def _at_protocol_size(sample: Sample, protocol: str) -> Sample:
    size = PROTOCOLS[protocol].size
    if size is None:
        return sample
    return _with_image(sample, cv2.resize(sample.image, size, interpolation=cv2.INTER_LINEAR))


def _with_image(sample: Sample, image: np.ndarray) -> Sample:
    mask = sample.target_mask
    if mask is not None and mask.shape != image.shape[:2]:
        mask = resize_mask(mask, image.shape[1::-1])
    return replace(sample, image=image, target_mask=mask)

"""Score a predictor on samples under a named protocol, as they are or degraded.

Images are predicted one by one: what a set scores depends neither on a batch size nor on the order
of its images.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fasa_cli.calibration import Assessment, Calibration, area_score
from fasa_cli.data.datasets import Sample, SampleError
from fasa_cli.errors import ImageError
from fasa_cli.evaluation.bootstrap import Interval
from fasa_cli.evaluation.localizers import Localizer
from fasa_cli.evaluation.set_metrics import SetMetrics
from fasa_cli.imaging.degradations import resize_mask
from fasa_cli.imaging.metadata import read_metadata
from fasa_cli.results import ImageScores, Prediction, Scores


@dataclass(frozen=True)
class Evaluation:
    """What a predictor scored on a set of samples.

    `intervals` are 95 % intervals over images, by the names of `Scores`. `seconds` were spent
    predicting, reading not included. `skipped` says of each image left out which and why; `notes`
    say what else a reader of the numbers must know.
    """

    scores: Scores
    images: tuple[ImageScores, ...]
    intervals: dict[str, Interval | None]
    seconds: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def seconds_per_image(self) -> float | None:
        """Mean time of a prediction; None without images."""
        return self.seconds / len(self.images) if self.images else None


def evaluate(
    localizer: Localizer,
    samples: Iterable[Sample | SampleError],
    *,
    protocol: str = "native",
    threshold: float = 0.5,
    advance: Callable[[], None] = lambda: None,
    calibration: Calibration | None = None,
) -> Evaluation:
    """Predict every sample and score it; samples are read one by one and not kept.

    A pixel is marked above `threshold`. `native` scores each image at its own size; `benco` and
    `opensdi` first resize image and mask to 512 x 512. An image that cannot be read, or that the
    localizer refuses (ImageError), is skipped, counted and named. `advance` is called after each.
    With `calibration` each image gets what its score means.

    Raises:
        DatasetError: from reading the samples, or predictions that fit several images.
        ValueError: the protocol is not known, or a prediction is NaN or of another size.
    """
    metrics = SetMetrics(protocol, threshold)
    size = metrics.protocol.size
    seconds = 0.0
    skipped: list[str] = []
    notes: list[str] = []
    for sample in samples:
        try:
            if isinstance(sample, SampleError):
                raise sample
            start = time.perf_counter()
            prediction = localizer.predict_sample(sample, size)
            seconds += time.perf_counter() - start
        except (SampleError, ImageError) as error:
            metrics.skip()
            skipped.append(_named(error, sample))
        else:
            _add(metrics, sample, prediction, calibration)
            notes += sample.notes
        advance()
    notes += localizer.notes
    return Evaluation(
        metrics.scores(),
        metrics.images(),
        metrics.intervals(),
        seconds,
        tuple(skipped),
        tuple(notes),
    )


def degraded(
    samples: Iterable[Sample | SampleError], degradation: Callable[[np.ndarray], np.ndarray]
) -> Iterator[Sample | SampleError]:
    """The samples with degraded images (uint8 in and out); masks follow a change of size."""
    for sample in samples:
        if isinstance(sample, SampleError):
            yield sample
            continue
        image = degradation(sample.image)
        mask = sample.target_mask
        if mask is not None:
            mask = _mask_at(mask, image.shape[1::-1])
        yield replace(sample, image=image, target_mask=mask)


def _add(
    metrics: SetMetrics, sample: Sample, prediction: Prediction, calibration: Calibration | None
) -> None:
    own = sample.image.shape[1::-1]
    width, height = size = metrics.protocol.size or own
    # An authentic image gets an all-black mask, so that the prediction's size is checked too.
    target = np.zeros((height, width), bool)
    if sample.target_mask is not None:
        target = _mask_at(sample.target_mask, size)
    try:
        meaning = None if calibration is None else _meaning(calibration, sample, prediction)
        metrics.add(prediction.probabilities, target, sample.name, prediction.score, meaning)
    except ValueError as error:
        raise ValueError(f"{sample.name}: {error}") from error


def _meaning(calibration: Calibration, sample: Sample, prediction: Prediction) -> Assessment:
    quality = None
    if sample.file is not None:
        quality = read_metadata(sample.file.read_bytes()).jpeg_quality
    height, width = sample.image.shape[:2]
    return calibration.assess(area_score(prediction.probabilities), (width, height), quality)


def _mask_at(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size[::-1]:
        return mask
    resized = resize_mask(mask, size)
    if mask.any() and not resized.any():
        # Ours: so small that no pixel of it is met; one is kept, or the image would be authentic.
        places = np.argwhere(mask)
        place = places[len(places) // 2] * resized.shape // mask.shape
        resized[tuple(place)] = True
    return resized


def _named(error: Exception, sample: Sample | SampleError) -> str:
    return str(error) if isinstance(sample, SampleError) else f"{sample.name}: {error}"

"""Fit a calibration: predict photos of known truth, and turn their scores into curves.

The photos must be seen neither by training nor by the choice of thresholds. A photo's population
comes from its file, as in a scan.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasa_cli import __version__
from fasa_cli.calibration import (
    LEAST_PHOTOS,
    RECOMPRESSED_QUALITY,
    SMALL_PIXELS,
    Calibration,
    FalseAlarmCurve,
    Population,
    Ratio,
    Reference,
    RegionCurve,
    Source,
    area_score,
    as_logit,
    population_of,
)
from fasa_cli.data.datasets import FolderDataset, Sample, SampleError
from fasa_cli.errors import CalibrationError, DatasetError
from fasa_cli.evaluation.likelihood_ratio import (
    cllr,
    cllr_min,
    empirical_bounds,
    fit_isotonic,
    fit_logistic,
)
from fasa_cli.files import sha256_of_files, utc_now, write_atomically
from fasa_cli.imaging.degradations import jpeg
from fasa_cli.imaging.metadata import read_metadata
from fasa_cli.imaging.regions import find_regions

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor

CONFIDENCE = 0.95
RESENT = range(50, RECOMPRESSED_QUALITY)  # JPEG qualities of messengers
LEAST_MANIPULATED = 20  # photos, for a likelihood ratio
FOLDS = 5  # of the cross-validation that judges a ratio
_SMALLEST_REGION = 1e-4  # of a photo


@dataclass(frozen=True)
class ScoredPhoto:
    """One photo of known truth: its `area_score` as a logit, and the (area as a share of the photo,
    mean score as a logit) of its regions. `size` is (width, height). `is_copy`: it was recompressed
    for this, and belongs to its own kind only."""

    score: float
    manipulated: bool
    size: tuple[int, int]
    jpeg_quality: int | None
    regions: tuple[tuple[float, float], ...] = ()
    is_copy: bool = False

    @property
    def population(self) -> Population:
        """The kind of photo, as its file says."""
        return population_of(self.size, self.jpeg_quality)


def score_photos(
    predictor: Predictor,
    dataset: FolderDataset,
    threshold: float,
    advance: Callable[[], None] = lambda: None,
    *,
    recompress: bool = False,
) -> tuple[list[ScoredPhoto], Source]:
    """Predict every image of a data set; what cannot be read is left out and counted.

    With `recompress` small photos are predicted once more as a messenger sends them: in JPEG of a
    quality of RESENT that depends on the name.

    Raises:
        DatasetError: a file is gone.
    """
    photos: list[ScoredPhoto] = []
    copies: list[ScoredPhoto] = []
    left_out = 0
    for index, entry in enumerate(dataset.entries):
        try:
            sample = dataset[index]
            quality = read_metadata(entry.image.read_bytes()).jpeg_quality
        except SampleError:
            left_out += 1
        else:
            one = _scored(predictor, sample, sample.image, quality, threshold)
            photos.append(one)
            if recompress and one.size[0] * one.size[1] < SMALL_PIXELS:
                quality = RESENT[zlib.crc32(sample.name.encode()) % len(RESENT)]
                again = jpeg(sample.image, quality)
                copy = _scored(predictor, sample, again, quality, threshold)
                copies.append(replace(copy, is_copy=True))
        advance()
    manipulated = sum(photo.manipulated for photo in photos)
    try:
        sha256 = sha256_of_files(dataset.files)
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror})") from error
    authentic = len(photos) - manipulated
    return photos + copies, Source(
        name=dataset.name,
        authentic=authentic,
        manipulated=manipulated,
        left_out=left_out,
        recompressed=len(copies),
        sha256=sha256,
    )


def _scored(
    predictor: Predictor, sample: Sample, image: np.ndarray, quality: int | None, threshold: float
) -> ScoredPhoto:
    probabilities = predictor.predict(image).probabilities
    mask = sample.target_mask
    return ScoredPhoto(
        as_logit(area_score(probabilities)),
        mask is not None and bool(mask.any()),
        (image.shape[1], image.shape[0]),
        quality,
        _regions(probabilities, threshold),
    )


def fit_calibration(
    photos: Sequence[ScoredPhoto],
    sources: Iterable[Source],
    predictor: Predictor,
    threshold: float,
    selection: dict[str, str | bool | int | float | None] | None = None,
) -> Calibration:
    """Curves and ratios of all photos, and of each population that has enough of them.

    Raises:
        CalibrationError: there are fewer than LEAST_PHOTOS untouched photos.
    """
    untouched = sum(not (photo.manipulated or photo.is_copy) for photo in photos)
    if untouched < LEAST_PHOTOS:
        raise CalibrationError(
            f"{untouched} untouched photos support no false alarm rate below "
            f"{1 / (untouched + 1):.2f}; give at least {LEAST_PHOTOS} with --authentic"
        )
    groups: dict[Population, list[ScoredPhoto]] = {
        "all": [photo for photo in photos if not photo.is_copy]
    }
    for photo in photos:
        groups.setdefault(photo.population, []).append(photo)
    return Calibration(
        tool_version=__version__,
        made=utc_now(),
        weights_sha256=predictor.weights.sha256,
        postprocess=predictor.postprocess,
        threshold=threshold,
        populations={
            name: fit_reference(members)
            for name, members in groups.items()
            if sum(not photo.manipulated for photo in members) >= LEAST_PHOTOS
        },
        sources=tuple(sources),
        selection=selection or {},
    )


def fit_reference(photos: Sequence[ScoredPhoto]) -> Reference:
    """The curves of these photos, some of which must be untouched, and their ratio, where there are
    LEAST_MANIPULATED manipulated ones."""
    untouched = [photo for photo in photos if not photo.manipulated]
    authentic, manipulated = scores_by_class(photos)
    pixels = [photo.size[0] * photo.size[1] for photo in untouched]
    qualities = [photo.jpeg_quality for photo in untouched if photo.jpeg_quality is not None]
    return Reference(
        authentic=fit_curve(authentic),
        regions=RegionCurve(photos=tuple(_front(photo.regions) for photo in untouched)),
        manipulated=tuple(_rounded(manipulated)),
        ratio=fit_ratio(manipulated, authentic) if len(manipulated) >= LEAST_MANIPULATED else None,
        pixels=(min(pixels), max(pixels)),
        jpeg_quality=(min(qualities), max(qualities)) if qualities else None,
    )


def scores_by_class(photos: Iterable[ScoredPhoto]) -> tuple[np.ndarray, np.ndarray]:
    """(untouched, manipulated) photos' scores, ascending."""
    authentic: list[float] = []
    manipulated: list[float] = []
    for photo in photos:
        (manipulated if photo.manipulated else authentic).append(photo.score)
    return np.sort(authentic), np.sort(manipulated)


def fit_curve(scores: np.ndarray) -> FalseAlarmCurve:
    """The false alarm curve of untouched photos' scores, with Clopper-Pearson intervals."""
    from scipy.stats import beta

    count = np.arange(len(scores) + 1)
    tail = (1 - CONFIDENCE) / 2
    with np.errstate(invalid="ignore"):
        low = np.where(count > 0, beta.ppf(tail, count, len(scores) - count + 1), 0.0)
        high = np.where(
            count < len(scores), beta.ppf(1 - tail, count + 1, len(scores) - count), 1.0
        )
    return FalseAlarmCurve(
        scores=_rounded(np.sort(scores)), low=_rounded(low, 6), high=_rounded(high, 6)
    )


def fit_ratio(manipulated: np.ndarray, authentic: np.ndarray) -> Ratio:
    """Both regressions and the bounds within which these data support a ratio.

    The bounds are those of ratios that were cross-validated: a regression looks better on the
    photos that it was fitted to than on others.
    """
    logistic, isotonic = fit_logistic(manipulated, authentic), fit_isotonic(manipulated, authentic)
    low, high = empirical_bounds(*cross_validated(manipulated, authentic))
    return Ratio(
        logistic=(round(logistic.intercept, 6), round(logistic.slope, 6)),
        isotonic=(_rounded(isotonic.scores), _rounded(isotonic.values)),
        bounds=(round(low, 3), round(high, 3)),
    )


def cross_validated(
    manipulated: np.ndarray, authentic: np.ndarray, folds: int = FOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """log10 likelihood ratios of (manipulated, untouched) photos by logistic regressions that did
    not see them."""
    sides = (np.sort(manipulated), np.sort(authentic))
    parts = [np.arange(len(side)) % folds for side in sides]
    ratios = [np.empty(len(side)) for side in sides]
    for fold in range(folds):
        kept = [side[part != fold] for side, part in zip(sides, parts, strict=True)]
        model = fit_logistic(kept[0], kept[1])
        for side, part, own in zip(sides, parts, ratios, strict=True):
            own[part == fold] = model.log10_lr(side[part == fold])
    return ratios[0], ratios[1]


@dataclass(frozen=True)
class Quality:
    """How good the ratios of a population are, cross-validated: `cost` is Cllr, `least_cost` what
    would be left of it with the best calibration of the same scores."""

    cost: float
    least_cost: float


def quality_of(reference: Reference) -> Quality | None:
    """None where the population has no ratio."""
    if reference.ratio is None:
        return None
    authentic, manipulated = np.array(reference.authentic.scores), np.array(reference.manipulated)
    low, high = reference.ratio.bounds
    ratios = [side.clip(low, high) for side in cross_validated(manipulated, authentic)]
    return Quality(cllr(*ratios), cllr_min(manipulated, authentic))


def _regions(probabilities: np.ndarray, threshold: float) -> tuple[tuple[float, float], ...]:
    regions = find_regions(probabilities, threshold)
    shares = ((one.area / probabilities.size, as_logit(one.mean_score)) for one in regions)
    return _front(one for one in shares if one[0] >= _SMALLEST_REGION)


def _front(regions: Iterable[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The regions that no other one exceeds in area and in mean."""
    kept: list[tuple[float, float]] = []
    for area, mean in sorted(regions, reverse=True):
        if not kept or mean > kept[-1][1]:
            kept.append((float(f"{area:.4g}"), round(mean, 4)))
    return tuple(kept)


def _rounded(values: Iterable[float], digits: int = 4) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """
    Raises:
        OutputError: the file cannot be written.
    """
    write_atomically(path, (calibration.model_dump_json(indent=1) + "\n").encode("utf-8"))

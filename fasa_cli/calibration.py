"""What a photo's score means: how often untouched photos score as high, and a likelihood ratio.

A calibration rests on photos that neither training nor the choice of thresholds saw, belongs to one
weights file and its postprocessing, and is kept as JSON beside the weights.

The score it is about is the `area_score`: the probability that 1 % of the photo's pixels reach. A
single pixel says little; and a photo has more than 1 % of its area marked at a threshold exactly
when its area score is above it, so that one number serves ranking, rates and thresholds.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from fasa_cli.config import PostprocessConfig
from fasa_cli.errors import CalibrationError
from fasa_cli.results import FALSE_ALARM_AREA
from fasa_cli.text import BANDS

CALIBRATION_SCHEMA = 1
SUFFIX = ".calibration.json"


Population = Literal["small", "large", "recompressed", "all"]
SMALL_PIXELS = 500_000
_MOST_TIMES = 16  # as many pixels as the calibration's largest photo can still be compared
RECOMPRESSED_QUALITY = 75  # of JPEG; photos below it are their own population
LEAST_PHOTOS = 50  # untouched ones, for a calibration
LEAST_FOR_RATES = 99  # of a kind, for rates of its own: fewer cannot measure that of `strong`

_SMALLEST = 1e-6  # score; its logit is the lowest there is


def area_score(probabilities: np.ndarray) -> float:
    """The probability that 1 % of the pixels of an H x W map reach: its 99th percentile.

    More than 1 % of the pixels are above a threshold exactly when this score is.
    """
    values = probabilities.ravel()
    place = values.size - 1 - int(FALSE_ALARM_AREA * values.size)
    return float(np.partition(values, place)[place])


def as_logit(score: float) -> float:
    """A score in [0, 1] on the scale on which ratios are fitted, with four decimals."""
    kept = min(max(score, _SMALLEST), 1 - _SMALLEST)
    return round(math.log(kept / (1 - kept)), 4)


def population_of(size: tuple[int, int], jpeg_quality: int | None) -> Population:
    """The kind of photo that one of this (width, height) and JPEG quality is compared with."""
    if jpeg_quality is not None and jpeg_quality < RECOMPRESSED_QUALITY:
        return "recompressed"
    return "small" if size[0] * size[1] < SMALL_PIXELS else "large"


@dataclass(frozen=True)
class Assessment:
    """What a photo's score means.

    `population` names the photos that its rate comes from, `photos` how many of them are untouched;
    `log10_lr_population` those that the ratio comes from.
    `false_alarm_rate` is the share of untouched photos that score at least as high, counted so that
    it holds on average for photos of the same kind (conformal), and `false_alarm_interval` its
    95 % interval (Clopper-Pearson). `log10_lr` lies within `log10_lr_bounds`, beyond which the
    data support nothing; None without manipulated photos. `inconclusive` are reasons.
    """

    population: Population
    photos: int
    false_alarm_rate: float
    false_alarm_interval: tuple[float, float]
    log10_lr: float | None
    log10_lr_bounds: tuple[float, float] | None
    log10_lr_population: Population | None
    band: str
    inconclusive: tuple[str, ...] = ()


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FalseAlarmCurve(_Part):
    """How often untouched photos score how high.

    `scores` are theirs, as logits, ascending. `low[k]` and `high[k]` bound the share, with 95 %
    confidence, where k of them score at least as high.
    """

    scores: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def smallest_rate(self) -> float:
        """No lower rate can be measured on this many photos."""
        return 1 / (len(self.scores) + 1)

    def count(self, score: float) -> int:
        """How many untouched photos score at least `score` (a logit)."""
        return len(self.scores) - int(np.searchsorted(self.scores, score, "left"))

    def rate(self, score: float) -> float:
        """The conformal false alarm rate at `score`, a logit: (k + 1) / (n + 1).

        An untouched photo that is exchangeable with the curve's has a rate of at most r with a
        probability of at most r, whatever the scores' distribution is.
        """
        return (self.count(score) + 1) / (len(self.scores) + 1)

    def interval(self, score: float) -> tuple[float, float]:
        """The 95 % interval of the share of untouched photos that score at least `score`."""
        count = self.count(score)
        return self.low[count], self.high[count]

    def threshold(self, rate: float) -> float:
        """The logit that at most `rate` of untouched photos exceed.

        Raises:
            CalibrationError: so few photos cannot support that rate.
        """
        allowed = math.floor(rate * (len(self.scores) + 1) + 1e-9) - 1
        if allowed < 0:
            raise CalibrationError(
                f"a false alarm rate of {rate:g} cannot be measured on {len(self.scores)} "
                f"untouched photos; the smallest they support is {self.smallest_rate:.4f}"
            )
        return self.scores[-1 - allowed] if allowed < len(self.scores) else as_logit(0)


class RegionCurve(_Part):
    """How often untouched photos hold a region so large and so strong.

    For each untouched photo, the (area as a share of the photo, mean score) of its regions that
    none of its others exceeds in both. The mean is a logit.
    """

    photos: tuple[tuple[tuple[float, float], ...], ...]

    def rate(self, area: float, mean: float) -> float:
        """The conformal share of untouched photos with a region at least so large and strong."""
        count = sum(any(a >= area and m >= mean for a, m in regions) for regions in self.photos)
        return (count + 1) / (len(self.photos) + 1)


class Ratio(_Part):
    """The likelihood ratio of a score, by two regressions, and the bounds of both as log10.

    `logistic` is (intercept, slope) over the logit, `isotonic` (logits, log10 ratios at them).
    """

    logistic: tuple[float, float]
    isotonic: tuple[tuple[float, ...], tuple[float, ...]]
    bounds: tuple[float, float]

    def log10_lr(self, score: float) -> float:
        """log10 of the likelihood ratio at a logit, by logistic regression, within the bounds."""
        intercept, slope = self.logistic
        return self._bounded(intercept + slope * score)

    def isotonic_log10_lr(self, score: float) -> float:
        """The same by isotonic regression."""
        return self._bounded(float(np.interp(score, *self.isotonic)))

    def _bounded(self, value: float) -> float:
        low, high = self.bounds
        return min(max(value, low), high)


class Reference(_Part):
    """The photos of one population that a calibration rests on.

    `pixels` and `jpeg_quality` are the least and the most of the untouched ones; the latter is None
    where no file says.
    """

    authentic: FalseAlarmCurve
    regions: RegionCurve
    manipulated: tuple[float, ...]
    ratio: Ratio | None
    pixels: tuple[int, int]
    jpeg_quality: tuple[int, int] | None


class Source(_Part):
    """One folder or data set: how many of its photos were counted, and a hash over their files."""

    name: str
    authentic: int
    manipulated: int
    left_out: int
    recompressed: int = 0  # of the counted, once more
    sha256: str


class Calibration(_Part):
    """Everything that turns scores of one weights file into rates, ratios and bands."""

    schema_version: int = CALIBRATION_SCHEMA
    tool_version: str
    made: str
    weights_sha256: str
    postprocess: PostprocessConfig
    threshold: float  # at which regions were found
    populations: dict[Population, Reference]
    sources: tuple[Source, ...]
    selection: dict[str, str | bool | int | float | None]

    def reference_for(
        self, size: tuple[int, int], jpeg_quality: int | None
    ) -> tuple[Population, Reference]:
        """The photos that give the rate of one of this (width, height) and JPEG quality: those of
        its kind, or all where these are too few."""
        kind = population_of(size, jpeg_quality)
        own = self.populations.get(kind)
        if own is not None and len(own.authentic.scores) >= LEAST_FOR_RATES:
            return kind, own
        return "all", self.populations["all"]

    def ratio_for(
        self, size: tuple[int, int], jpeg_quality: int | None
    ) -> tuple[Population, Ratio] | None:
        """The same for the likelihood ratio, which needs fewer; None without manipulated photos."""
        kinds: tuple[Population, ...] = (population_of(size, jpeg_quality), "all")
        for kind in kinds:
            reference = self.populations.get(kind)
            if reference is not None and reference.ratio is not None:
                return kind, reference.ratio
        return None

    def assess(
        self, score: float, size: tuple[int, int], jpeg_quality: int | None, unjudgeable: float = 0
    ) -> Assessment:
        """What the `area_score` of a photo of this (width, height) and JPEG quality means.

        `unjudgeable` is the share of the photo where nothing can be determined.
        """
        logit = as_logit(score)
        population, reference = self.reference_for(size, jpeg_quality)
        rate = reference.authentic.rate(logit)
        kind, ratio = self.ratio_for(size, jpeg_quality) or (None, None)
        reasons = _unlike(reference, size, jpeg_quality)
        if unjudgeable > 0.5:
            reasons += (f"nothing can be determined on {unjudgeable:.0%} of the photo",)
        return Assessment(
            population=population,
            photos=len(reference.authentic.scores),
            false_alarm_rate=round(rate, 6),
            false_alarm_interval=reference.authentic.interval(logit),
            log10_lr=None if ratio is None else round(ratio.log10_lr(logit), 3),
            log10_lr_bounds=None if ratio is None else ratio.bounds,
            log10_lr_population=kind,
            band="inconclusive" if reasons else band_of(rate),
            inconclusive=reasons,
        )

    def threshold_of(self, rate: float) -> float:
        """The pixel threshold at which at most `rate` of all untouched photos have more than 1 %
        of their area marked.

        Raises:
            CalibrationError: so few photos cannot support that rate.
        """
        return 1 / (1 + math.exp(-self.populations["all"].authentic.threshold(rate)))


def band_of(rate: float) -> str:
    """The band of a false alarm rate."""
    return next((band for band, most in BANDS.items() if rate <= most), "none")


def _unlike(
    reference: Reference, size: tuple[int, int], jpeg_quality: int | None
) -> tuple[str, ...]:
    """Why a photo cannot be compared with these."""
    pixels = size[0] * size[1]
    reasons: tuple[str, ...] = ()
    least, most = reference.pixels
    if pixels < least:
        reasons += (f"it has fewer pixels than any photo of the calibration ({least})",)
    if pixels > _MOST_TIMES * most:
        reasons += (f"it has over {_MOST_TIMES} times the pixels of any photo there ({most})",)
    known = reference.jpeg_quality
    if jpeg_quality is not None and known is not None and jpeg_quality < known[0]:
        reasons += (
            f"its JPEG quality, {jpeg_quality}, is below that of any photo of the calibration "
            f"({known[0]})",
        )
    return reasons


# --- Files ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LoadedCalibration:
    """A calibration and where it came from; `sha256` is over the file's bytes."""

    calibration: Calibration
    path: Path
    sha256: str

    def about(self) -> dict[str, Any]:
        """What a run's record says of it."""
        reference = self.calibration.populations["all"]
        return {
            "sha256": self.sha256,
            "path": str(self.path),
            "made": self.calibration.made,
            "untouched": len(reference.authentic.scores),
            "manipulated": len(reference.manipulated),
        }


def load_calibration(
    path: Path, weights_sha256: str, postprocess: PostprocessConfig
) -> LoadedCalibration:
    """A calibration for these weights and this postprocessing.

    Raises:
        CalibrationError: it is missing, damaged, of another version, or of other weights or
            settings.
    """
    loaded = read_calibration(path)
    own = loaded.calibration
    if own.weights_sha256 != weights_sha256:
        raise CalibrationError(
            f"{path}: is of other weights ({own.weights_sha256[:12]}, not {weights_sha256[:12]}); "
            "run fasa calibrate for these"
        )
    if own.postprocess != postprocess:
        raise CalibrationError(
            f"{path}: is of other postprocessing than this scan's (such as --no-copy-move), which "
            "gives other scores"
        )
    return loaded


def calibration_path(weights: Path) -> Path:
    """Where the calibration of a weights file lies: beside it."""
    return weights.with_suffix(SUFFIX)


def calibration_for(
    chosen: str | Path | None,
    weights: Path | None,
    weights_sha256: str,
    postprocess: PostprocessConfig,
) -> tuple[LoadedCalibration | None, str]:
    """The calibration that a scan uses, and why it has none ("" where it has one).

    `chosen` is a file or "none"; without it, the file beside the weights is taken where there is
    one, and left aside where it is of other weights or settings.

    Raises:
        CalibrationError: `chosen` cannot be used, or the file beside the weights is damaged.
    """
    if chosen == "none":
        return None, "none is wanted"
    if chosen is not None:
        return load_calibration(Path(chosen), weights_sha256, postprocess), ""
    beside = calibration_path(weights) if weights is not None else None
    if beside is None or not beside.is_file():
        return None, "these weights come without one; see fasa calibrate"
    read_calibration(beside)
    try:
        return load_calibration(beside, weights_sha256, postprocess), ""
    except CalibrationError as error:
        return None, str(error)


def read_calibration(path: Path) -> LoadedCalibration:
    """A calibration, whichever weights it is of.

    Raises:
        CalibrationError: it is missing, damaged, or of another version.
    """
    try:
        data = path.read_bytes()
        calibration = Calibration.model_validate_json(data)
    except OSError as error:
        raise CalibrationError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise CalibrationError(
            f"{path}: is no calibration of this version of fasa "
            f"({error.error_count()} fields do not fit); make one with fasa calibrate"
        ) from error
    return LoadedCalibration(calibration, path, hashlib.sha256(data).hexdigest())

"""Rates, thresholds, ratios and bands on simulated scores of known truth."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_cli.calibration import (
    Calibration,
    area_score,
    as_logit,
    band_of,
    calibration_path,
    load_calibration,
    population_of,
    read_calibration,
)
from fasa_cli.config import PostprocessConfig
from fasa_cli.errors import CalibrationError
from fasa_cli.evaluation.calibration import (
    ScoredPhoto,
    fit_calibration,
    fit_curve,
    fit_reference,
    quality_of,
    write_calibration,
)
from fasa_cli.text import BANDS
from tests.conftest import RedPredictor


def simulated(
    untouched: int = 300, manipulated: int = 100, seed: int = 0, size: tuple[int, int] = (640, 480)
) -> list[ScoredPhoto]:
    generator = np.random.default_rng(seed)
    scores = [*generator.normal(-2, 1, untouched), *generator.normal(0.5, 1.5, manipulated)]
    return [
        ScoredPhoto(round(float(score), 4), number >= untouched, size, 90)
        for number, score in enumerate(scores)
    ]


def calibration(photos: list[ScoredPhoto] | None = None) -> Calibration:
    return fit_calibration(photos or simulated(), (), RedPredictor(), 0.5)  # type: ignore[arg-type]


@given(st.integers(1, 400), st.floats(0, 1))
def test_more_than_one_per_cent_is_above_a_threshold_when_the_score_is(
    pixels: int, threshold: float
) -> None:
    values = np.random.default_rng(pixels).random((1, pixels)).astype(np.float32)
    large = bool((values > np.float32(threshold)).mean() > 0.01)
    assert large == (area_score(values) > np.float32(threshold))


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_false_alarms_stay_below_the_rate_asked_for(alpha: float) -> None:
    """The conformal guarantee, on average over calibrations of exchangeable photos, whatever the
    distribution: here one with heavy tails and ties."""
    generator = np.random.default_rng(1)
    alarms = []
    for _ in range(400):
        scores = np.round(generator.standard_cauchy(120 + 60), 1)
        curve = fit_curve(scores[:120])
        by_rate = np.array([curve.rate(score) <= alpha for score in scores[120:]])
        assert (by_rate == (scores[120:] > curve.threshold(alpha))).all()
        alarms.append(by_rate.mean())
    assert np.mean(alarms) <= alpha + 3 * np.std(alarms) / np.sqrt(len(alarms))
    assert np.mean(alarms) >= alpha / 3  # and the guarantee is not bought by silence


def test_held_back_photos_alarm_as_often_as_said() -> None:
    photos = simulated(4000, 100, seed=3)
    fitted = fit_reference(photos[:2000] + photos[4000:])
    rates = np.array([fitted.authentic.rate(photo.score) for photo in photos[2000:4000]])
    for alpha in (0.01, 0.05, 0.2, 0.5):
        assert (rates <= alpha).mean() == pytest.approx(alpha, abs=0.02)


def test_intervals_are_those_of_clopper_and_pearson() -> None:
    from scipy.stats import binomtest

    curve = fit_curve(np.arange(50.0))
    for score, count in ((100.0, 0), (45.0, 5), (0.0, 50)):
        expected = binomtest(count, 50).proportion_ci(method="exact")
        assert curve.interval(score) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_a_rate_that_so_few_photos_cannot_support_is_refused_with_the_smallest() -> None:
    curve = fit_curve(np.arange(99.0))
    assert curve.threshold(0.01) == 98
    with pytest.raises(CalibrationError, match=r"0\.0100"):
        curve.threshold(0.009)
    with pytest.raises(CalibrationError, match="--authentic"):
        calibration(simulated(untouched=49))


def test_regions_count_only_when_no_smaller_and_no_weaker() -> None:
    photos = [ScoredPhoto(0, False, (9, 9), None, ((0.1, 1.0), (0.05, 3.0)))]
    photos += [ScoredPhoto(0, False, (9, 9), None) for _ in range(9)]
    regions = fit_reference(photos).regions
    assert regions.rate(0.04, 2.0) == pytest.approx(2 / 11)
    assert regions.rate(0.08, 2.0) == pytest.approx(1 / 11)
    assert regions.rate(0.08, 1.0) == pytest.approx(2 / 11)


def test_an_assessment_says_what_the_score_means() -> None:
    ours = calibration()
    low, high = (ours.assess(score, (640, 480), 90) for score in (0.05, 0.97))
    assert (low.band, high.band) == ("none", "strong")
    assert low.false_alarm_rate > 0.2 > 0.01 >= high.false_alarm_rate
    for one in (low, high):
        assert one.false_alarm_interval[0] <= one.false_alarm_rate <= one.false_alarm_interval[1]
        assert one.log10_lr is not None
        assert one.log10_lr_bounds is not None
        assert one.log10_lr_bounds[0] <= one.log10_lr <= one.log10_lr_bounds[1]
    assert low.log10_lr < 0 < high.log10_lr  # type: ignore[operator]
    certain = ours.assess(1.0, (640, 480), 90)
    assert certain.false_alarm_rate == pytest.approx(1 / 301, abs=1e-6)
    assert certain.log10_lr <= certain.log10_lr_bounds[1] < 3  # type: ignore[index, operator]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_score_is_never_less_suspicious(one: float, other: float) -> None:
    first, second = (FITTED.assess(score, (640, 480), 90) for score in sorted((one, other)))
    assert first.false_alarm_rate >= second.false_alarm_rate
    assert first.log10_lr <= second.log10_lr  # type: ignore[operator]


FITTED = calibration()


def test_bands_have_the_rates_they_promise() -> None:
    assert [band_of(rate) for rate in (0.01, 0.011, 0.05, 0.2, 0.21)] == [
        *("strong", "moderate", "moderate", "weak", "none")
    ]
    assert list(BANDS.values()) == sorted(BANDS.values())


@pytest.mark.parametrize(
    ("size", "quality", "unjudgeable"),
    [((60, 40), 90, 0), ((640, 480), 20, 0), ((9000, 900), 90, 0), ((640, 480), 90, 0.8)],
)
def test_what_cannot_be_compared_is_inconclusive(
    size: tuple[int, int], quality: int, unjudgeable: float
) -> None:
    one = calibration().assess(0.97, size, quality, unjudgeable)
    assert one.band == "inconclusive"
    assert len(one.inconclusive) == 1
    assert one.false_alarm_rate < 0.01  # it stands all the same


def test_a_photo_is_compared_with_its_own_kind_where_there_are_enough() -> None:
    large = [
        ScoredPhoto(photo.score + 2, photo.manipulated, (3000, 2000), 90)
        for photo in simulated(seed=5)
    ]
    few = [ScoredPhoto(9, False, (640, 480), 60)] * 10
    ours = calibration(simulated() + large + few)
    small_one, large_one = (ours.assess(0.5, size, 90) for size in ((640, 480), (3000, 2000)))
    assert (small_one.population, large_one.population) == ("small", "large")
    assert small_one.false_alarm_rate < large_one.false_alarm_rate
    assert population_of((640, 480), 60) == "recompressed"
    recompressed = ours.assess(0.5, (640, 480), 60)
    assert (recompressed.population, recompressed.log10_lr_population) == ("all", "all")
    assert small_one.log10_lr_population == "small"
    sparse = calibration(simulated(untouched=98) + large)
    mixed = sparse.assess(0.5, (640, 480), 90)
    assert (mixed.population, mixed.log10_lr_population) == ("all", "small")


def test_without_manipulated_photos_there_are_rates_and_no_ratio() -> None:
    ours = calibration(simulated(manipulated=0))
    one = ours.assess(0.97, (640, 480), 90)
    assert one.log10_lr is None
    assert one.band == "strong"
    assert quality_of(ours.populations["all"]) is None


def test_quality_is_that_of_photos_that_were_not_seen() -> None:
    quality = quality_of(calibration().populations["all"])
    assert quality is not None
    assert 0.2 < quality.least_cost <= quality.cost < 0.7


def test_a_threshold_keeps_its_rate() -> None:
    photos = simulated()
    threshold = as_logit(calibration(photos).threshold_of(0.05))
    above = [photo.score > threshold for photo in photos if not photo.manipulated]
    assert 0.03 < np.mean(above) <= 0.05


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.calibration.json"
    write_calibration(path, FITTED)
    again = read_calibration(path)
    assert again.calibration == FITTED
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_calibration(path, "0" * 64, PostprocessConfig()) == again


def test_a_calibration_of_other_weights_or_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.calibration.json"
    write_calibration(path, FITTED)
    with pytest.raises(CalibrationError, match="fasa calibrate"):
        load_calibration(path, "1" * 64, PostprocessConfig())
    with pytest.raises(CalibrationError, match="--no-copy-move"):
        load_calibration(path, "0" * 64, PostprocessConfig(copy_move=True))


@pytest.mark.parametrize("text", [None, "{", "{}", '{"schema_version": 99}'])
def test_what_is_no_calibration_is_refused_by_name(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "a.calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CalibrationError, match=r"a\.calibration\.json"):
        read_calibration(path)


def test_the_shipped_calibration_is_of_the_shipped_weights() -> None:
    from fasa_cli.assets import shipped_weights
    from fasa_cli.checkpoint import read_configuration
    from fasa_cli.files import sha256_of

    weights = shipped_weights()
    _, postprocess = read_configuration(weights)
    shipped = load_calibration(calibration_path(weights), sha256_of(weights), postprocess)
    assert len(shipped.calibration.populations["all"].authentic.scores) >= 100
    assert shipped.calibration.selection["half"] == "tune"

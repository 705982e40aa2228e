"""Regressions against scikit-learn; bounds, costs and curves against their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_cli.evaluation.likelihood_ratio import (
    cllr,
    cllr_min,
    empirical_bounds,
    error_tradeoff,
    fit_isotonic,
    fit_logistic,
    tippett,
)

SCORES = st.lists(st.floats(-8, 8).map(lambda x: round(x, 3)), min_size=1, max_size=40)


def two_normals(count: int, distance: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(distance, 1, count), generator.normal(0, 1, 2 * count)


def test_logistic_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    manipulated, authentic = two_normals(150)
    x = np.concatenate((manipulated, authentic))[:, None]
    y = np.repeat([1, 0], [150, 300])
    reference = LogisticRegression(class_weight="balanced", C=1e6, tol=1e-9).fit(x, y)
    ours = fit_logistic(manipulated, authentic)
    assert ours.intercept == pytest.approx(reference.intercept_[0] / np.log(10), abs=2e-3)
    assert ours.slope == pytest.approx(reference.coef_[0, 0] / np.log(10), rel=2e-3)


def test_logistic_finds_the_true_ratio_of_two_normals() -> None:
    manipulated, authentic = two_normals(20_000, distance=1.5)
    ours = fit_logistic(manipulated, authentic)
    # log LR = distance * (score - distance / 2)
    assert ours.slope == pytest.approx(1.5 / np.log(10), rel=0.05)
    assert ours.intercept == pytest.approx(-1.125 / np.log(10), rel=0.05)


def test_scores_of_the_wrong_order_give_no_slope() -> None:
    assert fit_logistic(np.zeros(30) - 1, np.ones(30)).slope == 0


@given(SCORES, SCORES)
def test_isotonic_is_that_of_scikit_learn(manipulated: list[float], authentic: list[float]) -> None:
    from sklearn.isotonic import IsotonicRegression

    x = np.array(manipulated + authentic)
    y = np.repeat([1.0, 0.0], [len(manipulated), len(authentic)])
    weights = np.repeat(
        [1 / len(manipulated), 1 / len(authentic)], [len(manipulated), len(authentic)]
    )
    posterior = IsotonicRegression().fit(x, y, sample_weight=weights).predict(x)
    with np.errstate(divide="ignore"):
        expected = np.log10(posterior) - np.log10(1 - posterior)
    ours = fit_isotonic(np.array(manipulated), np.array(authentic)).log10_lr(x)
    assert ours == pytest.approx(expected.clip(-6, 6), abs=1e-6)


def test_bounds_hold_where_data_end() -> None:
    """Of n perfectly separated photos each, decisions at odds of about n + 1 are still no worse."""
    perfect = np.full(99, 5.0)
    low, high = empirical_bounds(perfect, -perfect)
    # 1 / 100 missed + 10**t / 100 false costs at most 1 up to t = log10(99)
    assert high == pytest.approx(np.log10(99), abs=0.011)
    assert low == pytest.approx(-np.log10(99), abs=0.011)


def test_ratios_that_mislead_are_not_supported() -> None:
    """Half of the untouched photos claim a ratio of 1000."""
    manipulated = np.full(50, 3.0)
    authentic = np.repeat([3.0, -3.0], 50)
    _, high = empirical_bounds(manipulated, authentic)
    assert high < np.log10(2)


def test_more_photos_support_more() -> None:
    few, many = (empirical_bounds(*two_normals(count)) for count in (20, 2000))
    assert many[1] > few[1] > 0 > few[0] > many[0]


def test_costs_by_hand() -> None:
    assert cllr(np.zeros(3), np.zeros(5)) == pytest.approx(1)
    assert cllr(np.array([np.inf]), np.array([-np.inf])) == 0
    one = cllr(np.array([1.0]), np.array([-1.0]))
    assert one == pytest.approx(np.log2(1 + 0.1))


@given(SCORES, SCORES)
def test_the_best_calibration_costs_least(manipulated: list[float], authentic: list[float]) -> None:
    ours, others = np.array(manipulated), np.array(authentic)
    assert cllr_min(ours, others) <= min(cllr(ours, others), 1) + 1e-6


def test_logistic_costs_little_more_than_the_best() -> None:
    manipulated, authentic = two_normals(2000)
    model = fit_logistic(manipulated, authentic)
    cost = cllr(model.log10_lr(manipulated), model.log10_lr(authentic))
    assert cllr_min(manipulated, authentic) < cost < cllr_min(manipulated, authentic) + 0.03


def test_curves_count() -> None:
    assert tippett(np.array([0.0, 1, 1, 2]), np.array([-1, 1, 3])).tolist() == [1, 0.75, 0]
    thresholds, false, missed = error_tradeoff(np.array([1.0, 3]), np.array([0.0, 1]))
    assert thresholds.tolist() == [0, 1, 3]
    assert false.tolist() == [1, 0.5, 0]
    assert missed.tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("bad", [np.array([]), np.array([np.nan])])
def test_what_is_no_score_is_refused(bad: np.ndarray) -> None:
    for function in (fit_logistic, fit_isotonic, empirical_bounds, cllr):
        with pytest.raises(ValueError, match=r"needed|finite"):
            function(np.ones(3), bad)

"""Likelihood ratios from scores: how much more often a manipulated photo scores so than an
untouched one. Pure mathematics on arrays.

Ratios are given as log10. A logistic regression gives a smooth one, isotonic regression (pool
adjacent violators) one that assumes only that more means more; both see the two classes with equal
weight, so that no prior is in them. Where the data end, both are cut off at empirical bounds
(Vergeer et al., "Numerical likelihood ratios outputted by LR systems are often based on
extrapolation: when to stop extrapolating?", Science and Justice 56, 2016).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_RIDGE = 1e-6  # Ours: of the slope; keeps separable scores from a vertical curve
_BOUND_STEP = 0.01  # of log10, at which thresholds of the empirical bounds are tried
_FURTHEST = 6.0  # log10; no bound lies beyond


class Logistic(NamedTuple):
    """log10 of the likelihood ratio is `intercept` + `slope` * score."""

    intercept: float
    slope: float

    def log10_lr(self, scores: np.ndarray) -> np.ndarray:
        """N scores -> N log10 likelihood ratios, without bounds."""
        return self.intercept + self.slope * np.asarray(scores, np.float64)


class Isotonic(NamedTuple):
    """log10 of the likelihood ratio at ascending `scores`, linear in between, constant outside."""

    scores: tuple[float, ...]
    values: tuple[float, ...]

    def log10_lr(self, scores: np.ndarray) -> np.ndarray:
        """N scores -> N log10 likelihood ratios; what they are cut off at is finite."""
        return np.interp(np.asarray(scores, np.float64), self.scores, self.values)


def fit_logistic(manipulated: np.ndarray, authentic: np.ndarray) -> Logistic:
    """Logistic regression of two arrays of scores, each class with the same total weight.

    The slope is never negative: a higher score speaks for manipulation, or for nothing.

    Raises:
        ValueError: a class is empty or a score is not finite.
    """
    from scipy.optimize import minimize

    scores, classes, weights = _joined(manipulated, authentic)
    centre, spread = scores.mean(), scores.std() or 1.0
    x = (scores - centre) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        intercept, slope = parameters
        logits = intercept + slope * x
        value = (weights * np.logaddexp(0, np.where(classes, -logits, logits))).sum()
        error = weights * (1 / (1 + np.exp(-logits)) - classes)
        gradient = np.array([error.sum(), (error * x).sum() + _RIDGE * slope])
        return float(value + 0.5 * _RIDGE * slope**2), gradient

    bounds = [(None, None), (0, None)]
    found = minimize(
        loss, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12
    )
    intercept, slope = found.x / np.log(10)
    return Logistic(float(intercept - slope * centre / spread), float(slope / spread))


def fit_isotonic(manipulated: np.ndarray, authentic: np.ndarray) -> Isotonic:
    """Isotonic regression (pool adjacent violators), each class with the same total weight.

    Raises:
        ValueError: a class is empty or a score is not finite.
    """
    from scipy.optimize import isotonic_regression

    scores, classes, weights = _joined(manipulated, authentic)
    distinct, places = np.unique(scores, return_inverse=True)
    mass = np.bincount(places, weights)
    share = np.bincount(places, weights * classes) / mass
    posterior = isotonic_regression(share, weights=mass).x
    with np.errstate(divide="ignore"):
        ratios = np.log10(posterior) - np.log10(1 - posterior)
    values = np.clip(ratios, -_FURTHEST, _FURTHEST)
    # A level has two ends, and nothing between them.
    inner = (values[1:-1] == values[:-2]) & (values[1:-1] == values[2:])
    kept = np.concatenate(([True], ~inner, [True]))[: len(values)]
    return Isotonic(tuple(distinct[kept].tolist()), tuple(values[kept].tolist()))


def empirical_bounds(manipulated: np.ndarray, authentic: np.ndarray) -> tuple[float, float]:
    """(lower, upper) bound on log10 of the likelihood ratios that data of this amount support.

    Both arrays hold log10 likelihood ratios, of photos of known truth. One misleading ratio is
    added to each class; a bound lies where decisions by the ratios, at every threshold up to it,
    still cost no more than decisions by the prior odds alone. (0, 0): they support none.

    Raises:
        ValueError: a class is empty or a ratio is NaN.
    """
    _joined(manipulated, authentic, finite=False)
    thresholds = np.arange(1, round(_FURTHEST / _BOUND_STEP) + 1) * _BOUND_STEP
    missed = _share_not_above(manipulated, thresholds)
    false = 1 - _share_not_above(authentic, thresholds, misleading=0)
    costs = missed + false * 10.0**thresholds  # in units of deciding "untouched" always
    upper = _last_before(costs > 1, thresholds)
    missed = _share_not_above(manipulated, -thresholds)
    false = 1 - _share_not_above(authentic, -thresholds, misleading=0)
    costs = missed * 10.0**thresholds + false  # in units of deciding "manipulated" always
    lower = -_last_before(costs > 1, thresholds)
    return lower, upper


def _share_not_above(ratios: np.ndarray, thresholds: np.ndarray, misleading: int = 1) -> np.ndarray:
    """The share of ratios that are not above each threshold, one more that misleads among them:
    one that is not above (1), or one that is (0)."""
    below = np.searchsorted(np.sort(ratios), thresholds, "right")
    return (below + misleading) / (len(ratios) + 1)


def _last_before(is_worse: np.ndarray, thresholds: np.ndarray) -> float:
    if not is_worse.any():
        return float(thresholds[-1])
    first = int(is_worse.argmax())
    return float(thresholds[first - 1]) if first else 0.0


# --- How good ratios are ----------------------------------------------------------------------


def cllr(manipulated: np.ndarray, authentic: np.ndarray) -> float:
    """The log-likelihood-ratio cost of two arrays of log10 likelihood ratios (Brummer and du Preez
    2006): 0 for perfect ones, 1 for ratios that always say 1, more for misleading ones.

    Raises:
        ValueError: a class is empty or a ratio is NaN.
    """
    _joined(manipulated, authentic, finite=False)
    missed = np.logaddexp2(0, -np.asarray(manipulated, np.float64) * np.log2(10)).mean()
    false = np.logaddexp2(0, np.asarray(authentic, np.float64) * np.log2(10)).mean()
    return float(missed + false) / 2


def cllr_min(manipulated: np.ndarray, authentic: np.ndarray) -> float:
    """The cost that is left when the ratios are calibrated as well as they can be on these very
    photos (by isotonic regression): what the order of the scores cannot separate.

    Raises:
        ValueError: as `cllr`.
    """
    best = fit_isotonic(manipulated, authentic)
    return cllr(best.log10_lr(manipulated), best.log10_lr(authentic))


def tippett(ratios: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of log10 likelihood ratios that are at least each threshold (a Tippett plot's
    curve of one class)."""
    return 1 - np.searchsorted(np.sort(ratios), thresholds, "left") / len(ratios)


def error_tradeoff(
    manipulated: np.ndarray, authentic: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, false alarm rates, miss rates) of two arrays of scores, at every score: what
    scores at least a threshold is called manipulated."""
    thresholds = np.unique(np.concatenate((manipulated, authentic)))
    false = tippett(authentic, thresholds)
    missed = 1 - tippett(manipulated, thresholds)
    return thresholds, false, missed


def _joined(
    manipulated: np.ndarray, authentic: np.ndarray, finite: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, whether manipulated, weights): each class weighs one half."""
    sides = [np.asarray(side, np.float64) for side in (manipulated, authentic)]
    scores = np.concatenate(sides)
    if not all(side.size for side in sides):
        raise ValueError("both manipulated and authentic scores are needed")
    if np.isnan(scores).any() or (finite and not np.isfinite(scores).all()):
        raise ValueError("a score is not finite")
    classes = np.repeat([True, False], [side.size for side in sides])
    weights = np.repeat([0.5 / side.size for side in sides], [side.size for side in sides])
    return scores, classes, weights

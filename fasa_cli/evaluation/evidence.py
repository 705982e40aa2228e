"""How well scores separate manipulated from untouched photos, in the forensic field's measures.

Cllr and its least value, with intervals; the curves behind a detection error trade-off, a Tippett
plot and a reliability diagram; and whether untouched photos alarm as often as a calibration says.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fasa_cli.evaluation.likelihood_ratio import cllr, cllr_min, error_tradeoff, tippett
from fasa_cli.results import ImageScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EVIDENCE_METRICS = ("cllr", "cllr_min", "equal_error_rate")  # that tables of evaluations can show
RESAMPLES = 500
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
LEAST = 5  # photos of each class, for any of this
_BINS = 6  # of a reliability diagram, with equally many photos each

Interval = tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """`cllr` is of the calibration's likelihood ratios, None without one; `cllr_min` is what the
    order of the scores allows at best. `rates` are (promised, observed, low, high): the share of
    untouched photos whose false alarm rate is at most the promised, with its 95 % interval."""

    manipulated: int
    authentic: int
    cllr: float | None
    cllr_interval: Interval | None
    cllr_min: float
    cllr_min_interval: Interval
    equal_error_rate: float
    rates: tuple[tuple[float, float, float, float], ...]


def measure_evidence(images: Sequence[ImageScores], seed: int = 0) -> Evidence | None:
    """None where there are fewer than LEAST photos of a class, or images without an area score."""
    scores, ratios = _by_class(images, "score_area"), _by_class(images, "log10_lr")
    if scores is None:
        return None
    generator = np.random.default_rng(seed)

    def resampled(sides: tuple[np.ndarray, np.ndarray], measure: Any) -> Interval:
        values = [
            measure(*(side[generator.integers(len(side), size=len(side))] for side in sides))
            for _ in range(RESAMPLES)
        ]
        low, high = np.percentile(values, [2.5, 97.5])
        return float(low), float(high)

    _, false, missed = error_tradeoff(*scores)
    nearest = int(np.abs(false - missed).argmin())
    return Evidence(
        manipulated=len(scores[0]),
        authentic=len(scores[1]),
        cllr=None if ratios is None else cllr(*ratios),
        cllr_interval=None if ratios is None else resampled(ratios, cllr),
        cllr_min=cllr_min(*scores),
        cllr_min_interval=resampled(scores, cllr_min),
        equal_error_rate=float(false[nearest] + missed[nearest]) / 2,
        rates=_kept_promises(images),
    )


def _by_class(images: Sequence[ImageScores], name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(manipulated, untouched) values; None where some are missing or a class has too few."""
    if any(getattr(image, name) is None for image in images):
        return None
    sides = tuple(
        np.array([getattr(image, name) for image in images if image.manipulated is manipulated])
        for manipulated in (True, False)
    )
    return (sides[0], sides[1]) if min(map(len, sides)) >= LEAST else None


def _kept_promises(images: Sequence[ImageScores]) -> tuple[tuple[float, float, float, float], ...]:
    from scipy.stats import binomtest

    rates = [image.false_alarm_rate for image in images if not image.manipulated]
    known = np.array([rate for rate in rates if rate is not None])
    if not len(known) or len(known) < len(rates):
        return ()
    rows = []
    for promised in RATES:
        count = int((known <= promised).sum())
        interval = binomtest(count, len(known)).proportion_ci(method="exact")
        rows.append((promised, count / len(known), float(interval.low), float(interval.high)))
    return tuple(rows)


# --- Pictures ---------------------------------------------------------------------------------

_MANIPULATED, _UNTOUCHED, _GREY = "#D55E00", "#0072B2", "0.6"


def draw_evidence(
    images: Sequence[ImageScores], title: str, formats: Sequence[str] = ("png", "svg")
) -> dict[str, bytes]:
    """A detection error trade-off, a Tippett plot, a reliability diagram and kept promises; bytes
    by format. What an evaluation without a calibration has nothing for is left empty."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.hashsalt": "fasa", "svg.fonttype": "none"}
    settings |= {"font.size": 9, "text.parse_math": False}
    with matplotlib.rc_context(settings):
        figure = Figure((8.2, 7.0), layout="constrained")
        figure.suptitle(title, fontsize=9)
        first, second, third, fourth = figure.subplots(2, 2).ravel()
        scores, ratios = _by_class(images, "score_area"), _by_class(images, "log10_lr")
        if scores is not None:
            _draw_tradeoff(first, *scores)
        if ratios is not None:
            _draw_tippett(second, *ratios)
            _draw_reliability(third, *ratios)
        for axis in (second, third) if ratios is None else ():
            axis.set_axis_off()
        _draw_promises(fourth, _kept_promises(images))
        for axis in (first, second, third, fourth):
            axis.grid(color="0.88", linewidth=0.6)
            axis.set_axisbelow(True)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
        pictures = {}
        for kind in formats:
            buffer = io.BytesIO()
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
            pictures[kind] = buffer.getvalue()
        return pictures


def _draw_tradeoff(axis: Axes, manipulated: np.ndarray, authentic: np.ndarray) -> None:
    """On normal deviates, as DET curves are drawn: two normal distributions give a line."""
    from scipy.special import ndtri

    _, false, missed = error_tradeoff(manipulated, authentic)
    ends = [0.5 / len(side) for side in (authentic, manipulated)]
    axis.plot(
        ndtri(false.clip(ends[0], 1 - ends[0])),
        ndtri(missed.clip(ends[1], 1 - ends[1])),
        color=_MANIPULATED,
    )
    ticks = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95)
    for setter in (axis.set_xticks, axis.set_yticks):
        setter([float(ndtri(tick)) for tick in ticks], [f"{tick:.0%}" for tick in ticks])
    axis.plot([-2.4, 1.7], [-2.4, 1.7], color=_GREY, linewidth=0.8, linestyle=":")
    axis.set(title="Detection error trade-off", xlabel="false alarms", ylabel="missed")


def _draw_tippett(axis: Axes, manipulated: np.ndarray, authentic: np.ndarray) -> None:
    both = np.concatenate((manipulated, authentic))
    places = np.linspace(both.min() - 0.2, both.max() + 0.2, 400)
    axis.plot(places, tippett(manipulated, places), color=_MANIPULATED, label="manipulated")
    axis.plot(places, tippett(authentic, places), color=_UNTOUCHED, label="untouched")
    axis.axvline(0, color=_GREY, linewidth=0.8, linestyle=":")
    axis.legend(frameon=False)
    axis.set(title="Tippett plot", xlabel="log10 likelihood ratio", ylabel="share with at least it")


def _draw_reliability(axis: Axes, manipulated: np.ndarray, authentic: np.ndarray) -> None:
    """Bins of equally many photos: the ratio that is claimed, and the one that is counted."""
    both = np.concatenate((manipulated, authentic))
    is_manipulated = np.repeat([True, False], [len(manipulated), len(authentic)])
    order = np.argsort(both, kind="stable")
    claimed, counted = [], []
    for part in np.array_split(order, min(_BINS, len(order))):
        hits = is_manipulated[part].sum()
        # Half a photo more of each class keeps an empty one from an infinite ratio.
        one = (hits + 0.5) / (len(manipulated) + 1)
        other = (len(part) - hits + 0.5) / (len(authentic) + 1)
        claimed.append(float(both[part].mean()))
        counted.append(float(np.log10(one / other)))
    axis.plot(claimed, counted, "o-", color=_MANIPULATED)
    ends = [min(*claimed, *counted), max(*claimed, *counted)]
    axis.plot(ends, ends, color=_GREY, linewidth=0.8, linestyle=":")
    axis.set(title="Reliability", xlabel="log10 ratio claimed", ylabel="log10 ratio counted")


def _draw_promises(axis: Axes, rates: Sequence[tuple[float, float, float, float]]) -> None:
    if not rates:
        axis.set_axis_off()
        return
    axis.set(title="False alarms", xlabel="rate promised", ylabel="rate observed")
    promised, observed, low, high = (np.array(column) for column in zip(*rates, strict=True))
    axis.errorbar(
        promised, observed, [observed - low, high - observed], fmt="o", color=_UNTOUCHED, capsize=3
    )
    axis.plot([0, 0.5], [0, 0.5], color=_GREY, linewidth=0.8, linestyle=":")

"""Forensic measures of scores with known distributions."""

import numpy as np
import pytest

from fasa_cli.evaluation.evidence import RATES, draw_evidence, measure_evidence
from fasa_cli.evaluation.likelihood_ratio import cllr
from fasa_cli.results import ImageScores

DISTANCE = 2.0


def images(count: int = 400, calibrated: bool = True, bias: float = 0.0) -> list[ImageScores]:
    """Scores of two normal distributions, and their true log10 ratios plus `bias`."""
    generator = np.random.default_rng(0)
    made = []
    for manipulated in (True, False):
        for x in generator.normal(DISTANCE * manipulated, 1, count):
            ratio = float(DISTANCE * (x - DISTANCE / 2) / np.log(10)) + bias
            rate = float((1 - generator.random()) if manipulated else 0)
            made.append(
                ImageScores(
                    name=str(len(made)),
                    manipulated=manipulated,
                    score=0.5,
                    area=0.0,
                    score_area=float(1 / (1 + np.exp(-x))),
                    log10_lr=ratio if calibrated else None,
                    false_alarm_rate=rate if calibrated else None,
                )
            )
    return made


def test_true_ratios_cost_what_two_normals_must() -> None:
    found = measure_evidence(images())
    assert found is not None
    generator = np.random.default_rng(1)
    ours, others = generator.normal(DISTANCE, 1, 200_000), generator.normal(0, 1, 200_000)
    true = cllr(*(DISTANCE * (x - DISTANCE / 2) / np.log(10) for x in (ours, others)))
    assert found.cllr == pytest.approx(true, abs=0.05)
    assert found.cllr_interval is not None
    assert found.cllr_interval[0] < true < found.cllr_interval[1]
    assert found.cllr_min <= found.cllr
    assert found.cllr_min_interval[0] <= found.cllr_min <= found.cllr_min_interval[1] + 0.02
    assert found.equal_error_rate == pytest.approx(0.159, abs=0.03)  # of 1 sigma
    assert (found.manipulated, found.authentic) == (400, 400)


def test_ratios_that_claim_too_much_cost_more() -> None:
    true, biased = (measure_evidence(images(bias=bias)) for bias in (0.0, 1.5))
    assert true is not None
    assert biased is not None
    assert biased.cllr > true.cllr + 0.2  # type: ignore[operator]
    assert biased.cllr_min == pytest.approx(true.cllr_min)


def test_promises_are_counted_with_exact_intervals() -> None:
    made = [
        ImageScores(
            str(n), n < 10, 0.5, 0.0, score_area=0.5, log10_lr=0.0, false_alarm_rate=n / 110
        )
        for n in range(110)
    ]
    found = measure_evidence(made)
    assert found is not None
    assert [row[0] for row in found.rates] == list(RATES)
    promised, observed, low, high = found.rates[-1]
    assert (promised, observed) == (0.5, 0.46)
    assert low < 0.46 < high


def test_without_a_calibration_the_order_of_scores_remains() -> None:
    found = measure_evidence(images(calibrated=False))
    assert found is not None
    assert found.cllr is None
    assert found.rates == ()
    assert 0 < found.cllr_min < 1
    assert measure_evidence(images(4)) is None


@pytest.mark.parametrize("calibrated", [True, False])
def test_diagrams_are_drawn_the_same_every_time(calibrated: bool) -> None:
    made = images(30, calibrated)
    first, second = (draw_evidence(made, "a $b$", ("svg",)) for _ in range(2))
    assert first == second
    text = first["svg"].decode()
    assert "error trade-off" in text
    assert "log10 likelihood ratio" in text or not calibrated

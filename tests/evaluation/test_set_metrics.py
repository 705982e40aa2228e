"""Sets: which images enter which mean, and every edge case."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fasa_cli.evaluation import metrics
from fasa_cli.evaluation.set_metrics import SetMetrics
from tests.evaluation.test_metrics import CURVE_AT, flat, random_map


def test_each_image_knows_its_f1_at_the_best_threshold_of_the_set() -> None:
    collected = SetMetrics()
    maps = [random_map(seed) for seed in range(4)]
    for pair in maps:
        collected.add(*pair)
    collected.add(flat(0.2), None)
    best = collected.scores().best_threshold
    assert best is not None
    values = [each.pixel_f1_best for each in collected.images()]
    assert values == [*(metrics.pixel_f1(*pair, best) for pair in maps), None]
    assert metrics.mean(values) == collected.scores().pixel_f1_best


def test_every_metric_has_an_interval_around_it() -> None:
    collected = SetMetrics()
    for seed in range(12):
        collected.add(*random_map(seed))
        collected.add(np.clip(random_map(seed)[0] - 0.3, 0, 1), None)
    scores, intervals = collected.scores(), collected.intervals()
    assert tuple(intervals) == metrics.METRICS
    for name, interval in intervals.items():
        assert interval is not None
        assert interval[0] <= getattr(scores, name) <= interval[1], name


def test_empty_set_gives_none_not_zero() -> None:
    scores = SetMetrics().scores()
    assert (scores.images, scores.manipulated, scores.skipped) == (0, 0, 0)
    named = {"protocol", "threshold", "images", "manipulated", "skipped", "pixel_images"}
    assert {name for name, value in vars(scores).items() if value is not None} == named
    assert set(SetMetrics().intervals().values()) == {None}


def test_set_metrics_are_means_over_manipulated_images() -> None:
    collected = SetMetrics(threshold=0.4)
    maps = [random_map(seed) for seed in range(6)]
    for probabilities, target in maps:
        collected.add(probabilities, target)
    collected.add(flat(0.9), None)  # an authentic image changes no pixel metric
    scores = collected.scores()
    assert (scores.protocol, scores.threshold) == ("native", 0.4)
    assert (scores.images, scores.manipulated) == (7, 6)
    for name in ("pixel_f1", "pixel_f1_permuted", "pixel_iou"):
        expected = np.mean([getattr(metrics, name)(*pair, 0.4) for pair in maps])
        assert getattr(scores, name) == pytest.approx(expected)
    expected = np.mean([metrics.pixel_auc(*pair) for pair in maps])
    assert scores.pixel_auc == pytest.approx(expected)
    assert scores.pixel_f1_best is not None
    grid = [np.mean([metrics.pixel_f1(*pair, at) for pair in maps]) for at in CURVE_AT]
    assert scores.pixel_f1_best == pytest.approx(max(grid))
    assert scores.pixel_f1_best == pytest.approx(grid[CURVE_AT[scores.best_threshold]])
    assert scores.pixel_f1_best >= scores.pixel_f1


def test_reversed_f1_is_that_of_the_inverted_mask() -> None:
    collected = SetMetrics()
    probabilities, target = random_map(0)
    result = collected.add(probabilities, target)
    expected = f1_score(target.ravel(), ~(probabilities > 0.5).ravel())
    assert result.pixel_f1_reversed == pytest.approx(expected, abs=1e-8)


def test_false_alarms_count_authentic_images_only() -> None:
    collected = SetMetrics()
    quiet, speck, alarm = (flat(0.1, (10, 50)) for _ in range(3))
    speck[0, :5] = 0.9  # exactly 1 % of the area
    alarm[:5] = 0.9
    for probabilities in (quiet, speck, alarm):
        collected.add(probabilities, np.zeros((10, 50), bool))
    collected.add(flat(0.9), np.ones((4, 5), bool))
    scores = collected.scores()
    assert scores.false_alarm_share == pytest.approx(2 / 3)
    assert scores.false_alarm_large_share == pytest.approx(1 / 3)
    assert scores.false_alarm_area == pytest.approx((0 + 0.01 + 0.5) / 3)


def test_false_alarms_without_authentic_images_are_none() -> None:
    collected = SetMetrics()
    collected.add(flat(0.9), np.ones((4, 5), bool))
    assert collected.scores().false_alarm_share is None
    assert collected.scores().false_alarm_area is None


def test_image_score_is_the_maximum_unless_given() -> None:
    collected = SetMetrics()
    probabilities = flat(0.1)
    probabilities[1, 1] = 0.75
    assert collected.add(probabilities, None, name="a").score == 0.75
    assert collected.add(probabilities, None, name="b", score=0.2).score == 0.2
    assert [image.name for image in collected.images()] == ["a", "b"]
    assert collected.scores().image_accuracy == 0.5


def test_nothing_depends_on_the_order_of_the_images() -> None:
    samples = [random_map(seed) for seed in range(9)]
    samples += [(random_map(seed)[0], np.zeros((23, 31), bool)) for seed in (20, 21)]
    orders = [range(len(samples)), np.random.default_rng(0).permutation(len(samples))]
    results = []
    for order in orders:
        collected = SetMetrics()
        for index in order:
            collected.add(*samples[index])
        results.append((collected.scores(), collected.intervals()))
    assert results[0] == results[1]


def test_opensdi_leaves_wholly_generated_images_out_of_the_pixel_metrics() -> None:
    probabilities, target = random_map(0)
    collected = SetMetrics("opensdi")
    collected.add(probabilities, target)
    collected.add(flat(0.9), np.ones((4, 5), bool))
    scores = collected.scores()
    assert (scores.manipulated, scores.pixel_images) == (2, 1)
    assert scores.pixel_f1 == metrics.pixel_f1(probabilities, target)
    assert scores.image_f1 == pytest.approx(1)


def test_skipped_images_are_counted() -> None:
    collected = SetMetrics()
    collected.skip()
    assert (collected.scores().skipped, collected.scores().images) == (1, 0)


def test_unknown_protocol_is_an_error_naming_the_known_ones() -> None:
    with pytest.raises(ValueError, match="native, benco, opensdi"):
        SetMetrics("casia")

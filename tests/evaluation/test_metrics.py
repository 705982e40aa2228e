"""Every formula against scikit-learn or a case computed by hand, and every edge case."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, roc_auc_score

from fasa_cli.evaluation import metrics
from fasa_cli.evaluation.metrics import Confusion, Difference, SetMetrics
from fasa_cli.results import ImageScores

CURVE_AT = {threshold: index for index, threshold in enumerate(metrics.THRESHOLDS.tolist())}


def random_map(seed: int, height: int = 23, width: int = 31) -> tuple[np.ndarray, np.ndarray]:
    """A noisy but informative map, with many ties, and its target."""
    generator = np.random.default_rng(seed)
    target = np.zeros((height, width), bool)
    target[3:12, 5 : 10 + seed % 10] = True
    noise = generator.normal(0.35 + 0.25 * target, 0.2).clip(0, 1)
    return (np.round(noise, 2)).astype(np.float32), target


def flat(value: float, shape: tuple[int, int] = (4, 5)) -> np.ndarray:
    return np.full(shape, value, np.float32)


def test_confusion_by_hand() -> None:
    mask = np.array([[True, True, False, False]])
    target = np.array([[True, False, True, False]])
    assert metrics.confusion(mask, target) == Confusion(tp=1, fp=1, fn=1, tn=1)
    counts = metrics.confusion(mask, np.ones((1, 4), bool))
    assert counts == Confusion(tp=2, fp=0, fn=2, tn=0)
    assert counts.reversed == metrics.confusion(~mask, np.ones((1, 4), bool))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.77])
def test_pixel_metrics_equal_scikit_learn(seed: int, threshold: float) -> None:
    probabilities, target = random_map(seed)
    truth, mask = target.ravel(), (probabilities > threshold).ravel()
    f1 = metrics.pixel_f1(probabilities, target, threshold)
    assert f1 == pytest.approx(f1_score(truth, mask), abs=1e-8)
    permuted = metrics.pixel_f1_permuted(probabilities, target, threshold)
    assert permuted == pytest.approx(max(f1_score(truth, mask), f1_score(truth, ~mask)), abs=1e-8)
    iou = metrics.pixel_iou(probabilities, target, threshold)
    assert iou == pytest.approx(jaccard_score(truth, mask), abs=1e-8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("inverted", [False, True], ids=["few positives", "few negatives"])
def test_auc_equals_scikit_learn_with_and_without_ties(dtype: type, inverted: bool) -> None:
    for seed in range(5):
        tied, target = random_map(seed)
        smooth = tied * np.random.default_rng(seed).random(tied.shape)
        target = target ^ inverted
        for probabilities in (tied.astype(dtype), smooth.astype(dtype)):
            expected = roc_auc_score(target.ravel(), probabilities.ravel())
            assert metrics.pixel_auc(probabilities, target) == pytest.approx(expected, abs=1e-12)


def test_auc_of_a_large_map_is_exact() -> None:
    generator = np.random.default_rng(0)
    target = generator.random((1000, 1200)) < 0.1
    levels = generator.integers(0, 65536, target.shape) // (1 + ~target)
    probabilities = (levels / 65535).astype(np.float32)
    expected = roc_auc_score(target.ravel(), probabilities.ravel())
    assert metrics.pixel_auc(probabilities, target) == pytest.approx(expected, abs=1e-10)


def test_auc_by_hand_counts_a_tie_half() -> None:
    target = np.array([[True, True, False, False]])
    probabilities = np.array([[0.9, 0.5, 0.5, 0.1]])
    assert metrics.pixel_auc(probabilities, target) == 3.5 / 4


def test_a_pixel_at_the_threshold_is_not_marked() -> None:
    target = np.ones((4, 5), bool)
    assert metrics.pixel_f1(flat(0.5), target) == 0
    assert metrics.pixel_f1(flat(0.7), target, threshold=0.7) == 0  # 0.7 is not a float32
    assert metrics.pixel_f1(flat(0.51), target) == pytest.approx(1)


def test_authentic_image_has_no_pixel_metrics() -> None:
    nothing = np.zeros((4, 5), bool)
    for value in (0.0, 0.9):
        assert metrics.pixel_f1(flat(value), nothing) is None
        assert metrics.pixel_f1_permuted(flat(value), nothing) is None
        assert metrics.pixel_iou(flat(value), nothing) is None
        assert metrics.pixel_auc(flat(value), nothing) is None
        assert metrics.f1_curve(flat(value), nothing) is None


def test_all_white_mask_has_f1_and_iou_but_no_auc() -> None:
    everything = np.ones((4, 5), bool)
    assert metrics.pixel_f1(flat(0.9), everything) == pytest.approx(1)
    assert metrics.pixel_iou(flat(0.9), everything) == pytest.approx(1)
    assert metrics.pixel_auc(flat(0.9), everything) is None
    assert metrics.pixel_f1_permuted(flat(0.1), everything) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_f1_curve_is_the_f1_at_every_threshold(seed: int) -> None:
    probabilities, target = random_map(seed)
    curve = metrics.f1_curve(probabilities, target)
    assert curve is not None
    for threshold, index in CURVE_AT.items():
        assert curve[index] == metrics.pixel_f1(probabilities, target, threshold)


def test_best_threshold_is_one_for_the_whole_set() -> None:
    target = np.zeros((1, 4), bool)
    target[0, :2] = True
    low = np.array([[0.3, 0.3, 0.1, 0.1]])  # perfect from 0.1 to 0.3
    high = np.array([[0.9, 0.9, 0.25, 0.25]])  # perfect from 0.25 to 0.9
    curves = [metrics.f1_curve(probabilities, target) for probabilities in (low, high)]
    best = metrics.best_threshold([curve for curve in curves if curve is not None])
    assert best is not None
    assert best == (0.29, pytest.approx(1))


def test_equal_thresholds_give_the_one_nearest_to_one_half() -> None:
    target = np.array([[True, False]])
    curve = metrics.f1_curve(np.array([[1.0, 0.0]]), target)
    assert curve is not None
    assert metrics.best_threshold([curve]) == (0.5, pytest.approx(1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.5])
def test_values_outside_zero_to_one_are_errors(value: float) -> None:
    probabilities = flat(0.5)
    probabilities[2, 2] = value
    target = np.ones((4, 5), bool)
    for function in (metrics.pixel_f1, metrics.pixel_iou, metrics.pixel_auc, metrics.f1_curve):
        with pytest.raises(ValueError, match="not in"):
            function(probabilities, target)
    with pytest.raises(ValueError, match="not in"):
        SetMetrics().add(probabilities, None)


def test_a_rounding_error_beyond_one_is_none() -> None:
    probabilities = flat(1 + 1e-7)
    assert metrics.pixel_f1(probabilities, np.ones((4, 5), bool)) == pytest.approx(1)


def test_different_sizes_are_an_error_naming_both() -> None:
    for function in (metrics.pixel_f1, metrics.pixel_auc, SetMetrics().add):
        with pytest.raises(ValueError, match="5 x 4 but the mask is 4 x 5"):
            function(flat(0.5, (4, 5)), np.ones((5, 4), bool))


def test_wrong_kinds_of_array_are_errors() -> None:
    with pytest.raises(ValueError, match="mask > 127"):
        metrics.pixel_f1(flat(0.5), np.full((4, 5), 255, np.uint8))
    with pytest.raises(ValueError, match="uint8, not floating"):
        metrics.pixel_f1(np.ones((4, 5), np.uint8), np.ones((4, 5), bool))
    with pytest.raises(ValueError, match="threshold it first"):
        metrics.confusion(flat(0.5), np.ones((4, 5), bool))
    with pytest.raises(ValueError, match="no pixels"):
        metrics.pixel_f1(flat(0.5, (0, 5)), np.ones((0, 5), bool))


def test_image_metrics_equal_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    manipulated = generator.random(60) < 0.4
    scores = np.round(generator.random(60) * 0.5 + 0.4 * manipulated, 1)
    marked = scores > 0.5
    assert metrics.image_f1(scores, manipulated) == pytest.approx(f1_score(manipulated, marked))
    assert metrics.image_accuracy(scores, manipulated) == accuracy_score(manipulated, marked)
    expected = roc_auc_score(manipulated, scores)
    assert metrics.image_auc(scores, manipulated) == pytest.approx(expected, abs=1e-12)


def test_image_metrics_of_one_class_and_of_nothing() -> None:
    scores, authentic = np.array([0.2, 0.8]), np.zeros(2, bool)
    assert metrics.image_f1(scores, authentic) is None
    assert metrics.image_auc(scores, authentic) is None
    assert metrics.image_auc(scores, ~authentic) is None
    assert metrics.image_accuracy(scores, authentic) == 0.5
    assert metrics.image_accuracy(scores[:0], authentic[:0]) is None
    with pytest.raises(ValueError, match="NaN"):
        metrics.image_auc(np.array([0.2, np.nan]), authentic)


def test_bootstrap_interval_holds_the_mean_and_narrows_with_more_images() -> None:
    values = np.random.default_rng(0).random(400)
    few, many = metrics.bootstrap_interval(values[:25]), metrics.bootstrap_interval(values)
    assert few is not None
    assert many is not None
    assert many[0] < values.mean() < many[1]
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    # The normal approximation of the mean of 400 uniform values.
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_bootstrap_interval_is_repeatable_in_any_order_and_ignores_none() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 0.7]
    interval = metrics.bootstrap_interval(values)
    assert metrics.bootstrap_interval([*reversed(values), None]) == interval
    assert metrics.bootstrap_interval(values, seed=1) != interval
    assert metrics.bootstrap_interval([]) is None
    assert metrics.bootstrap_interval([0.25]) is None


def image(name: str, manipulated: bool, score: float, **values: float) -> ImageScores:
    return ImageScores(name, manipulated, score, values.pop("area", 0.0), **values)


def scored_images(seed: int, count: int = 60) -> list[ImageScores]:
    """Informative scores with ties, and pixel F1 of the manipulated ones."""
    generator = np.random.default_rng(seed)
    images = []
    for index in range(count):
        manipulated = bool(index % 3)
        score = round(float(np.clip(generator.normal(0.4 + 0.2 * manipulated, 0.2), 0, 1)), 1)
        f1 = float(generator.random()) if manipulated else None
        area = 0.0 if manipulated else float(generator.integers(0, 3)) / 100
        images.append(image(f"{index}", manipulated, score, area=area, pixel_f1=f1))
    return images


def test_image_statistics_under_resampling_equal_scikit_learn_on_repeated_images() -> None:
    images = scored_images(0)
    statistics = metrics._ImageStatistics(images, 0.5)
    scores = np.array([each.score for each in images])
    truth = np.array([each.manipulated for each in images])
    draws = next(metrics._draws(truth, seed=3))
    values = statistics(draws)
    for draw, value in zip(draws[:20].astype(int), values, strict=False):
        assert draw[truth].sum() == truth.sum()  # the classes are drawn apart
        assert draw.sum() == truth.size
        repeated, labels = np.repeat(scores, draw), np.repeat(truth, draw)
        expected = [
            f1_score(labels, repeated > 0.5),
            accuracy_score(labels, repeated > 0.5),
            roc_auc_score(labels, repeated),
        ]
        assert value == pytest.approx(expected, abs=1e-9)


def test_image_intervals_hold_the_metric_and_have_the_width_of_theory() -> None:
    images = scored_images(1, 600)
    intervals = metrics.image_intervals(images)
    scores = np.array([each.score for each in images])
    truth = np.array([each.manipulated for each in images])
    right = (scores > 0.5) == truth
    low, high = intervals["image_accuracy"] or (1.0, 0.0)
    assert low < right.mean() < high
    variances = [right[truth == kind].var() * (truth == kind).sum() for kind in (True, False)]
    assert high - low == pytest.approx(2 * 1.96 * sum(variances) ** 0.5 / truth.size, rel=0.1)
    low, high = intervals["image_auc"] or (1.0, 0.0)
    assert low < roc_auc_score(truth, scores) < high
    assert metrics.image_intervals(images[::-1]) == intervals


def test_image_intervals_that_tell_nothing_are_none() -> None:
    forged = [image("a", True, 0.9), image("b", True, 0.2)]
    authentic = [image("c", False, 0.1), image("d", False, 0.8)]
    names = ("image_f1", "image_accuracy", "image_auc")
    both = metrics.image_intervals(forged + authentic)
    assert None not in both.values()
    assert metrics.image_intervals(forged)["image_auc"] is None
    assert metrics.image_intervals(forged)["image_f1"] is not None
    assert metrics.image_intervals(authentic)["image_f1"] is None
    assert metrics.image_intervals(authentic)["image_accuracy"] is not None
    assert metrics.image_intervals(forged + authentic[:1]) == dict.fromkeys(names)
    assert metrics.image_intervals([]) == dict.fromkeys(names)


def test_paired_differences_by_hand() -> None:
    first = [
        image("a", True, 0.9, pixel_f1=0.5),
        image("b", True, 0.4, pixel_f1=0.25),
        image("c", False, 0.6, area=0.02),
        image("d", False, 0.1),
    ]
    second = [
        image("a", True, 0.9, pixel_f1=0.75),
        image("b", True, 0.7, pixel_f1=0.75),
        image("c", False, 0.2),
        image("d", False, 0.1),
    ]
    differences = metrics.paired_differences(first, second)
    f1 = differences["pixel_f1"]
    assert (f1.first, f1.second, f1.difference, f1.images) == (0.375, 0.75, 0.375, 2)
    assert f1.interval == (0.25, 0.5)  # of two images both may be the one, or the other
    assert differences["pixel_iou"] == Difference(None, None, None, None, 0)
    alarms = differences["false_alarm_share"]
    assert (alarms.first, alarms.second, alarms.difference, alarms.images) == (0.5, 0, -0.5, 2)
    assert differences["image_accuracy"].difference == 0.5
    assert differences["image_f1"][:2] == pytest.approx((0.5, 1))
    assert differences["image_auc"][:3] == (0.75, 1.0, 0.25)
    assert set(differences) == set(metrics.METRICS)


def test_pairing_narrows_the_interval_of_a_difference() -> None:
    first = scored_images(2)
    better = [
        image(
            each.name, each.manipulated, each.score, pixel_f1=each.pixel_f1 and each.pixel_f1 + 0.1
        )
        for each in first
    ]
    difference = metrics.paired_differences(first, better)["pixel_f1"]
    assert difference.interval == pytest.approx((0.1, 0.1))
    alone = metrics.bootstrap_interval(each.pixel_f1 for each in first)
    assert alone is not None
    assert alone[1] - alone[0] > 0.1


def test_paired_differences_of_the_same_and_in_any_order() -> None:
    first, second = scored_images(3), scored_images(4)
    same = metrics.paired_differences(first, first)
    assert same["pixel_f1"].interval == (0, 0)
    assert same["image_auc"].interval == (0, 0)
    expected = metrics.paired_differences(first, second)
    order = np.random.default_rng(0).permutation(len(first))
    shuffled = metrics.paired_differences(
        [first[index] for index in order], [second[index] for index in order]
    )
    assert shuffled == expected
    back = metrics.paired_differences(second, first)["image_auc"]
    assert back.difference == -(expected["image_auc"].difference or 0)


def test_paired_differences_need_the_same_images() -> None:
    with pytest.raises(ValueError, match="not of the same images"):
        metrics.paired_differences([image("a", True, 0.5)], [image("a", False, 0.5)])
    with pytest.raises(ValueError, match="not of the same images"):
        metrics.paired_differences([image("a", True, 0.5)], [])


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

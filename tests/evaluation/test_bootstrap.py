"""Intervals against theory, scikit-learn, and cases computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from fasa_cli.evaluation import bootstrap, metrics
from fasa_cli.evaluation.bootstrap import Difference
from fasa_cli.results import ImageScores


def test_bootstrap_interval_holds_the_mean_and_narrows_with_more_images() -> None:
    values = np.random.default_rng(0).random(400)
    few, many = bootstrap.bootstrap_interval(values[:25]), bootstrap.bootstrap_interval(values)
    assert few is not None
    assert many is not None
    assert many[0] < values.mean() < many[1]
    assert few[1] - few[0] > 2 * (many[1] - many[0])
    # The normal approximation of the mean of 400 uniform values.
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_bootstrap_interval_is_repeatable_in_any_order_and_ignores_none() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 0.7]
    interval = bootstrap.bootstrap_interval(values)
    assert bootstrap.bootstrap_interval([*reversed(values), None]) == interval
    assert bootstrap.bootstrap_interval(values, seed=1) != interval
    assert bootstrap.bootstrap_interval([]) is None
    assert bootstrap.bootstrap_interval([0.25]) is None


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
    statistics = bootstrap._ImageStatistics(images, 0.5)
    scores = np.array([each.score for each in images])
    truth = np.array([each.manipulated for each in images])
    draws = next(bootstrap._draws(truth, seed=3))
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
    intervals = bootstrap.image_intervals(images)
    scores = np.array([each.score for each in images])
    truth = np.array([each.manipulated for each in images])
    right = (scores > 0.5) == truth
    low, high = intervals["image_accuracy"] or (1.0, 0.0)
    assert low < right.mean() < high
    variances = [right[truth == kind].var() * (truth == kind).sum() for kind in (True, False)]
    assert high - low == pytest.approx(2 * 1.96 * sum(variances) ** 0.5 / truth.size, rel=0.1)
    low, high = intervals["image_auc"] or (1.0, 0.0)
    assert low < roc_auc_score(truth, scores) < high
    assert bootstrap.image_intervals(images[::-1]) == intervals


def test_image_intervals_that_tell_nothing_are_none() -> None:
    forged = [image("a", True, 0.9), image("b", True, 0.2)]
    authentic = [image("c", False, 0.1), image("d", False, 0.8)]
    names = ("image_f1", "image_accuracy", "image_auc")
    both = bootstrap.image_intervals(forged + authentic)
    assert None not in both.values()
    assert bootstrap.image_intervals(forged)["image_auc"] is None
    assert bootstrap.image_intervals(forged)["image_f1"] is not None
    assert bootstrap.image_intervals(authentic)["image_f1"] is None
    assert bootstrap.image_intervals(authentic)["image_accuracy"] is not None
    assert bootstrap.image_intervals(forged + authentic[:1]) == dict.fromkeys(names)
    assert bootstrap.image_intervals([]) == dict.fromkeys(names)


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
    differences = bootstrap.paired_differences(first, second)
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
    difference = bootstrap.paired_differences(first, better)["pixel_f1"]
    assert difference.interval == pytest.approx((0.1, 0.1))
    alone = bootstrap.bootstrap_interval(each.pixel_f1 for each in first)
    assert alone is not None
    assert alone[1] - alone[0] > 0.1


def test_paired_differences_of_the_same_and_in_any_order() -> None:
    first, second = scored_images(3), scored_images(4)
    same = bootstrap.paired_differences(first, first)
    assert same["pixel_f1"].interval == (0, 0)
    assert same["image_auc"].interval == (0, 0)
    expected = bootstrap.paired_differences(first, second)
    order = np.random.default_rng(0).permutation(len(first))
    shuffled = bootstrap.paired_differences(
        [first[index] for index in order], [second[index] for index in order]
    )
    assert shuffled == expected
    back = bootstrap.paired_differences(second, first)["image_auc"]
    assert back.difference == -(expected["image_auc"].difference or 0)


def test_paired_differences_need_the_same_images() -> None:
    with pytest.raises(ValueError, match="not of the same images"):
        bootstrap.paired_differences([image("a", True, 0.5)], [image("a", False, 0.5)])
    with pytest.raises(ValueError, match="not of the same images"):
        bootstrap.paired_differences([image("a", True, 0.5)], [])

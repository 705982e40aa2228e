"""Every formula against scikit-learn or a case computed by hand, and every edge case."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, roc_auc_score

from fasa_cli.evaluation import metrics
from fasa_cli.evaluation.metrics import Confusion
from fasa_cli.evaluation.set_metrics import SetMetrics

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

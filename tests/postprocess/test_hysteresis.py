"""Hysteresis for all thresholds at once, against SciPy's labels at one."""

import numpy as np
import pytest
import scipy.ndimage

from fasa_cli.postprocess import hysteresis as module
from fasa_cli.postprocess.hysteresis import CELL, apply_hysteresis


def logit(probability):
    return np.log(probability / (1 - probability))


def smooth_map(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """Probabilities of cells: hills of many heights."""
    field = np.random.default_rng(seed).normal(size=(rows, columns))
    for axis in (0, 1):
        field = (np.roll(field, 1, axis) + field + np.roll(field, -1, axis)) / 1.5
    return (1 / (1 + np.exp(-2 * field))).astype(np.float32)


def hysteresis(logits, low, high):
    """What is above `low` and connected, by corners too, to something above `high`."""
    labels, _ = scipy.ndimage.label(logits > low, structure=np.ones((3, 3)))
    return (labels > 0) & np.isin(labels, labels[logits > high])


@pytest.mark.parametrize("height", [0.5, 2.0])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_it_is_hysteresis_at_every_threshold(height, threshold):
    cells = smooth_map(40, 55)
    pixels = cells.repeat(CELL, 0).repeat(CELL, 1)
    apply_hysteresis(pixels, height)
    lowered = pixels[::CELL, ::CELL]
    np.testing.assert_array_equal(lowered.repeat(CELL, 0).repeat(CELL, 1), pixels)
    low = logit(threshold)
    expected = hysteresis(logit(cells), low, low + height)
    np.testing.assert_array_equal(lowered > threshold, expected)
    assert 0 < expected.sum() < (cells > threshold).sum()


def test_within_a_cell_weaker_pixels_stay_weaker():
    pixels = np.full((9, 13), 0.1, np.float32)
    pixels[1, 1], pixels[2, 2] = 0.9, 0.3
    before = pixels.copy()
    apply_hysteresis(pixels, 1.0)
    assert (pixels <= before).all()
    assert pixels[2, 2] == before[2, 2]
    assert logit(pixels[1, 1]) == pytest.approx(logit(0.9) - 1, abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (1030, 3)])
def test_any_size(size):
    pixels = np.random.default_rng(0).random(size).astype(np.float32)
    before = pixels.copy()
    apply_hysteresis(pixels, 0.5)
    assert np.isfinite(pixels).all()
    assert (pixels <= before).all()
    assert (pixels < before).any()


def test_certainty_stays_finite():
    pixels = np.array([[0.0, 1.0]], np.float32).repeat(8, 0).repeat(8, 1)
    apply_hysteresis(pixels, 2.0)
    assert pixels.max() > 0.99
    assert pixels.min() == 0


def test_mazes_get_the_same_answer(monkeypatch):
    """A path of 200 cells winds from one peak through a quarter of the map."""
    cells = np.full((33, 12), 0.1, np.float32)
    for row in range(0, 33, 2):
        cells[row] = 0.6
        cells[row - 1, (row // 2 % 2) * 11] = 0.6
    cells[0, 0] = 0.9
    answers = []
    for passes in (1000, 3):
        monkeypatch.setattr(module, "_PASSES", passes)
        answers.append(cells.repeat(CELL, 0).repeat(CELL, 1))
        apply_hysteresis(answers[-1], 1.0)
    np.testing.assert_array_equal(answers[0], answers[1])
    assert answers[0][-1, -1] == np.float32(0.6)  # all of the path is connected to its peak

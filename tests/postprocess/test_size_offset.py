"""One threshold for photos of all sizes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_cli.config import PostprocessConfig
from fasa_cli.postprocess.size_offset import add_offset, offset_for_size

OFFSETS = ((0.1, 2.0), (0.4, 1.0), (4.0, 0.0))


@pytest.mark.parametrize(
    ("megapixels", "expected"),
    [(0.01, 2.0), (0.1, 2.0), (0.2, 1.5), (0.4, 1.0), (0.4 * 10**0.25, 0.75), (4, 0.0), (90, 0.0)],
)
def test_between_two_sizes_it_is_straight_in_their_logarithm(megapixels, expected):
    assert offset_for_size(OFFSETS, round(megapixels * 1e6)) == pytest.approx(expected, abs=1e-4)


def test_without_pairs_nothing_is_added():
    assert offset_for_size((), 1000) == 0


@given(st.floats(1e-4, 1 - 1e-4), st.floats(-6, 6))
def test_the_constant_is_added_to_the_logit(probability, offset):
    changed = np.full((2, 3), probability, np.float32)
    add_offset(changed, offset)
    expected = 1 / (1 + math.exp(-(math.log(probability / (1 - probability)) + offset)))
    np.testing.assert_allclose(changed, expected, rtol=1e-3, atol=1e-6)


def test_certain_pixels_stay_certain():
    changed = np.array([[0.0, 1.0]], np.float32)
    add_offset(changed, 3)
    np.testing.assert_array_equal(changed, [[0, 1]])


@pytest.mark.parametrize("offsets", [((0.4, 1), (0.1, 2)), ((0.1, 1), (0.1, 2)), ((0, 1),)])
def test_sizes_must_grow(offsets):
    with pytest.raises(ValueError, match="megapixels"):
        PostprocessConfig(size_offsets=offsets)

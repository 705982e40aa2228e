"""Manipulations change what their mask says, and nothing far from it."""

import cv2
import numpy as np
import pytest

from fasa_cli.data import manipulations
from tests.data.test_synthesis import textured


@pytest.mark.parametrize("kind", ["copy_move", "removal", "local", "denoise", "superres"])
def test_what_is_far_from_the_mask_is_untouched(kind):
    maker = getattr(manipulations, {"local": "local_change"}.get(kind, kind))
    window = textured(7, (128, 128))
    changed_inside = 0
    for seed in range(20):
        forged, mask = maker(window, None, np.random.default_rng(seed))
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
        np.testing.assert_array_equal(forged[~near], window[~near])
        changed_inside += (forged[mask] != window[mask]).any()
    assert changed_inside >= 18


def test_a_paste_changes_only_the_neighbourhood_of_its_mask():
    window, donor = textured(8, (128, 128)), textured(9, (60, 50))
    region = np.zeros((60, 50), bool)
    region[10:50, 10:40] = True
    for seed in range(20):
        forged, mask = manipulations.paste(window, donor, region, np.random.default_rng(seed))
        near = cv2.dilate(mask.astype(np.uint8), np.ones((31, 31), np.uint8)).astype(bool)
        if mask.any():
            np.testing.assert_array_equal(forged[~near], window[~near])


def test_copy_move_without_change_is_an_exact_copy():
    """With nothing drawn but the place, the copied pixels are the source's."""
    window = textured(3, (96, 96))
    patch = window[10:30, 20:50]
    forged, mask = manipulations.blend(window, patch, np.ones((20, 30), np.float32), 60, 5)
    np.testing.assert_array_equal(forged[60:80, 5:35], patch)
    assert mask.sum() == 600
    np.testing.assert_array_equal(window, textured(3, (96, 96)))  # the host is not written into


def test_blending_is_clipped_at_the_border():
    window = textured(3, (40, 40))
    patch = np.full((20, 20, 3), 200, np.uint8)
    opaque = np.ones((20, 20), np.float32)
    forged, mask = manipulations.blend(window, patch, opaque, -10, 30)
    assert mask.sum() == 100
    assert (forged[:10, 30:] == 200).all()
    _, outside = manipulations.blend(window, patch, opaque, 50, 0)
    assert not outside.any()


def test_a_part_with_borders_of_its_own_is_replaced():
    window = np.zeros((128, 128, 3), np.uint8)
    window[:60] = 200
    behind, upper = textured(4, (80, 90)), 0
    for seed in range(20):
        forged, mask = manipulations.replace(window, behind, np.random.default_rng(seed))
        upper += mask[:55].mean() > 0.95 and mask[65:].mean() < 0.05
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool)
        np.testing.assert_array_equal(forged[~near], window[~near])
        assert (forged[mask] != window[mask]).any()
    assert upper >= 5

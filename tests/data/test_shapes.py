"""Regions to change: of a fitting size, inside, and where they are meant to be."""

import numpy as np

from fasa_cli.data import shapes


def test_a_natural_region_follows_the_picture():
    window = np.full((120, 200, 3), 40, np.uint8)
    window[30:90, 40:120] += 150
    found = [shapes.natural_region(window, np.random.default_rng(seed)) for seed in range(10)]
    box = np.zeros((120, 200), bool)
    box[30:90, 40:120] = True
    overlap = [(region & box).sum() / (region | box).sum() for region in found]
    assert max(overlap) > 0.8
    assert all(region.shape == (120, 200) and region.mean() < 0.42 for region in found)


def test_without_a_segment_of_a_fitting_size_a_region_is_any_shape():
    region = shapes.natural_region(np.zeros((64, 64, 3), np.uint8), np.random.default_rng(0))
    assert 0 < region.mean() < 0.5


def test_random_regions_are_inside_and_mostly_small():
    shares = [
        shapes.random_region((100, 140), np.random.default_rng(seed)).mean() for seed in range(200)
    ]
    assert min(shares) > 0
    assert max(shares) < 0.75
    assert np.median(shares) < 0.15


def test_large_regions_are_rerendered_in_part():
    region = np.zeros((900, 1200), bool)
    region[50:850, 100:1100] = True
    kept = shapes.within_box(region, 200)
    assert kept.sum() == 200 * 200
    assert kept[450, 600]
    np.testing.assert_array_equal(shapes.within_box(region, 2000), region)

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy import ndimage
from skimage import draw, measure

from fasa_cli.imaging.regions import decode_rle, encode_rle, find_regions, polygons, with_shapes
from fasa_cli.results import Region, Rle


def blobs(seed: int, shape: tuple[int, int], sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def reference_regions(probabilities: np.ndarray, threshold: float) -> list[Region]:
    """The same answer from scikit-image, one region at a time."""
    labels = measure.label(probabilities > threshold, connectivity=2)
    regions = []
    for found in measure.regionprops(labels, intensity_image=probabilities):
        top, left, bottom, right = found.bbox
        scores = probabilities[labels == found.label]
        box = (left, top, right - left, bottom - top)
        mean = float(scores.mean(dtype=np.float64))
        regions.append(Region(box, int(found.area), mean, float(scores.max())))
    return sorted(regions, key=lambda region: (-region.area, region.box))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    ("shape", "sigma"), [((60, 80), 1.0), ((33, 101), 4.0), ((1, 40), 1), ((40, 1), 1)]
)
def test_regions_agree_with_scikit_image(
    shape: tuple[int, int], sigma: float, threshold: float
) -> None:
    probabilities = blobs(3, shape, sigma)
    regions = find_regions(probabilities, threshold)
    expected = reference_regions(probabilities, threshold)
    assert len(regions) == len(expected)
    for region, reference in zip(regions, expected, strict=True):
        assert (region.box, region.area) == (reference.box, reference.area)
        assert region.peak_score == reference.peak_score
        assert region.mean_score == pytest.approx(reference.mean_score, abs=1e-9)


def test_scores_agree_with_scipy() -> None:
    probabilities = blobs(5, (64, 64), 2.0)
    labels, count = ndimage.label(probabilities > 0.5, structure=np.ones((3, 3)))
    index = range(1, count + 1)
    expected = sorted(
        zip(
            ndimage.sum(labels > 0, labels, index),
            ndimage.maximum(probabilities, labels, index),
            strict=True,
        )
    )
    regions = find_regions(probabilities, 0.5)
    assert sorted((r.area, r.peak_score) for r in regions) == expected


def test_order_is_area_then_box_and_limit_keeps_the_largest() -> None:
    probabilities = np.zeros((20, 20), np.float32)
    probabilities[10:12, 0:2] = 0.9
    probabilities[0:2, 10:12] = 0.8
    probabilities[4:9, 4:9] = 0.7
    probabilities[15, 15] = 1.0
    regions = find_regions(probabilities, 0.5)
    assert [r.box for r in regions] == [(4, 4, 5, 5), (0, 10, 2, 2), (10, 0, 2, 2), (15, 15, 1, 1)]
    assert [r.area for r in regions] == [25, 4, 4, 1]
    assert find_regions(probabilities, 0.5, limit=2) == regions[:2]
    assert find_regions(probabilities, 0.5, limit=0) == ()


def test_diagonal_neighbours_are_one_region() -> None:
    probabilities = np.eye(5, dtype=np.float32)
    (region,) = find_regions(probabilities, 0.5)
    assert region == Region((0, 0, 5, 5), 5, 1.0, 1.0)


def test_threshold_itself_is_not_marked() -> None:
    assert find_regions(np.full((4, 4), 0.5, np.float32), 0.5) == ()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (3, 3)])
def test_nothing_marked_is_no_region(shape: tuple[int, int]) -> None:
    assert find_regions(np.zeros(shape, np.float32), 0.5) == ()


def test_everything_marked_is_one_region() -> None:
    assert find_regions(np.ones((3, 7), np.float32), 0.5) == (Region((0, 0, 7, 3), 21, 1.0, 1.0),)


def test_a_mean_never_exceeds_its_peak() -> None:
    probabilities = np.full((101, 103), 0.7, np.float32)
    (region,) = find_regions(probabilities, 0.5)
    assert region.mean_score <= region.peak_score == float(np.float32(0.7))


def test_values_are_plain_python_for_json() -> None:
    (region,) = find_regions(np.ones((2, 2), np.float32), 0.5)
    values = (*region.box, region.area, region.mean_score, region.peak_score)
    assert [type(value) for value in values] == [int] * 5 + [float] * 2


def test_many_regions_are_found_quickly() -> None:
    """A Python loop over masks would take minutes here."""
    probabilities = np.zeros((1000, 1000), np.float32)
    probabilities[::4, ::4] = 0.9
    assert len(find_regions(probabilities, 0.5)) == 250 * 250


# --- Shapes ---------------------------------------------------------------------------------


def random_masks(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(7)
    shapes = random.integers(1, 20, (count, 2))
    shares = random.choice([0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0], count)
    return [random.random(shape) < share for shape, share in zip(shapes, shares, strict=True)]


MASKS = random_masks(120)


def test_rle_is_what_pycocotools_writes_and_reads() -> None:
    for mask in [*MASKS, blobs(1, (300, 200), 6.0) > 0.5]:
        rle = encode_rle(mask, (0, 0), mask.shape)
        expected = coco.encode(np.asfortranarray(mask, np.uint8))
        assert (list(rle.size), rle.counts) == (expected["size"], expected["counts"].decode())
        np.testing.assert_array_equal(decode_rle(rle), mask)


def test_rle_of_a_crop_is_that_of_the_whole() -> None:
    for mask in MASKS[:40]:
        whole = np.zeros((40, 50), bool)
        whole[11 : 11 + mask.shape[0], 23 : 23 + mask.shape[1]] = mask
        assert encode_rle(mask, (23, 11), whole.shape) == encode_rle(whole, (0, 0), whole.shape)


def test_long_runs_survive() -> None:
    """Counts above 2 ** 20 take five characters and more."""
    mask = np.zeros((3000, 4000), bool)
    mask[2990:, 3990:] = True
    rle = encode_rle(mask[2990:, 3990:], (3990, 2990), mask.shape)
    assert rle.counts == coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()
    np.testing.assert_array_equal(decode_rle(rle), mask)


@pytest.mark.parametrize("counts", ["", "!", "3", "o", "\x7f", "oooooooooooooooo0", "é"])
def test_damaged_rle_is_refused(counts: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_rle(Rle((3, 4), counts))


@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0])
def test_shapes_are_the_regions_pixels_holes_included(sigma: float) -> None:
    probabilities = blobs(9, (50, 70), sigma)
    mask = probabilities > 0.5
    regions = with_shapes(find_regions(probabilities, 0.5), mask)
    assert len(regions) > 1
    together = np.zeros(mask.shape, int)
    for region in regions:
        assert region.rle is not None
        encoded = {"size": list(region.rle.size), "counts": region.rle.counts}
        assert coco.area(encoded) == region.area
        assert tuple(coco.toBbox(encoded)) == region.box
        together += coco.decode(encoded)
    np.testing.assert_array_equal(together, mask)


def test_a_region_within_the_hole_of_another_is_told_apart() -> None:
    probabilities = np.zeros((9, 9), np.float32)
    probabilities[:] = 0.9
    probabilities[1:8, 1:8] = 0.0
    probabilities[3:6, 3:6] = 0.8
    ring, dot = with_shapes(find_regions(probabilities, 0.5), probabilities > 0.5)
    np.testing.assert_array_equal(decode_rle(ring.rle), probabilities > 0.85)
    assert (decode_rle(dot.rle).sum(), dot.area) == (9, 9)


# --- Outlines -------------------------------------------------------------------------------


def signed_area(ring: list[tuple[int, int]]) -> float:
    x, y = np.array(ring, float).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def filled(rings: list[list[tuple[int, int]]], shape: tuple[int, ...]) -> np.ndarray:
    """Even-odd filling at the centres of pixels, by scikit-image."""
    inside = np.zeros(shape, bool)
    for ring in rings:
        corners = np.array(ring, float)[:, ::-1] - 0.5
        inside ^= draw.polygon2mask(shape, corners)
    return inside


def test_polygons_are_exact_simple_and_keep_holes() -> None:
    for mask in MASKS:
        parts = polygons(mask)
        assert len(parts) == ndimage.label(mask)[1]
        np.testing.assert_array_equal(
            filled([ring for part in parts for ring in part], mask.shape), mask
        )
        for outer, *holes in parts:
            assert signed_area(outer) > 0
            assert all(signed_area(hole) < 0 for hole in holes)
            for ring in (outer, *holes):
                assert ring[0] == ring[-1]
                assert len(set(ring)) == len(ring) - 1  # it never touches itself


def test_a_square_with_a_hole() -> None:
    mask = np.ones((4, 5), bool)
    mask[1:3, 2:4] = False
    ((outer, hole),) = polygons(mask)
    assert set(outer) == {(0, 0), (5, 0), (5, 4), (0, 4)}
    assert set(hole) == {(2, 1), (4, 1), (4, 3), (2, 3)}

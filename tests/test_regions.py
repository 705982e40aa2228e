import numpy as np
import pytest
from scipy import ndimage
from skimage import measure

from fasa_cli.regions import find_regions
from fasa_cli.results import Region


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

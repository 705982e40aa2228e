import numpy as np
import pytest
from skimage import color

from fasa_cli.rendering import heat_map, overlay


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)


def test_heat_map_goes_from_dark_blue_to_yellow_in_rgb() -> None:
    colours = heat_map(np.array([[0.0, 1.0]], np.float32))
    assert colours.shape == (1, 2, 3)
    assert colours.dtype == np.uint8
    np.testing.assert_allclose(colours[0, 0], (68, 1, 84), atol=2)
    np.testing.assert_allclose(colours[0, 1], (253, 231, 37), atol=2)


def test_heat_map_lightness_rises_evenly() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    lightness = color.rgb2lab(heat_map(ramp))[0, :, 0]
    assert np.corrcoef(lightness, ramp[0])[0, 1] > 0.999
    assert (np.diff(lightness[::8]) > 0).all()


def test_overlay_leaves_the_photo_alone_where_nothing_is_found() -> None:
    image = photo(50, 70)
    probabilities = np.zeros((50, 70), np.float32)
    np.testing.assert_array_equal(overlay(image, probabilities, 0.5), image)


def test_overlay_mixes_by_probability_times_alpha() -> None:
    image = photo(40, 40)
    probabilities = np.random.default_rng(1).random((40, 40), dtype=np.float32)
    weight = 0.4 * probabilities[:, :, None]
    expected = (1 - weight) * image + weight * heat_map(probabilities)
    mixed = overlay(image, probabilities, threshold=1.0, alpha=0.4)  # nothing above: no contour
    np.testing.assert_allclose(mixed, expected, atol=0.51)


def test_contour_is_a_white_line_with_a_dark_rim_on_the_inner_edge() -> None:
    image = np.full((60, 60, 3), 120, np.uint8)
    probabilities = np.zeros((60, 60), np.float32)
    probabilities[20:40, 10:50] = 1.0
    drawn = overlay(image, probabilities, 0.5, alpha=0.0)
    white = (drawn == 255).all(axis=2)
    outline = np.zeros((60, 60), bool)
    outline[20:40, 10:50] = True
    outline[21:39, 11:49] = False
    np.testing.assert_array_equal(white, outline)
    assert (drawn[19, 10:50] < 50).all()
    assert (drawn[21, 11:49] < 50).all()
    assert (drawn[18] == 120).all()
    assert (drawn[22:38, 13:47] == 120).all()


def test_overlay_of_a_mirrored_input_is_the_mirrored_overlay() -> None:
    image, probabilities = photo(37, 53), np.zeros((37, 53), np.float32)
    probabilities[5:20, 30:44] = 0.8
    drawn = overlay(image, probabilities, 0.5)
    for flip in (np.fliplr, np.flipud, np.rot90):
        np.testing.assert_array_equal(overlay(flip(image), flip(probabilities), 0.5), flip(drawn))


def test_line_grows_with_the_image() -> None:
    def white_rows(side: int) -> int:
        probabilities = np.zeros((side, 40), np.float32)
        probabilities[side // 2 :] = 1.0
        drawn = overlay(np.zeros((side, 40, 3), np.uint8), probabilities, 0.5, alpha=0.0)
        column = (drawn[: side - 100, 20] == 255).all(axis=1)
        return int(column.sum())

    assert [white_rows(side) for side in (400, 1500, 4000)] == [1, 3, 9]


def test_a_fully_marked_image_is_framed() -> None:
    drawn = overlay(np.zeros((30, 30, 3), np.uint8), np.ones((30, 30), np.float32), 0.5, alpha=0.0)
    border = np.ones((30, 30), bool)
    border[1:-1, 1:-1] = False
    np.testing.assert_array_equal((drawn == 255).all(axis=2), border)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_smallest_images(shape: tuple[int, int], probability: float) -> None:
    drawn = overlay(photo(*shape), np.full(shape, probability, np.float32), 0.5)
    assert drawn.shape == (*shape, 3)
    assert drawn.dtype == np.uint8
    assert (drawn == 255).all() == bool(probability)


def test_inputs_are_not_changed() -> None:
    image, probabilities = photo(20, 20), np.full((20, 20), 0.7, np.float32)
    before = image.copy()
    overlay(image, probabilities, 0.5)
    np.testing.assert_array_equal(image, before)
    assert (probabilities == np.float32(0.7)).all()


def test_sizes_that_differ_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        overlay(photo(4, 5), np.zeros((5, 4), np.float32), 0.5)

import numpy as np
import pytest

from fasa_cli.imaging.rendering import (
    COLORMAPS,
    contour,
    heat_map,
    overlay,
    side_by_side,
    with_scale,
)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 200, (height, width, 3), dtype=np.uint8)


def test_heat_map_goes_from_dark_blue_to_yellow_in_rgb() -> None:
    colours = heat_map(np.array([[0.0, 1.0]], np.float32))
    assert colours.shape == (1, 2, 3)
    assert colours.dtype == np.uint8
    np.testing.assert_allclose(colours[0, 0], (68, 1, 84), atol=2)
    np.testing.assert_allclose(colours[0, 1], (253, 231, 37), atol=2)


# Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB.
AS_SEEN_WITH = {
    "full colour vision": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


@pytest.mark.parametrize("vision", AS_SEEN_WITH)
@pytest.mark.parametrize("colormap", COLORMAPS)
def test_heat_map_lightness_rises_evenly_to_every_eye(colormap: str, vision: str) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    colours = heat_map(ramp, colormap)[0] / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = (linear @ AS_SEEN_WITH[vision].T).clip(0, 1) @ (0.2126, 0.7152, 0.0722)
    lightness = np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)
    assert np.corrcoef(lightness, ramp[0])[0, 1] > 0.98
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


def test_a_contour_alone_leaves_every_other_pixel() -> None:
    image, mask = photo(50, 60), np.zeros((50, 60), bool)
    mask[10:30, 20:45] = True
    drawn = contour(image, mask)
    changed = (drawn != image).any(axis=2)
    near = np.zeros((50, 60), bool)
    near[9:31, 19:46] = True
    near[12:28, 22:43] = False
    assert changed.any()
    assert not (changed & ~near).any()


def test_side_by_side_keeps_both_pictures() -> None:
    left, right = photo(30, 50, 1), photo(30, 50, 2)
    pair = side_by_side(left, right)
    np.testing.assert_array_equal(pair[:, :50], left)
    np.testing.assert_array_equal(pair[:, -50:], right)


@pytest.mark.parametrize("shape", [(400, 600), (1, 1), (5, 40), (3000, 20)])
def test_the_scale_bar_stands_below_and_touches_nothing(shape: tuple[int, int]) -> None:
    picture = photo(*shape)
    scaled = with_scale(picture, 0.5)
    np.testing.assert_array_equal(scaled[: shape[0]], picture)
    assert scaled.shape[0] > shape[0]
    assert scaled.shape[1:] == (shape[1], 3)


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_the_scale_bar_shows_the_colours_and_the_thresholds_place(colormap: str) -> None:
    picture = np.zeros((400, 600, 3), np.uint8)
    strip = with_scale(picture, 0.25, colormap)[400:]
    other = with_scale(picture, 0.75, colormap)[400:]
    bar = strip[len(strip) // 2 - 5]
    first, last = heat_map(np.array([[0, 1]], np.float32), colormap)[0]
    ends = np.flatnonzero((bar != 255).any(axis=1))[[0, -1]]
    np.testing.assert_array_equal(bar[ends], [first, last])
    moved = np.flatnonzero((strip != other).any(axis=(0, 2)))
    width = ends[1] - ends[0]
    assert moved.min() <= ends[0] + 0.25 * width <= moved.max()
    tick = (bar == (24, 24, 24)).all(axis=1)
    assert abs(np.flatnonzero(tick).mean() - (ends[0] + 0.25 * width)) <= 1.5

"""The JPEG grid's phase and bars, on pictures made with known ones."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasa_cli.assets import shipped_examples
from fasa_cli.imaging import degradations
from fasa_cli.imaging.decode import read_image
from fasa_cli.imaging.framing import find_frame, jpeg_phase
from fasa_cli.results import Frame


def scene(height: int = 256, width: int = 320, seed: int = 0) -> np.ndarray:
    """Shapes and texture that were never compressed."""
    generator = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 120, np.float32)
    for _ in range(25):
        centre = (int(generator.integers(width)), int(generator.integers(height)))
        colour = generator.uniform(30, 220, 3).tolist()
        cv2.circle(picture, centre, int(generator.integers(8, 60)), colour, -1, cv2.LINE_AA)
    texture = cv2.GaussianBlur(generator.normal(size=picture.shape), (0, 0), 1.0) * 25
    return (picture + texture).clip(0, 255).astype(np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(50, 97))
def test_the_grid_is_found_wherever_the_picture_is_cut(down, right, quality):
    cut = np.ascontiguousarray(degradations.jpeg(scene(), quality)[down:, right:])
    assert jpeg_phase(cut) == (-down % 8, -right % 8)


@pytest.mark.parametrize("seed", range(5))
def test_what_was_never_compressed_has_no_grid(seed):
    assert jpeg_phase(scene(seed=seed)) is None


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (15, 15), (300, 9)])
def test_small_and_flat_pictures_have_no_grid_and_no_bars(size):
    flat = np.full((*size, 3), 77, np.uint8)
    assert find_frame(flat) == Frame(0, size[0], 0, size[1])


@pytest.mark.parametrize("quality", [None, 90])
@pytest.mark.parametrize("margins", [(30, 30, 0, 0), (0, 0, 25, 40), (20, 44, 12, 8)])
def test_bars_of_one_colour_are_cut_off(margins, quality):
    picture = cv2.copyMakeBorder(scene(), *margins, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    if quality:
        picture = degradations.jpeg(picture, quality)
    top, below, left, right = margins
    frame = find_frame(picture)
    found = (frame.top, picture.shape[0] - frame.bottom, frame.left, picture.shape[1] - frame.right)
    np.testing.assert_allclose(found, (top, below, left, right), atol=1)


@pytest.mark.parametrize("name", ["camera.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg"])
def test_photos_without_bars_keep_every_line(name):
    pixels = read_image(shipped_examples() / "authentic" / name).pixels
    assert find_frame(pixels).box == (0, 0, pixels.shape[1], pixels.shape[0])


def test_the_margin_takes_the_picture_to_the_start_of_its_grid():
    assert Frame(0, 10, 0, 10, (5, 3)).margin == (3, 5)
    assert Frame(0, 10, 0, 10, (0, 0)).margin == Frame(0, 10, 0, 10).margin == (0, 0)

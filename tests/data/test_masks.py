"""What marks a pixel in each convention, and masks that lie on their side."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.masks import mark, read_mask, turn_to_fit
from fasa_cli.errors import DatasetError, ImageError

LEVELS = np.repeat(np.array([[0, 1, 127, 128, 255]], np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("convention", "marked"),
    [("bright", "00011"), ("nonzero", "01111"), ("dark", "11100")],
)
def test_grey_conventions(convention, marked) -> None:
    assert "".join(str(int(value)) for value in mark(LEVELS, convention, "m")[0]) == marked


def test_green_parts_are_the_pasted_ones_in_either_tone() -> None:
    colours = [(0, 255, 0), (0, 200, 0), (255, 0, 0), (200, 0, 0), (3, 190, 9), (190, 3, 2)]
    marked = mark(np.array([colours], np.uint8), "green", "m")
    assert marked.tolist() == [[True, True, False, False, True, False]]


def test_zeros_and_ones_are_refused_where_bright_is_expected() -> None:
    with pytest.raises(DatasetError, match=r"m: .*highest value is 1"):
        mark(LEVELS[:, :2], "bright", "m")


def test_nonzero_ignores_what_compression_leaves_around_edges(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[9:23, 11:21] = 255
    Image.fromarray(mask).save(tmp_path / "a.jpg", quality=40)
    assert np.asarray(Image.open(tmp_path / "a.jpg"))[8:24, 6:10].max() > 0  # it does leave some
    assert (read_mask(tmp_path / "a.jpg", "nonzero") == (mask > 0)).mean() > 0.99


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([[[0, 3], [1, 0]]]))
    assert read_mask(tmp_path / "a.npz").tolist() == [[False, True], [True, False]]
    np.savez(tmp_path / "b.npz", np.zeros(4))
    with pytest.raises(DatasetError, match=r"b\.npz.*two dimensions"):
        read_mask(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"no archive")
    with pytest.raises(ImageError, match=r"c\.npz"):
        read_mask(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("turn", "how"),
    [
        (lambda mask: np.rot90(mask, 3), "turned a quarter to the left"),
        (lambda mask: np.rot90(mask, 1), "turned a quarter to the right"),
        (lambda mask: mask.T, "transposed"),
        (lambda mask: mask[::-1, ::-1].T, "transposed about the other diagonal"),
    ],
)
def test_a_mask_on_its_side_is_turned_to_where_the_picture_changes(turn, how) -> None:
    truth = np.zeros((60, 90), bool)
    truth[5:25, 12:40] = True
    image = np.random.default_rng(0).normal(90, 4, (60, 90, 3))
    image[truth] += 80
    image = cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (3, 3), 0)
    mask, done = turn_to_fit(np.ascontiguousarray(turn(truth)), image)
    assert done == how
    np.testing.assert_array_equal(mask, truth)

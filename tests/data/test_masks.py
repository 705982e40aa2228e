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


def painted(tmp_path: Path, colour: tuple[int, ...], ground: tuple[int, ...], mode: str) -> Path:
    """A mask whose square (5/32 x 1) is painted on a ground."""
    picture = Image.new(mode, (32, 32), ground)
    picture.paste(colour, (3, 5, 13, 21))
    picture.save(tmp_path / "m.png")
    return tmp_path / "m.png"


SQUARE = 10 * 16 / 32**2


@pytest.mark.parametrize(
    ("colour", "ground", "mode"),
    [
        ((255, 0, 0), (0, 0, 0), "RGB"),  # as labelme paints
        ((0, 0, 255), (0, 0, 0), "RGB"),
        ((255, 255, 255, 255), (255, 255, 255, 0), "RGBA"),  # white paint on nothing
        ((255, 255, 255, 255), (0, 0, 0, 0), "RGBA"),
        ((0, 0, 0, 255), (0, 0, 0, 0), "RGBA"),
        ((255, 255), (0, 0), "LA"),
        ((255, 255, 255, 255), (0, 0, 0, 255), "RGBA"),  # opaque everywhere
    ],
    ids=str,
)
def test_paint_of_any_colour_and_in_alpha_marks_what_was_painted(
    tmp_path: Path, colour, ground, mode
) -> None:
    mask = read_mask(painted(tmp_path, colour, ground, mode))
    assert mask.mean() == pytest.approx(SQUARE)
    assert mask[10, 10]


def test_a_cut_out_marks_what_is_opaque(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    pixels[..., 3] = 0
    pixels[5:21, 3:13, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "cut.png")
    assert read_mask(tmp_path / "cut.png").mean() == pytest.approx(SQUARE)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_any_bit_depth(tmp_path: Path, bits: int) -> None:
    truth = np.zeros((32, 32), bool)
    truth[5:21, 3:13] = True
    array = truth if bits == 1 else truth.astype(f"uint{bits}") * (2**bits - 1)
    Image.fromarray(array).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), truth)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.paste(0, (3, 5, 13, 21))
    picture.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").mean() == pytest.approx(SQUARE)


@pytest.mark.parametrize(
    ("colour", "ground", "mode"),
    [
        ((0, 255, 0), (255, 0, 0), "RGB"),  # which of the two is meant
        ((9, 9, 9, 0), (0, 0, 0, 0), "RGBA"),  # nothing can be seen
    ],
    ids=["two colours", "transparent"],
)
def test_what_cannot_be_told_is_refused_by_name(tmp_path: Path, colour, ground, mode) -> None:
    with pytest.raises(DatasetError, match=r"m\.png"):
        read_mask(painted(tmp_path, colour, ground, mode))


def test_colour_and_opacity_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    path = painted(tmp_path, (255, 255, 255, 255), (0, 0, 0, 255), "RGBA")
    with Image.open(path) as picture:
        picture.putpixel((0, 0), (0, 0, 0, 0))
        picture.save(path)
    with pytest.raises(DatasetError, match=r"m\.png"):
        read_mask(path)

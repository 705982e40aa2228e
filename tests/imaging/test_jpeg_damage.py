"""Where a JPEG's coded data are damaged, as its pixels show."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.assets import shipped_examples
from fasa_cli.imaging.decode import upright, upright_box
from fasa_cli.imaging.jpeg_damage import Layout, find_damage
from fasa_cli.imaging.jpeg_structure import layout
from fasa_cli.results import within

UNIT = Layout(16, 16)


def photo(height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    """Shading and texture, without an edge."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(70, 160, (6, 8, 3), dtype=np.uint8)
    shading = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 4, (height, width, 1))
    return np.clip(shading + noise, 20, 235).astype(np.uint8)


def shifted(pixels: np.ndarray, first: int, by: int, end: int | None = None) -> np.ndarray:
    """Add `by` to all units from `first` on, row by row."""
    moved = pixels.astype(int)
    columns = pixels.shape[1] // 16
    total = columns * (pixels.shape[0] // 16)
    for unit in range(first, end or total):
        row, column = divmod(unit, columns)
        moved[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] += by
    return np.clip(moved, 0, 255).astype(np.uint8)


def covered(pixels: np.ndarray, boxes) -> np.ndarray:
    area = np.zeros(pixels.shape[:2], bool)
    for box in boxes:
        assert not within(area, box).any()  # none twice
        within(area, box)[:] = True
    return area


@pytest.mark.parametrize("by", [-40, 12, 60])
@pytest.mark.parametrize("first", [47, 111, 250])
def test_a_run_of_shifted_blocks_is_found_down_to_the_end(first: int, by: int) -> None:
    pixels = photo()
    damaged = shifted(pixels, first, by)
    area = covered(pixels, find_damage(damaged, UNIT))
    assert area[(damaged != pixels).any(axis=2)].all()
    row = first // 20
    assert not area[: max(0, row - 1) * 16].any()  # what lies well before it stays in the photo
    assert area[-1, -1]


def test_after_a_restart_marker_the_picture_is_whole_again() -> None:
    pixels = photo()
    damaged = shifted(pixels, 103, 40, end=120)
    area = covered(pixels, find_damage(damaged, Layout(16, 16, restart=20)))
    assert area[(damaged != pixels).any(axis=2)].all()
    assert area.sum() <= 20 * 256


@pytest.mark.parametrize("seed", range(4))
def test_whole_pictures_have_none(seed: int) -> None:
    assert find_damage(photo(seed=seed), UNIT) == ()


@pytest.mark.parametrize("path", sorted(shipped_examples().glob("*/*.jpg")), ids=lambda p: p.name)
def test_whole_photos_have_none(path) -> None:
    data = path.read_bytes()
    units = layout(data)
    assert units is not None
    assert find_damage(np.array(Image.open(path).convert("RGB")), units) == ()


@pytest.mark.parametrize("height", [0, 1, 7, 12])
def test_an_edge_across_the_whole_photo_is_no_damage(height: int) -> None:
    """A bar, a horizon: at a block's border, and over the whole width."""
    pixels = photo()
    pixels[16 * height :] = np.clip(pixels[16 * height :].astype(int) + 40, 0, 255)
    assert find_damage(pixels, UNIT) == ()


def test_where_blocks_have_moved_only_a_file_with_complaints_is_asked() -> None:
    pixels = photo()
    moved = pixels.copy()
    moved[112:] = photo(seed=9)[112:]
    assert find_damage(moved, UNIT) == ()
    area = covered(pixels, find_damage(moved, UNIT, suspected=True))
    assert area[112:].all()
    assert not area[:64].any()
    assert find_damage(pixels, UNIT, suspected=True) == ()


@pytest.mark.parametrize("shape", [(1, 1), (8, 3), (16, 16), (17, 40), (40, 17), (33, 33)])
def test_small_pictures_are_taken(shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    for suspected in (False, True):
        assert find_damage(pixels, Layout(8, 8, restart=2), suspected) == ()


@pytest.mark.parametrize(("subsampling", "unit"), [(0, (8, 8)), (1, (8, 16)), (2, (16, 16))])
def test_units_are_those_of_the_header(subsampling: int, unit: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    options = {"subsampling": subsampling, "restart_marker_blocks": 5}
    Image.fromarray(photo()).save(buffer, "JPEG", **options)
    assert layout(buffer.getvalue()) == Layout(*unit, 5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_turned_with_the_picture(orientation: int) -> None:
    stored = np.zeros((7, 11), bool)
    box = (2, 1, 4, 3)
    within(stored, box)[:] = True
    turned = upright(stored, orientation)
    expected = np.zeros_like(turned)
    within(expected, upright_box(box, (11, 7), orientation))[:] = True
    np.testing.assert_array_equal(turned, expected)

"""Maps of earlier compressions, against files that were compressed with known parameters."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from fasa_cli.inspection.blocks import block_coefficients, decoded_brightness
from fasa_cli.inspection.double_compression import DoubleCompression, find_double_compression
from fasa_cli.inspection.ghosts import find_ghosts
from fasa_cli.inspection.grids import find_grids
from fasa_cli.inspection.jpeg import read_structure
from fasa_cli.inspection.maps import make_maps
from fasa_cli.results import GRID
from tests.inspection.files import exif_block, jpeg, scene

PATCH = (slice(80, 176), slice(120, 232))  # rows and columns, on the grid


def again(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).copy()


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))


def found(data: bytes) -> DoubleCompression:
    double = find_double_compression(decoded_brightness(data), read_structure(data).tables[0])
    assert double is not None
    return double


def in_patch(shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    rows, columns = PATCH
    inside[rows.start // GRID : rows.stop // GRID, columns.start // GRID : columns.stop // GRID] = (
        True
    )
    return inside


def test_coefficients_are_those_of_scipy() -> None:
    brightness = grey(scene(40, 32))
    ours = block_coefficients(brightness, 3)
    block = dctn(brightness[8:16, 16:24].astype(float) - 128, norm="ortho")
    assert np.allclose(ours[1, 2], [block[0, 0], block[0, 1], block[1, 0]], atol=1e-3)


@pytest.mark.parametrize(("first", "second"), [(60, 80), (75, 90), (85, 95), (70, 95), (80, 85)])
def test_the_first_quality_is_found(first: int, second: int) -> None:
    double = found(jpeg(again(jpeg(scene(), first)), second))
    assert abs(double.quality - first) <= 1
    assert double.gain > 0.5
    assert double.probability.mean() > 0.95


@pytest.mark.parametrize("quality", [70, 80, 90, 95])
def test_one_compression_is_not_taken_for_two(quality: int) -> None:
    for seed in range(3):
        assert found(jpeg(scene(seed=seed), quality)).gain < 0.15


@pytest.mark.parametrize("patch_was_jpeg", [False, True])
def test_a_patch_with_another_history_is_mapped(patch_was_jpeg: bool) -> None:
    before, other = scene(), scene(seed=7)
    forged = before.copy() if patch_was_jpeg else again(jpeg(before, 70))
    source = again(jpeg(other, 70)) if patch_was_jpeg else other
    forged[PATCH] = source[PATCH]
    double = found(jpeg(forged, 92))
    inside = in_patch(double.probability.shape)
    assert abs(double.quality - 70) <= 1
    low, high = (~inside, inside) if patch_was_jpeg else (inside, ~inside)
    assert double.probability[high].mean() - double.probability[low].mean() > 0.6


def test_a_ghost_is_mapped_at_its_quality() -> None:
    forged = again(jpeg(scene(), 90))
    forged[PATCH] = again(jpeg(scene(), 65))[PATCH]
    ghosts = find_ghosts(grey(again(jpeg(forged, 95))))
    assert ghosts is not None
    inside = in_patch(ghosts.map.shape)
    assert ghosts.quality == 65
    assert ghosts.map[inside].mean() - ghosts.map[~inside].mean() > 0.3


@pytest.mark.parametrize("cut", [(0, 0), (3, 5), (7, 1)])
def test_the_grid_of_a_crop_is_found(cut: tuple[int, int]) -> None:
    pixels = again(jpeg(scene(400, 320), 85))[cut[1] :, cut[0] :]
    grids = find_grids(grey(pixels))
    assert grids is not None
    assert grids.main == (-cut[0] % 8, -cut[1] % 8)
    assert grids.foreign == ()


def test_no_grid_in_a_picture_that_was_never_a_jpeg() -> None:
    for seed in range(3):
        grids = find_grids(grey(scene(400, 320, seed)))
        assert grids is not None
        assert grids.main is None
        assert not grids.map.any()


def test_a_pasted_part_keeps_its_grid() -> None:
    forged = again(jpeg(scene(400, 320), 85))
    source = again(jpeg(scene(400, 320, seed=7), 80))
    forged[83:211, 101:229] = source[40:168, 48:176]
    grids = find_grids(grey(forged))
    assert grids is not None
    assert grids.main == (0, 0)
    assert grids.foreign[0][0] == (101 % 8, 83 % 8)
    truth = np.zeros(grids.map.shape, bool)
    truth[10:26, 12:28] = True
    assert (grids.map & truth).sum() > 0.6 * truth.sum()
    assert (grids.map & ~truth).sum() < 0.2 * truth.sum()  # a place around it, at most


def test_maps_have_the_upright_size_and_findings_name_the_patch() -> None:
    forged = again(jpeg(scene(), 70))
    forged[PATCH] = scene(seed=7)[PATCH]
    data = jpeg(forged, 92, exif=exif_block(Orientation=6))
    maps, findings = make_maps(data, "a.jpg", read_structure(data))
    assert {one.kind for one in maps} == {"double-compression", "ghosts", "grids"}
    assert all(one.values.shape == (320, 240) for one in maps)
    assert all(one.values.min() >= 0 and one.values.max() <= 1 for one in maps)
    probability = np.rot90(maps[0].values)  # as stored again
    assert probability[PATCH].mean() < 0.3
    assert probability[:, :80].mean() > 0.7
    assert "compressed twice in part" in {one.kind for one in findings}


def test_a_plain_jpeg_has_no_finding_and_small_pictures_no_map() -> None:
    data = jpeg(scene(), 90)
    assert make_maps(data, "a.jpg", read_structure(data))[1] == []
    tiny = jpeg(scene(16, 12), 90)
    assert make_maps(tiny, "a.jpg", read_structure(tiny)) == ([], [])

"""Findings on regions whose truth is known: something done to a patch, or nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fasa_cli.imaging.cells import REASONS, measure_cells, shares_of_reasons, unjudgeable_cells
from fasa_cli.imaging.findings import Place, find_reasons, pathways
from fasa_cli.imaging.framing import find_frame
from fasa_cli.results import CopyMovePair, Finding

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/authentic"
SIZE = 480
PATCH = (slice(160, 304), slice(176, 320))  # on no multiple of anything but 16


def scene(noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """Structure of all sizes, brighter to one side, with a sensor's noise."""
    generator = np.random.default_rng(seed)
    picture = np.linspace(60, 190, SIZE)[None, :] + np.zeros((SIZE, 1))
    for sigma, strength in ((24, 500.0), (8, 130.0), (2, 14.0)):
        picture = picture + strength * cv2.GaussianBlur(
            generator.normal(0, 1, (SIZE, SIZE)), (0, 0), sigma
        )
    coloured = picture[..., None] + generator.normal(0, noise, (SIZE, SIZE, 3))
    return coloured.clip(0, 255).astype(np.uint8)


def patch() -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[PATCH] = True
    return mask


def reasons(pixels: np.ndarray, mask: np.ndarray | None = None) -> tuple[Finding, ...]:
    cells, frame = measure_cells(pixels), find_frame(pixels)
    mask = patch() if mask is None else mask
    regions = [whole(mask)]
    return next(find_reasons(pixels, regions, mask, cells, unjudgeable_cells(cells, frame)))


def whole(mask: np.ndarray) -> Place:
    """A region cut out to its box, as a scan finds it."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Place((int(columns[0]), int(rows[0])), crop)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].copy()


def test_noise_of_a_known_strength_is_measured() -> None:
    generator = np.random.default_rng(0)
    for sigma in (2.0, 6.0):
        grey = 128 + generator.normal(0, sigma, (256, 256, 1))
        cells = measure_cells(np.repeat(grey, 3, 2).round().clip(0, 255).astype(np.uint8))
        assert cells.noise.mean() == pytest.approx(sigma, rel=0.05)
        assert cells.colour_noise.mean() < 0.05


def test_strips_give_what_the_whole_gives() -> None:
    tall = np.tile(scene(), (3, 1, 1))
    whole, part = measure_cells(tall), measure_cells(tall[400:1200])
    for name in ("noise", "fine", "coarse", "brightness", "clipped"):
        one, other = getattr(whole, name)[52:148], getattr(part, name)[2:98]
        assert one == pytest.approx(other, abs=1e-3), name


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (40, 3), (8, 8)])
def test_a_picture_smaller_than_a_cell_has_none(size):
    cells = measure_cells(np.zeros((*size, 3), np.uint8))
    expected = (size[0] // 8, size[1] // 8)
    assert cells.noise.shape == unjudgeable_cells(cells).shape == expected


def test_added_noise_is_found() -> None:
    pixels = scene()
    more = np.random.default_rng(9).normal(0, 6, pixels[PATCH].shape)
    pixels[PATCH] = (pixels[PATCH] + more).clip(0, 255).astype(np.uint8)
    found = {finding.kind: finding for finding in reasons(pixels)}
    assert found["noise"].speaks == "for"
    assert found["noise"].value == pytest.approx(np.hypot(2, 6) / 2, rel=0.3)
    assert f"{found['noise'].value:.1f}" in found["noise"].text


def test_a_blurred_patch_is_found() -> None:
    pixels = scene()
    pixels[PATCH] = cv2.GaussianBlur(pixels, (0, 0), 2)[PATCH]
    found = {finding.kind: finding.value for finding in reasons(pixels)}
    assert found["noise"] < 0.4


def test_a_patch_pasted_off_the_grid_is_found_with_its_shift() -> None:
    """Compressed, moved by 3 to the right and 5 down, saved without loss."""
    pixels = jpeg(scene(), 70)
    moved = np.roll(jpeg(scene(seed=5), 70), (5, 3), (0, 1))
    pixels[PATCH] = moved[PATCH]
    (grid,) = (finding for finding in reasons(pixels) if finding.kind == "jpeg grid")
    assert "3 pixels right of and 5 below" in grid.text
    assert grid.speaks == "for"
    pixels[PATCH] = jpeg(scene(seed=5), 70)[PATCH]  # on the grid
    assert "jpeg grid" not in {finding.kind for finding in reasons(pixels)}


def test_a_clipped_patch_speaks_against_its_mark() -> None:
    pixels = scene()
    pixels[PATCH] = 255
    found = {finding.kind: finding for finding in reasons(pixels)}
    assert {finding.speaks for finding in found.values()} == {"against"}
    assert found["clipped"].value > 0.9
    assert found["unjudgeable"].value > 0.9


@pytest.mark.parametrize("quality", [None, 95, 75])
def test_nothing_is_said_where_nothing_was_done(quality: int | None) -> None:
    for seed in range(6):
        pixels = scene(seed=seed)
        pixels = pixels if quality is None else jpeg(pixels, quality)
        assert reasons(pixels) == (), seed


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "camera"])
def test_little_is_said_of_places_in_untouched_photos(name: str) -> None:
    bgr = cv2.imread(str(EXAMPLES / f"{name}.jpg"))
    assert bgr is not None
    pixels = np.ascontiguousarray(bgr[..., ::-1])
    cells, frame = measure_cells(pixels), find_frame(pixels)
    unjudgeable = unjudgeable_cells(cells, frame)
    masks = []
    for top in range(0, pixels.shape[0] - 96, 96):
        for left in range(0, pixels.shape[1] - 96, 96):
            mask = np.zeros(pixels.shape[:2], bool)
            mask[top : top + 96, left : left + 96] = True
            masks.append(mask)
    wrong = 0
    for mask in masks:
        (found,) = find_reasons(pixels, [whole(mask)], mask, cells, unjudgeable)
        wrong += any(finding.speaks == "for" for finding in found)
    assert wrong <= 0.05 * len(masks)


def test_what_cannot_be_judged_is_mapped_with_its_reason() -> None:
    pixels = scene()
    pixels[:96, :96] = 255
    pixels[:96, 96:192] = 4
    pixels[:96, 192:288] = 128
    pixels[384:] = 0  # a bar
    cells = measure_cells(pixels)
    frame = find_frame(pixels)
    assert frame.bottom == 384
    reasons_ = unjudgeable_cells(cells, frame)
    assert REASONS[reasons_[5, 5]] == "clipped"
    assert REASONS[reasons_[5, 17]] == "dark"
    assert REASONS[reasons_[5, 29]] == "flat"
    assert REASONS[reasons_[55, 5]] == "bars"
    shares = shares_of_reasons(reasons_)
    assert shares["bars"] == pytest.approx(0.2)
    assert sum(shares.values()) == pytest.approx((reasons_ > 0).mean(), abs=1e-3)
    sharp = unjudgeable_cells(measure_cells(scene()))
    assert shares_of_reasons(sharp) == {}


def test_strong_blur_is_out_of_focus() -> None:
    blurred = cv2.GaussianBlur(scene(), (0, 0), 3)
    shares = shares_of_reasons(unjudgeable_cells(measure_cells(blurred)))
    assert shares.get("out of focus", 0) + shares.get("flat", 0) > 0.5


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (8, 8), (9, 300)])
def test_the_smallest_photos_are_measured_too(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 90, np.uint8)
    cells = measure_cells(pixels)
    mask = np.ones(size, bool)
    (found,) = find_reasons(pixels, [whole(mask)], mask, cells, unjudgeable_cells(cells))
    assert all(finding.speaks == "against" for finding in found)


def test_the_pathways_of_a_mark_are_told_apart() -> None:
    pair = CopyMovePair(((0, 0, 20, 20), (60, 60, 20, 20)), ((1, 0, 60), (0, 1, 60)), 0.9, 12)
    mask = np.zeros((100, 100), bool)
    mask[:20, :20] = True
    marks = np.zeros((50, 50), np.float32)
    marks[:10, :10] = 0.9
    quiet, loud = np.zeros((100, 100), np.float32), mask.astype(np.float32)
    partner, alone = pathways(whole(mask), quiet, marks, [pair], 0.5)
    assert "(60, 60)" in partner.text
    assert (alone.speaks, alone.value) == ("neither", 1.0)
    assert pathways(whole(mask), loud, marks, [pair], 0.5)[1].speaks == "for"
    assert pathways(whole(mask), loud, None, [], 0.5) == ()
    elsewhere = np.roll(mask, 40, axis=1)
    assert pathways(whole(elsewhere), loud, marks, [pair], 0.5) == ()

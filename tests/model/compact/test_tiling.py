"""Tiles: their geometry, their parts of the whole, and that they give the whole photo's answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fasa_cli.config import TINY
from fasa_cli.model.compact import tiling
from fasa_cli.model.compact.tiling import (
    Span,
    Tile,
    localise_in_tiles,
    spans,
    to_unit_range,
)
from fasa_cli.model.fasa import Fasa


def photo(height: int, width: int) -> np.ndarray:
    """Smooth shading, noise that changes from left to right, and a foreign block."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    noise = generator.normal(size=(height, width, 3)) * (columns / width * 30)[..., None]
    pixels = 128 + 60 * np.sin(rows / 40)[..., None] + noise
    pixels[height // 3 : height // 2, width // 3 : width // 2] = 250
    return pixels.clip(0, 255).astype(np.uint8)


def model(variant: str = "full", seed: int = 0) -> Fasa:
    """`tiny` with running statistics and weights that make its answer depend on the photo."""
    torch.manual_seed(seed)
    made = Fasa(TINY.model_copy(update={"variant": variant}))
    made.train()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if ".smooth." in name and name.startswith("adapters"):
                parameter.normal_(std=0.1)  # they start at zero
        for _ in range(30):  # batch norm's statistics
            made(to_unit_range(torch.from_numpy(photo(96, 128))[None]))
    return made.eval()


def whole(made: Fasa, pixels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return made(to_unit_range(torch.from_numpy(pixels)[None])).probabilities[0, 0].numpy()


@pytest.mark.parametrize("margin", [32, 128])
@pytest.mark.parametrize("length", [1, 31, 256, 257, 288, 500, 1000, 4097])
def test_spans_cover_every_pixel_once_with_room_around(length: int, margin: int) -> None:
    found = spans(length, 256, margin)
    padded = -(-length // 32) * 32
    assert [span.first for span in found] == [0, *(span.last for span in found[:-1])]
    assert (found[0].start, found[-1].stop, found[-1].last) == (0, padded, padded)
    for span in found:
        assert span.start % 32 == span.stop % 32 == span.first % 32 == 0
        assert 0 < span.last - span.first <= 256
        assert span.start == max(0, span.first - margin)
        assert span.stop == min(padded, span.last + margin)


@pytest.mark.parametrize("stride", [4, 32])
def test_a_tiles_part_is_a_crop_of_the_resized_whole(stride: int) -> None:
    semantic_map = torch.randn(1, 5, 12, 12)
    tile = Tile((320, 448), Span(64, 160, 64, 160), Span(192, 320, 192, 320))
    resized = F.interpolate(
        semantic_map, (320 // stride, 448 // stride), mode="bilinear", align_corners=False
    )
    top, left, height, width = (pixels // stride for pixels in (64, 192, 96, 128))
    part = tile.resize(semantic_map, (height, width))
    torch.testing.assert_close(part, resized[..., top : top + height, left : left + width])


@pytest.mark.parametrize("variant", ["full", "psa", "baseline"])
@pytest.mark.parametrize("size", [(390, 800), (801, 333)])
def test_tiles_give_the_whole_photos_answer(
    variant: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where margins are most of a tile, and for any model."""
    made, pixels = model(variant), photo(*size)
    expected = whole(made, pixels)
    assert np.ptp(expected) > 0.05  # something to get wrong
    for tile, precise in ((256, 1 << 40), (64, 0)):
        monkeypatch.setattr(tiling, "FULL_PRECISION", precise)
        tiled, count = localise_in_tiles(made, pixels, tile=tile)
        assert count >= 3
        assert (tiled.dtype, tiled.shape) == (np.float32, size)
        np.testing.assert_allclose(tiled, expected, atol=5e-4)


def test_tiles_on_their_own_would_not() -> None:
    """The photo's means are what makes it so: without them the answer moves with the tile."""
    made, pixels = model(), photo(300, 530)
    alone = whole(made, pixels[:, 256:512])
    assert np.abs(alone - whole(made, pixels)[:, 256:512])[:, 112:-112].max() > 0.002


def test_what_fits_is_one_tile_and_the_very_answer() -> None:
    made, pixels = model(), photo(70, 90)
    tiled, count = localise_in_tiles(made, pixels)
    assert count == 1
    np.testing.assert_allclose(tiled, whole(made, pixels), atol=1e-4)


def test_the_model_is_left_as_it_was() -> None:
    made, pixels = model(), photo(100, 130)
    before = whole(made, pixels)
    localise_in_tiles(made, photo(80, 200), tile=64)
    np.testing.assert_array_equal(whole(made, pixels), before)


def test_every_pixel_goes_through_the_stem_once() -> None:
    """But for margins, of which the stem needs few."""
    made, pixels = model(), photo(600, 1000)
    seen = []
    made.side.stem.register_forward_hook(lambda _, given, __: seen.append(given[0][0, 0].numel()))
    localise_in_tiles(made, pixels, tile=512)
    assert len(seen) == 4
    assert sum(seen) < 1.25 * pixels.shape[0] * pixels.shape[1]

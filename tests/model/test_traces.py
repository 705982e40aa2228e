"""Local statistics against scipy in float64, and the stream that reads them."""

import numpy as np
import pytest
import scipy.fft
import torch

from fasa_cli.config import COMPACT, PAPER, ModelConfig, TracesConfig, config_from_dict
from fasa_cli.errors import ConfigError
from fasa_cli.model import traces
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.frequency import dct_basis
from fasa_cli.model.traces import CELL, LocalStatistics, TraceStream

LUMA = np.array([0.299, 0.587, 0.114])


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    """H x W x 3 in [0, 1]: noise that is stronger on the right."""
    strength = np.linspace(0.02, 0.3, width)[None, :, None]
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    return (0.5 + noise * strength).clip(0, 1)


def statistics(pixels: np.ndarray) -> np.ndarray:
    """Channels x cells x cells."""
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    return LocalStatistics()(batch)[0].numpy()


@pytest.mark.parametrize("size", [2, 4, 8])
def test_the_basis_is_scipys(size):
    expected = [
        scipy.fft.idctn(unit.reshape(size, size), norm="ortho") for unit in np.eye(size * size)
    ]
    np.testing.assert_allclose(dct_basis(size).numpy(), expected, atol=1e-6)


def test_blocks_are_those_of_jpegs_grid():
    pixels = noisy(40, 48)
    luma = 255 * pixels @ LUMA
    blocks = luma.reshape(5, 8, 6, 8).swapaxes(1, 2)  # 5 x 6 blocks of 8 x 8
    strength = np.abs(scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho")).reshape(5, 6, 64)[..., 1:]
    around = np.s_[1:4, 2:5]  # of the block in row 2, column 3
    expected = [np.log(strength + 0.5)[around], np.exp(-2 * strength**2)[around]]
    expected = np.concatenate([one.mean((0, 1)) for one in expected])
    np.testing.assert_allclose(statistics(pixels)[45:, 2, 3], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("first", "weights"), [(0, LUMA), (15, (-0.169, -0.331, 0.5)), (30, (0.5, -0.419, -0.081))]
)
def test_strengths_of_small_dcts_in_each_colour(first, weights):
    pixels = noisy(48, 48)
    channel = 255 * pixels @ np.array(weights)
    # A response at (y, x) is of the 4 x 4 pixels from (y - 1, x - 1); the cell in row 2, column 3
    # sees those at 12..27 down and 20..35 across.
    windows = np.lib.stride_tricks.sliding_window_view(channel, (4, 4))[11:27, 19:35]
    strength = np.abs(scipy.fft.dctn(windows, axes=(2, 3), norm="ortho")).reshape(16, 16, 16)
    expected = np.log(strength[..., 1:].mean((0, 1)) + 0.3)
    actual = statistics(pixels)[first : first + 15, 2, 3]
    np.testing.assert_allclose(actual, expected, rtol=1e-3)


def test_brightness_and_flat_colour_leave_no_trace():
    pixels = noisy(32, 64) * 0.5
    shifted = pixels + np.array([0.1, 0.3, 0.2])
    np.testing.assert_allclose(statistics(shifted), statistics(pixels), atol=2e-3)
    flat = statistics(np.full((16, 16, 3), 0.7))
    np.testing.assert_allclose(flat[:45], np.log(0.3), atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 33), (129, 20)])
def test_any_size_has_finite_statistics(size):
    cells = tuple(-(-side // CELL) for side in size)
    found = statistics(noisy(*size))
    assert found.shape == (LocalStatistics.channels, *cells)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("height", [1, 128, 130, 300, 511])
def test_strips_give_the_answer_of_the_whole(height, monkeypatch):
    torch.manual_seed(0)
    stream = TraceStream(TracesConfig(width=8, depth=2)).eval()
    image = torch.from_numpy(noisy(height, 70)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        at_once = stream._projected(image)
        for block in stream.blocks:
            at_once = block(at_once)
        at_once = stream.classify(at_once)
        monkeypatch.setattr(traces, "_BLOCK_ROWS", 7)
        torch.testing.assert_close(stream(image), at_once, rtol=1e-4, atol=1e-5)


def test_statistics_are_of_full_precision_under_autocast():
    image = torch.from_numpy(noisy(32, 32)).permute(2, 0, 1)[None].float()
    expected = LocalStatistics()(image)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(LocalStatistics()(image), expected, rtol=0, atol=0)


def test_the_stream_belongs_to_the_frequency_pathway():
    with_it = ModelConfig.model_validate({**COMPACT.model_dump(), "variant": "dct"})
    without = with_it.model_copy(update={"variant": "baseline"})
    assert hasattr(Fasa(with_it), "traces")
    assert not hasattr(Fasa(without), "traces")
    assert not PAPER.has_traces


def test_it_is_refused_where_the_image_is_resized():
    with pytest.raises(ConfigError, match=r"set model\.traces\.width to 0"):
        config_from_dict({"model": {"preset": "paper", "traces": {"width": 8}}})

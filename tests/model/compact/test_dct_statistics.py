"""Local DCT statistics against SciPy and NumPy in float64, and the blocks that read them."""

import numpy as np
import pytest
import scipy.fft
import torch

from fasa_cli.config import COMPACT, PAPER, ModelConfig, config_from_dict
from fasa_cli.errors import ConfigError
from fasa_cli.model.compact import dct_statistics
from fasa_cli.model.compact.dct_statistics import (
    CELL,
    FINE,
    DctStatistics,
    LocalStatistics,
    NoiseLevelFunction,
)
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.frequency import dct_basis

LUMA = np.array([0.299, 0.587, 0.114])


def noisy(height: int, width: int, seed: int = 0) -> np.ndarray:
    """H x W x 3 in [0, 1]: noise that is stronger on the right."""
    strength = np.linspace(0.02, 0.3, width)[None, :, None]
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    return (0.5 + noise * strength).clip(0, 1)


def statistics(pixels: np.ndarray) -> np.ndarray:
    """Channels x cells x cells."""
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    return LocalStatistics()(batch)[0][0].numpy()


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
    np.testing.assert_allclose(statistics(pixels)[45:171, 2, 3], expected, rtol=1e-3, atol=1e-4)


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


def test_strengths_do_not_depend_on_brightness_and_flat_colour():
    pixels = noisy(32, 64) * 0.5
    shifted = pixels + np.array([0.1, 0.3, 0.2])
    for strengths in (slice(0, 171), slice(181, None)):
        before, after = statistics(pixels)[strengths], statistics(shifted)[strengths]
        np.testing.assert_allclose(after, before, atol=2e-3)
    flat = statistics(np.full((16, 16, 3), 0.7))
    np.testing.assert_allclose(flat[:45], np.log(0.3), atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (7, 33), (129, 20)])
def test_any_size_has_finite_statistics(size):
    cells = tuple(-(-side // CELL) for side in size)
    found = statistics(noisy(*size))
    assert found.shape == (LocalStatistics.channels, *cells)
    assert np.isfinite(found).all()


def test_what_explains_is_measured_around_each_cell():
    pixels = noisy(48, 48)
    pixels[:, 24:, 0] = 1.0  # red is clipped on the right
    pixels[:8, :8] = 0.0
    found = statistics(pixels)[171:181]
    around = np.s_[12:28, 20:36]  # the cell in row 2, column 3
    part = pixels[around]
    luma = (part @ LUMA).mean()
    saturation = (part.max(2) - part.min(2)).mean()
    np.testing.assert_allclose(found[[0, 3], 2, 3], [luma, saturation], rtol=1e-4)
    np.testing.assert_allclose(found[4:7, 2, 3], (part == 1).mean((0, 1)), atol=1e-3)
    np.testing.assert_allclose(found[7:, 0, 0], [1, 1, 1], atol=0.6)
    assert found[7:, 4, 4].max() < 0.2


def test_coarse_strengths_are_those_of_the_photo_scaled_down():
    """Noise on each second pixel is gone at half the resolution; coarse texture is not."""
    fine = np.zeros((64, 64, 3)) + 0.5
    fine[::2, ::2] += 0.2
    fine[1::2, 1::2] += 0.2  # a checkerboard, whose 2 x 2 means are flat
    coarse = np.kron(np.indices((16, 16)).sum(0) % 2, np.ones((4, 4)))[..., None] * [0.2, 0.2, 0.2]
    half = slice(181, 196)
    np.testing.assert_allclose(statistics(fine)[half], np.log(0.3), atol=1e-2)
    assert statistics(coarse + 0.3)[half].max() > 1


def test_the_noise_level_function_is_ridge_regression():
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(7, 40))
    fine = generator.normal(size=(FINE, 40))
    function = NoiseLevelFunction()
    for part in (slice(0, 25), slice(25, 40)):  # added some at a time
        function.add(
            torch.from_numpy(factors[None, :, None, part]),
            torch.from_numpy(fine[None, :, None, part]),
        )
    squares, products = factors @ factors.T / 40, factors @ fine.T / 40
    expected = np.linalg.solve(squares + 1e-2 * np.eye(7), products).T
    np.testing.assert_allclose(function.weights()[0].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("height", [1, 128, 130, 300, 511])
def test_strips_give_the_answer_of_the_whole(height, monkeypatch):
    torch.manual_seed(0)
    statistics = DctStatistics(width=8, depth=2).eval()
    statistics.norm.running_mean.normal_()
    statistics.norm.running_var.uniform_(0.5, 2)
    image = torch.from_numpy(noisy(height, 70)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        at_once = statistics._projected(image)
        for block in statistics.blocks:
            at_once = block(at_once)
        monkeypatch.setattr(dct_statistics, "_BLOCK_ROWS", 7)
        torch.testing.assert_close(statistics(image), at_once, rtol=1e-3, atol=1e-4)


def test_statistics_are_of_full_precision_under_autocast():
    image = torch.from_numpy(noisy(32, 32)).permute(2, 0, 1)[None].float()
    expected = LocalStatistics()(image)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(LocalStatistics()(image), expected, rtol=0, atol=0)


def test_they_belong_to_the_frequency_pathway():
    with_them = ModelConfig.model_validate({**COMPACT.model_dump(), "variant": "dct"})
    without = with_them.model_copy(update={"variant": "baseline"})
    assert Fasa(with_them).side.statistics is not None
    assert Fasa(without).side.statistics is None
    assert PAPER.side.statistics_width == 0


def test_they_are_refused_where_the_image_is_resized():
    with pytest.raises(ConfigError, match=r"set model\.side\.statistics_width to 0"):
        config_from_dict({"model": {"preset": "paper", "side": {"statistics_width": 8}}})


@pytest.mark.parametrize(("first", "last"), [(0, 3), (4, 9), (7, 12)])
def test_rows_asked_for_alone_are_those_of_the_whole(first: int, last: int) -> None:
    image = torch.from_numpy(noisy(12 * CELL - 3, 60)).permute(2, 0, 1)[None].float()
    measure = LocalStatistics()
    for whole, part in zip(measure(image), measure(image, first, last), strict=True):
        torch.testing.assert_close(part, whole[:, :, first:last], atol=1e-4, rtol=1e-4)

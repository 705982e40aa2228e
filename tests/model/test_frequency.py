"""ADB-DCT (Eq. 1) against scipy in float64 and against its definition."""

import numpy as np
import pytest
import scipy.fft
import torch

from fasa_cli.config import FrequencyConfig
from fasa_cli.model import frequency
from fasa_cli.model.frequency import (
    AdaptiveDualBandDCT,
    bands_by_fft,
    dct2,
    dct_matrices,
    idct2,
    radial_frequency,
)

SIZES = [(1, 1), (1, 7), (2, 3), (8, 8), (13, 29), (64, 48), (101, 256)]


def whole(blocks):
    """Coefficients in the order of their frequencies."""
    height, width = (blocks.even_even.shape[i] + blocks.odd_odd.shape[i] for i in (-2, -1))
    result = blocks.even_even.new_empty(*blocks.even_even.shape[:-2], height, width)
    result[..., ::2, ::2], result[..., ::2, 1::2] = blocks.even_even, blocks.even_odd
    result[..., 1::2, ::2], result[..., 1::2, 1::2] = blocks.odd_even, blocks.odd_odd
    return result


@pytest.mark.parametrize("size", SIZES)
def test_dct_agrees_with_scipy(size):
    image = np.random.default_rng(0).normal(size=(2, 3, *size))
    expected = scipy.fft.dctn(image, axes=(-2, -1), norm="ortho")
    actual = dct2(torch.from_numpy(image))
    np.testing.assert_allclose(whole(actual).numpy(), expected, atol=1e-11)
    np.testing.assert_allclose(idct2(actual).numpy(), image, atol=1e-11)


def test_float32_stays_near_float64():
    image = np.random.default_rng(1).uniform(-2, 2, size=(1, 3, 257, 131))
    exact = scipy.fft.dctn(image, axes=(-2, -1), norm="ortho")
    actual = whole(dct2(torch.from_numpy(image).float())).numpy()
    assert np.abs(actual - exact).max() < 1e-3


@pytest.mark.parametrize("by_fft", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_bands_are_the_definition(size, by_fft, monkeypatch):
    monkeypatch.setattr(frequency, "FFT_PIXELS", 0 if by_fft else 1 << 40)
    config = FrequencyConfig(cutoff_low=0.2, cutoff_high=0.5, sharpness=15)
    module = AdaptiveDualBandDCT(config)
    image = np.random.default_rng(2).normal(size=(1, 3, *size))
    with torch.no_grad():
        low, high = (band.numpy() for band in module.bands(torch.from_numpy(image)))
    vertical, horizontal = np.meshgrid(
        np.arange(size[0]) / size[0], np.arange(size[1]) / size[1], indexing="ij"
    )
    radius = np.sqrt(vertical**2 + horizontal**2) / np.sqrt(2)
    coefficients = scipy.fft.dctn(image, axes=(-2, -1), norm="ortho")
    for band, mask in (
        (low, 1 / (1 + np.exp(-15 * (0.2 - radius)))),
        (high, 1 / (1 + np.exp(-15 * (radius - 0.5)))),
    ):
        expected = scipy.fft.idctn(coefficients * mask, axes=(-2, -1), norm="ortho")
        np.testing.assert_allclose(band, expected, atol=2e-5)


def test_masks_are_half_at_the_cutoffs_and_monotone():
    module = AdaptiveDualBandDCT(FrequencyConfig(cutoff_low=0.25, cutoff_high=0.5))
    radius = whole(radial_frequency(512, 512, torch.device("cpu")))
    with torch.no_grad():
        low, high = module.band_masks(radius)
    assert torch.all((radius >= 0) & (radius < 1))
    for mask, cutoff in ((low, 0.25), (high, 0.5)):
        nearest = (radius - cutoff).abs().argmin()
        assert mask.flatten()[nearest].item() == pytest.approx(0.5, abs=0.01)
    order = radius.flatten().argsort()
    assert torch.all(low.flatten()[order].diff() <= 1e-6)
    assert torch.all(high.flatten()[order].diff() >= -1e-6)


def test_cutoffs_start_where_configured_and_stay_inside():
    module = AdaptiveDualBandDCT(FrequencyConfig(cutoff_low=0.15, cutoff_high=0.35))
    low, high = module.cutoffs
    assert low.item() == pytest.approx(0.15)
    assert high.item() == pytest.approx(0.35)
    with torch.no_grad():
        module.cutoff_logits.copy_(torch.tensor([-50.0, 15.0]))
    low, high = module.cutoffs
    assert 0 < low < 0.01
    assert 0.99 < high < 1


def test_a_flat_image_gives_finite_bands():
    module = AdaptiveDualBandDCT(FrequencyConfig())
    output = module(torch.full((1, 3, 33, 65), 0.5))
    assert output.shape == (1, 9, 33, 65)
    assert torch.isfinite(output).all()
    assert output[:, 3:6].abs().max() < 1e-2  # no high frequency in a flat image


def test_the_high_band_is_scaled_by_its_gain():
    image = torch.rand(1, 3, 16, 16)
    plain = AdaptiveDualBandDCT(FrequencyConfig())(image)
    louder = AdaptiveDualBandDCT(FrequencyConfig(gain_high=4.0))(image)
    torch.testing.assert_close(louder[:, 3:6], 4 * plain[:, 3:6])
    torch.testing.assert_close(louder[:, 6:], plain[:, 6:])


def test_bands_are_float32_under_autocast():
    module = AdaptiveDualBandDCT(FrequencyConfig())
    image = torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module(image)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, module(image))


def test_a_matrix_cached_under_inference_mode_can_be_trained_with_later():
    dct_matrices.cache_clear()
    module = AdaptiveDualBandDCT(FrequencyConfig())
    with torch.inference_mode():
        module(torch.rand(1, 3, 19, 23))
    module(torch.rand(1, 3, 19, 23)).square().sum().backward()
    assert module.cutoff_logits.grad.abs().min() > 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
def test_the_fft_is_for_answers_on_a_cpu_only(monkeypatch):
    """What is trained or exported has the matrices, and both give the same."""
    calls = []

    def watched(image, masks):
        calls.append(image.shape)
        return bands_by_fft(image, masks)

    monkeypatch.setattr(frequency, "FFT_PIXELS", 0)
    monkeypatch.setattr(frequency, "bands_by_fft", watched)
    module = AdaptiveDualBandDCT(FrequencyConfig())
    image = torch.randn(2, 3, 33, 50, generator=torch.Generator().manual_seed(0))
    trained = module(image)
    trained.sum().backward()
    assert module.cutoff_logits.grad is not None
    with torch.no_grad():
        traced = torch.jit.trace(module, image, check_trace=False)
        assert not calls
        answered = module(image)
        assert calls == [image.shape]
        torch.testing.assert_close(answered, traced(image), atol=2e-5, rtol=0)
    torch.testing.assert_close(answered, trained.detach(), atol=2e-5, rtol=0)
    assert not any("fft" in str(node) for node in traced.inlined_graph.nodes())

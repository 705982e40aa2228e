"""Adaptive dual-band frequency decomposition (ADB-DCT; Eq. 1, section 3.2)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from fasa_cli.config import FrequencyConfig


class AdaptiveDualBandDCT(nn.Module):
    """Append a soft high and a soft low DCT band to an image (Eq. 1, section 3.2).

    `band = IDCT(DCT(image) * M)` with `M_high = sigmoid(k (r - a_high))` and
    `M_low = sigmoid(k (a_low - r))`; `r` is the radial frequency and the two cutoffs are learned.

    Ours: the DCT is of the whole image, by matrix product, always in float32: bands are small
    differences of large coefficients, which half precision would lose.
    """

    def __init__(self, config: FrequencyConfig) -> None:
        super().__init__()
        self.sharpness = config.sharpness
        self.gain_low = config.gain_low
        self.gain_high = config.gain_high
        # Ours: stored as logits, so that the cutoffs stay in (0, 1) however far they are pushed.
        self.cutoff_logits = nn.Parameter(
            torch.logit(torch.tensor([config.cutoff_low, config.cutoff_high]))
        )

    @property
    def cutoffs(self) -> tuple[Tensor, Tensor]:
        """The learned (a_low, a_high), each a scalar in (0, 1)."""
        low, high = torch.sigmoid(self.cutoff_logits.float())
        return low, high

    def band_masks(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """The soft masks (M_low, M_high), each H x W in (0, 1)."""
        radius = radial_frequency(height, width, self.cutoff_logits.device)
        low, high = self.cutoffs
        return (
            torch.sigmoid(self.sharpness * (low - radius)),
            torch.sigmoid(self.sharpness * (radius - high)),
        )

    def bands(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Split `image` (B x C x H x W) into its (low, high) bands, each of the same shape."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.float()
            coefficients = dct2(image)
            low_mask, high_mask = self.band_masks(*image.shape[-2:])
            both = torch.cat([coefficients * low_mask, coefficients * high_mask], dim=1)
            low, high = idct2(both).chunk(2, dim=1)
        return low, high

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, normalised RGB -> B x 9 x H x W: RGB, high band, low band."""
        # One colour after the other: the same numbers, and of a large photo a third of the memory.
        lows, highs = [], []
        for colour in image.split(1, dim=1):
            low, high = self.bands(colour)
            lows.append(self.gain_low * low)
            highs.append(self.gain_high * high)
        return torch.cat([image.float(), *highs, *lows], dim=1)


def dct2(image: Tensor) -> Tensor:
    """Orthonormal two-dimensional DCT-II over the last two axes (... x H x W, float)."""
    height, width = image.shape[-2:]
    rows = dct_matrix(height, image.dtype, image.device)
    columns = dct_matrix(width, image.dtype, image.device)
    return rows @ image @ columns.T


def idct2(coefficients: Tensor) -> Tensor:
    """The inverse of `dct2` (an orthonormal DCT-III)."""
    height, width = coefficients.shape[-2:]
    rows = dct_matrix(height, coefficients.dtype, coefficients.device)
    columns = dct_matrix(width, coefficients.dtype, coefficients.device)
    return rows.T @ coefficients @ columns


@lru_cache(maxsize=4)  # one of a long side is large: an archive must not fill the memory
def dct_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DCT-II matrix, size x size; row k holds the k-th cosine."""
    with torch.inference_mode(False):  # cached: it may be needed under autograd later
        positions = torch.arange(size, dtype=torch.float64)
        angles = math.pi / size * torch.outer(positions, positions + 0.5)
        matrix = torch.cos(angles) * math.sqrt(2 / size)
        matrix[0] = math.sqrt(1 / size)
        return matrix.to(device=device, dtype=dtype)


@lru_cache(maxsize=2)
def radial_frequency(height: int, width: int, device: torch.device) -> Tensor:
    """Radial frequency of each DCT coefficient, H x W in [0, 1); 1 is the diagonal Nyquist.

    Ours: scaled by each side's length, so that a cutoff means the same cycles per pixel in an
    image of any size.
    """
    with torch.inference_mode(False):
        vertical = torch.arange(height, dtype=torch.float64) / height
        horizontal = torch.arange(width, dtype=torch.float64) / width
        radius = torch.hypot(vertical[:, None], horizontal[None, :]) / math.sqrt(2)
        return radius.to(device=device, dtype=torch.float32)

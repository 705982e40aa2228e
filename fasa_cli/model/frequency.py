"""Adaptive dual-band frequency decomposition (ADB-DCT; Eq. 1, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fasa_cli.config import FrequencyConfig


class AdaptiveDualBandDCT(nn.Module):
    """Append a soft high and a soft low DCT band to an image (Eq. 1, section 3.2).

    `band = IDCT(DCT(image) * M)` with `M_high = sigmoid(k (r - a_high))` and
    `M_low = sigmoid(k (a_low - r))`; `r` is the radial frequency and the two cutoffs are learned.

    Ours: the DCT is of the whole image, always in float32: bands are small differences of large
    coefficients, which half precision would lose. It is a product of matrices, which exports and
    trains, or where a CPU only answers an FFT, which gives the same to rounding.
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

    def band_masks(self, radius: Tensor) -> tuple[Tensor, Tensor]:
        """The soft masks (M_low, M_high) in (0, 1) at these radial frequencies, any shape."""
        low, high = self.cutoffs
        return (
            torch.sigmoid(self.sharpness * (low - radius)),
            torch.sigmoid(self.sharpness * (radius - high)),
        )

    def bands(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Split `image` (B x C x H x W) into its (low, high) bands, each of the same shape."""
        with torch.autocast(image.device.type, enabled=False):
            image = image.float()
            height, width = image.shape[-2:]
            if _fft_wins(image):
                low, high = bands_by_fft(image, self.band_masks)
                return low, high
            radii = radial_frequency(height, width, image.device)
            lows, highs = [], []
            for block, radius in zip(dct2(image), radii, strict=True):
                low_mask, high_mask = self.band_masks(radius)
                lows.append(block * low_mask)
                highs.append(block * high_mask)
            return idct2(Blocks(*lows)), idct2(Blocks(*highs))

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W, normalised RGB -> B x 9 x H x W: RGB, high band, low band."""
        low, high = self.bands(image)
        # In place: of a large photo each of them is large.
        return torch.cat([image.float(), high.mul_(self.gain_high), low.mul_(self.gain_low)], dim=1)


# --- The DCT by halves ------------------------------------------------------------------------
# The DCT's cosines of even frequency are symmetric about the image's middle, those of odd frequency
# antisymmetric. So the even frequencies are those of the image's symmetric part alone, the odd ones
# those of its antisymmetric part, and either part is given by one half of its side: half the
# multiplications of one large product, and half the memory for its matrix.


class Blocks(NamedTuple):
    """DCT coefficients by the parity of their frequencies down and across.

    Each is ... x h x w, with about half the image's sides: those at an odd size's middle are even.
    """

    even_even: Tensor
    even_odd: Tensor
    odd_even: Tensor
    odd_odd: Tensor


def dct2(image: Tensor) -> Blocks:
    """Orthonormal two-dimensional DCT-II over the last two axes (... x H x W, float)."""
    rows, columns = (dct_matrices(side, image.dtype, image.device) for side in image.shape[-2:])
    return Blocks(
        *(
            rows[down] @ quarter @ columns[across].T
            for down, half in enumerate(_fold(image, -2))
            for across, quarter in enumerate(_fold(half, -1))
        )
    )


def idct2(blocks: Blocks) -> Tensor:
    """The inverse of `dct2` (an orthonormal DCT-III)."""
    first, last = blocks.even_even, blocks.odd_odd
    sides = (first.shape[axis] + last.shape[axis] for axis in (-2, -1))
    rows, columns = (dct_matrices(side, first.dtype, first.device) for side in sides)
    ee, eo, oe, oo = (
        rows[number // 2].T @ block @ columns[number % 2] for number, block in enumerate(blocks)
    )
    return _unfold(_unfold(ee, eo, -1), _unfold(oe, oo, -1), -2)


@lru_cache(maxsize=4)  # of a long side they are large: an archive must not fill the memory
def dct_matrices(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The orthonormal DCT-II matrix's rows of even and of odd frequency, each over the first half.

    ceil(size / 2) x ceil(size / 2) and floor(size / 2) x floor(size / 2).
    """
    with torch.inference_mode(False):  # cached: it may be needed under autograd later
        positions = torch.arange(size, dtype=torch.float64) + 0.5
        even, odd = (
            torch.outer(torch.arange(parity, size, 2), positions[: (size + 1 - parity) // 2])
            .mul_(math.pi / size)
            .cos_()
            .mul_(math.sqrt(2 / size))
            for parity in (0, 1)
        )
        even[0] = math.sqrt(1 / size)
        return even.to(device, dtype), odd.to(device, dtype)


def dct_basis(size: int) -> Tensor:
    """The orthonormal DCT-II's functions of size x size pixels: size^2 x size x size float32.

    In the order of their frequencies down, then across; the first is flat.
    """
    even, odd = dct_matrices(size, torch.float32, torch.device("cpu"))
    matrix = torch.empty(size, size)
    matrix[0::2] = torch.cat([even, even.flip(1)], 1)  # even sizes only: halves without a middle
    matrix[1::2] = torch.cat([odd, -odd.flip(1)], 1)
    return torch.einsum("ih,jw->ijhw", matrix, matrix).flatten(0, 1)


def radial_frequency(height: int, width: int, device: torch.device) -> Blocks:
    """Radial frequency of each DCT coefficient, in [0, 1); 1 is the diagonal Nyquist.

    Ours: scaled by each side's length, so that a cutoff means the same cycles per pixel in an
    image of any size.
    """
    down, across = (
        [(torch.arange(parity, side, 2, device=device) / side).square() / 2 for parity in (0, 1)]
        for side in (height, width)
    )
    return Blocks(*((v[:, None] + h).sqrt() for v in down for h in across))


def _fold(image: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """The first half of the symmetric and of the antisymmetric part along an axis, times 2.

    The middle of an odd size belongs to the symmetric part, as it is.
    """
    size = image.shape[axis]
    half = size // 2
    first, last = image.narrow(axis, 0, half), image.narrow(axis, size - half, half).flip(axis)
    symmetric = first + last
    if size % 2:
        symmetric = torch.cat([symmetric, image.narrow(axis, half, 1)], axis)
    return symmetric, first - last


def _unfold(symmetric: Tensor, antisymmetric: Tensor, axis: int) -> Tensor:
    """The sum of both parts over the whole axis."""
    half = antisymmetric.shape[axis]
    first, middle = symmetric.split([half, symmetric.shape[axis] - half], axis)
    parts = [first + antisymmetric, middle, (first - antisymmetric).flip(axis)]
    return torch.cat(parts, axis)


# --- The bands by FFT -------------------------------------------------------------------------
# A DCT of N values is an FFT of the same values in another order (those of even places forwards,
# then those of odd places backwards), each coefficient turned by a phase (Makhoul 1980). Two real
# sequences fit into one complex FFT; here these are the frequencies k and W - k across.

FFT_PIXELS = 256 * 256  # from here on it takes less time than matrices


def _fft_wins(image: Tensor) -> bool:
    """Whether the bands of this image are wanted from an FFT: where nothing has to be learned from
    them or exported, on a CPU, and where the image is large enough."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return image.device.type == "cpu" and image.shape[-2] * image.shape[-1] >= FFT_PIXELS


def bands_by_fft(image: Tensor, masks: Callable[[Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
    """What is left of an image (... x H x W, float) when its DCT coefficients are multiplied by a
    mask, for each of the `masks` of radial frequency. Without gradients.

    One channel after another, so that of a large image little is in memory.
    """
    height, width = image.shape[-2:]
    phases = _Phases.of(height, width, image)
    of_bands = masks(phases.radius)
    bands = [torch.empty_like(image, memory_format=torch.contiguous_format) for _ in of_bands]
    channels = image.reshape(-1, height, width)
    for index, channel in enumerate(channels):
        spectrum = torch.fft.rfft2(_evens_first(channel))
        # H x (W // 2 + 1): coefficient (k, l) as the real part, less (k, W - l) times i.
        pairs = spectrum * phases.down
        pairs.addcmul_(spectrum[phases.opposite], phases.down.conj()).mul_(phases.across)
        for mask, band in zip(of_bands, bands, strict=True):
            kept = torch.view_as_complex(torch.view_as_real(pairs) * mask)
            spectrum = kept * phases.up
            spectrum.addcmul_(kept[phases.opposite], phases.up_opposite)
            spectrum.mul_(phases.across.conj())
            values = torch.fft.irfft2(spectrum, s=(height, width))
            _write_in_order(values, band.view(-1, height, width)[index])
    return bands


class _Phases(NamedTuple):
    """By what an FFT of an H x W image is turned to its DCT and back; h = W // 2 + 1."""

    down: Tensor  # H x 1, complex
    across: Tensor  # h, complex
    up: Tensor  # H x 1, complex: back along the columns
    up_opposite: Tensor  # H x 1, complex: the same for coefficients of frequency H - k
    opposite: Tensor  # H: H - k, and 0 for 0
    radius: Tensor  # H x h x 2: radial frequencies of (k, l) and (k, W - l)

    @classmethod
    def of(cls, height: int, width: int, like: Tensor) -> _Phases:
        k = torch.arange(height, dtype=torch.float64)[:, None]
        across = torch.arange(width // 2 + 1, dtype=torch.float64)
        turn = torch.polar(torch.ones_like(k), -math.pi / 2 * k / height)
        turn_across = torch.polar(torch.ones_like(across), -math.pi / 2 * across / width)
        up_opposite = -1j * turn.conj()
        up_opposite[0] = 0  # frequency H is none
        kind = torch.promote_types(like.dtype, torch.complex32)
        down = (k / height)[..., None].square().to(like.dtype)
        sideways = (torch.stack([across, width - across], -1) / width).square().to(like.dtype)
        return cls(
            down=(turn / 2).to(kind),
            across=turn_across.to(kind),
            up=turn.conj().to(kind),
            up_opposite=up_opposite.to(kind),
            opposite=-torch.arange(height) % height,
            radius=((down + sideways) / 2).sqrt_(),
        )


def _evens_first(values: Tensor) -> Tensor:
    """H x W: along both axes those of even places, then those of odd places backwards."""
    rows = values[_even_places_first(len(values))]
    return torch.cat([rows[:, ::2], rows[:, 1::2].flip(1)], 1)


def _write_in_order(values: Tensor, result: Tensor) -> None:
    """Undo `_evens_first`."""
    evens = (values.shape[1] + 1) // 2
    order = _even_places_first(len(values))
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order))
    rows = values[places]
    result[:, ::2] = rows[:, :evens]
    result[:, 1::2] = rows[:, evens:].flip(1)


def _even_places_first(count: int) -> Tensor:
    return torch.cat([torch.arange(0, count, 2), torch.arange(1, count, 2).flip(0)])

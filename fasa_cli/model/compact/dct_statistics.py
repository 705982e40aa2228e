"""Local DCT statistics: where a photo's finest frequencies depart from those of its other parts.

Ours, beside the paper's whole-image bands, on in `compact`. Noise, resampling, compression and
generators show in how strong the finest frequencies are in each small part of a photo, and in how
they relate to each other: those of colour to those of brightness, say. A network that starts from
pixels learns objects long before it learns that (benchmarks/accuracy.md).

Strength alone cries wolf: a clipped sky, a background out of focus and a dark corner have little
of it too. So the statistics also say what explains it (brightness, colour, clipped pixels, the
strength of coarser frequencies), and what is left when that is explained.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.model.compact.blocks import ResidualBlock
from fasa_cli.model.frequency import dct_basis

CELL = 8  # pixels, a cell's side: that of JPEG's blocks
_YCC = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # as in JPEG files
_QUIET = 0.3, 0.5  # grey levels below which strengths are equal: of 4 x 4 and of 8 x 8 pixels
_CLIPPED = 0.5 / 255  # from 0 or 1: half a grey level
_RIDGE = 1e-2  # of the noise level function's fit
_ROWS = 128  # of a photo that are measured together, a multiple of CELL
_MARGIN = 6 * CELL  # around them: the coarsest strengths look that far
_FINE_SEES = 2  # cells around its own that what is fine looks at, at most
_BLOCK_ROWS = 128  # of cells that a residual block processes together

FINE = 3 * 15  # channels: strengths of 4 x 4 DCTs, which the noise level function explains


class LocalStatistics(nn.Module):
    """Small DCTs around each cell, how strong their coefficients are, and what explains that.

    Nothing is learned. `channels`:

    - 0-44: the logarithm of the mean strength, over 16 x 16 pixels, of the 15 functions of 4 x 4
      pixels that vary, for brightness and for both colour differences.
    - 45-170: of the 63 varying coefficients of brightness in each 8 x 8 block of the grid that
      starts at the corner, as JPEG's does, the mean logarithm of their strength and the share
      near 0, over 3 x 3 blocks.
    - 171-180: mean brightness and colour differences, saturation, and the shares of pixels at the
      largest and at the smallest value of each channel.
    - 181-210: strengths of 4 x 4 DCTs of brightness at half and at a quarter of the resolution.
    """

    channels = FINE + 2 * 63 + 10 + 2 * 15
    factors = 13  # of the noise level function
    small: Tensor
    block: Tensor
    grey: Tensor
    ycc: Tensor

    def __init__(self) -> None:
        super().__init__()
        ycc = torch.tensor(_YCC)
        basis = dct_basis(4)[1:]
        small = torch.einsum("cr,khw->ckrhw", 255 * ycc, basis).flatten(0, 1)
        block = torch.einsum("r,khw->krhw", 255 * ycc[0], dct_basis(8)[1:])
        self.register_buffer("small", small, persistent=False)  # 45 x 3 x 4 x 4
        self.register_buffer("block", block, persistent=False)  # 63 x 3 x 8 x 8
        self.register_buffer("grey", 255 * basis[:, None], persistent=False)  # 15 x 1 x 4 x 4
        self.register_buffer("ycc", ycc, persistent=False)

    def forward(
        self, image: Tensor, first: int = 0, last: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """B x 3 x H x W RGB in [0, 1] -> the statistics, B x channels x ceil(H / 8) x ceil(W / 8),
        and the factors of the noise level function, B x factors x the same grid; float32.

        Only of the rows of cells `first` to `last`, where these are given: what is fine sees fewer
        of those around than what is coarse.
        """
        height, width = image.shape[-2:]
        last = -(-height // CELL) if last is None else last
        with torch.autocast(image.device.type, enabled=False), torch.no_grad():
            image = F.pad(image.float(), (0, -width % CELL, 0, -height % CELL), mode="replicate")
            image = image.contiguous(memory_format=torch.channels_last)  # half the time on a CPU
            top = max(0, first - _FINE_SEES)
            near = image[:, :, top * CELL : (last + _FINE_SEES) * CELL]
            around = F.pad(near, (1, 2, 1, 2), mode="replicate")
            fine = torch.log(_by_cell(F.conv2d(around, self.small).abs_()).add_(_QUIET[0]))
            blocks = F.conv2d(near, self.block, stride=CELL).abs_()
            near_zero = torch.exp(-2 * blocks.square())
            logarithms = torch.log(blocks.add_(_QUIET[1]))
            of_blocks = _mean_3x3(torch.cat([logarithms, near_zero], 1))
            means = _by_cell(torch.einsum("cr,brhw->bchw", self.ycc, near))
            saturation = _by_cell(near.amax(1, keepdim=True) - near.amin(1, keepdim=True))
            ends = [(near > 1 - _CLIPPED).float(), (near < _CLIPPED).float()]
            clipped = _by_cell(torch.cat(ends, 1))
            inner = slice(first - top, last - top)
            fine, of_blocks, means, saturation, clipped = (
                one[:, :, inner] for one in (fine, of_blocks, means, saturation, clipped)
            )
            luma = torch.einsum("r,brhw->bhw", self.ycc[0], image)[:, None]
            half, quarter = (self._coarse(luma, factor)[:, :, first:last] for factor in (2, 4))
            parts = [fine, of_blocks, means, saturation, clipped, half, quarter]
            return torch.cat(parts, 1), _factors(means[:, :1], saturation, clipped, half, quarter)

    def _coarse(self, luma: Tensor, factor: int) -> Tensor:
        luma = F.avg_pool2d(luma, factor)
        strength = F.conv2d(F.pad(luma, (1, 2, 1, 2), mode="replicate"), self.grey).abs_()
        return torch.log(_mean_3x3(F.avg_pool2d(strength, CELL // factor)).add_(_QUIET[0]))


class NoiseLevelFunction:
    """How strong the finest frequencies of one photo are at a brightness, saturation, sharpness.

    Least squares over the photo's own cells; `add` takes them some at a time.
    """

    def __init__(self) -> None:
        self._squares: Tensor | float = 0.0
        self._products: Tensor | float = 0.0
        self._count = 0

    def add(self, factors: Tensor, fine: Tensor) -> None:
        """B x factors x h x w and B x FINE x h x w."""
        x, y = factors.flatten(2), fine.flatten(2)
        self._squares = self._squares + x @ x.transpose(1, 2)
        self._products = self._products + x @ y.transpose(1, 2)
        self._count += x.shape[2]

    def weights(self) -> Tensor:
        """B x FINE x factors."""
        assert isinstance(self._squares, Tensor)
        assert isinstance(self._products, Tensor)
        squares = self._squares / self._count
        ridge = _RIDGE * torch.eye(squares.shape[1], device=squares.device)
        return torch.linalg.solve(squares + ridge, self._products / self._count).transpose(1, 2)


class DctStatistics(nn.Module):
    """The local statistics, and a few convolutions over them that see the photo's mean as well."""

    def __init__(self, width: int, depth: int) -> None:
        """`width` channels, `depth` residual blocks."""
        super().__init__()
        self.statistics = LocalStatistics()
        channels = self.statistics.channels + FINE
        self.norm = nn.BatchNorm2d(channels)
        self.project = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(ResidualBlock(width, context=True) for _ in range(depth))

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W RGB in [0, 1] -> B x width x ceil(H / 8) x ceil(W / 8)."""
        return self.of_photo(lambda rows: image[:, :, rows], image.shape[2])

    def of_photo(self, pixels: Callable[[slice], Tensor], height: int) -> Tensor:
        """The same for a photo of this height, of which `pixels` gives some of its rows.

        In strips, of which few lie in memory at a time; but in training, where batch norm must see
        all at once.
        """
        if self.training:
            features = self._projected(pixels(slice(0, height)))
        else:
            features = self._projected_in_strips(pixels, height)
        for block in self.blocks:  # each frees what the last one gave
            assert isinstance(block, ResidualBlock)
            features = block(features) if self.training else _block_in_strips(block, features)
        return features

    def _projected(self, image: Tensor) -> Tensor:
        statistics, factors = self.statistics(image)
        with torch.autocast(image.device.type, enabled=False), torch.no_grad():
            function = NoiseLevelFunction()
            function.add(factors, statistics[:, :FINE])
            explained = torch.einsum("bfk,bkhw->bfhw", function.weights(), factors)
            statistics = torch.cat([statistics, statistics[:, :FINE] - explained], 1)
        return self.project(self.norm(statistics))

    def _projected_in_strips(self, pixels: Callable[[slice], Tensor], height: int) -> Tensor:
        """Norm and projection are linear, so what the photo explains can be taken away after."""
        with torch.autocast("cpu", enabled=False):
            norm, weight = self.norm, self.project.weight[..., 0, 0]
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weight = weight * scale  # width x (channels + FINE)
            bias = self.project.weight[..., 0, 0] @ (norm.bias - norm.running_mean * scale)
            if self.project.bias is not None:
                bias = bias + self.project.bias
            known = self.statistics.channels
            whole = weight[:, :known].clone()
            whole[:, :FINE] += weight[:, known:]
            function = NoiseLevelFunction()
            factors: list[Tensor] = []

            def strip(first: int, last: int, start: int, stop: int) -> Tensor:
                part = pixels(slice(start * CELL, stop * CELL))
                statistics, own = self.statistics(part, first - start, last - start)
                function.add(own, statistics[:, :FINE])
                factors.append(own)
                return F.conv2d(statistics, whole[..., None, None], bias)

            cells = -(-height // CELL)
            features = in_strips(strip, cells, _ROWS // CELL, _MARGIN // CELL)
            explained = weight[:, known:] @ function.weights()  # B x width x factors
            for start, own in zip(range(0, cells, _ROWS // CELL), factors, strict=True):
                part = features[:, :, start : start + own.shape[2]]
                part -= torch.einsum("bwk,bkhc->bwhc", explained, own)
            return features


def _factors(
    brightness: Tensor, saturation: Tensor, clipped: Tensor, half: Tensor, quarter: Tensor
) -> Tensor:
    """What a photo's noise level may depend on, B x factors x h x w."""
    y = brightness
    share, any_clipped = clipped.mean(1, keepdim=True), clipped.amax(1, keepdim=True) > 0.05
    h, q = half.mean(1, keepdim=True), quarter.mean(1, keepdim=True)
    finest = half[:, -6:].mean(1, keepdim=True)
    powers = [torch.ones_like(y), y, y**2, y**3]
    return torch.cat(
        [*powers, share, any_clipped.float(), saturation, h, finest, q, h * h, h * y, q * y], 1
    )


def _by_cell(values: Tensor) -> Tensor:
    """Means over 16 x 16 pixels around each cell of 8 x 8."""
    return F.avg_pool2d(F.avg_pool2d(values, 4), 4, 2, 1, count_include_pad=False)


def _mean_3x3(cells: Tensor) -> Tensor:
    return F.avg_pool2d(cells, 3, 1, 1, count_include_pad=False)


def _block_in_strips(block: ResidualBlock, features: Tensor) -> Tensor:
    """A residual block on all of `features`, of whose steps only a strip's lie in memory."""
    context = block.context_of(features)

    def strip(first: int, last: int, start: int, stop: int) -> Tensor:
        part = block(features[:, :, start:stop], context)
        return part[:, :, first - start : last - start]

    return in_strips(strip, features.shape[2], _BLOCK_ROWS, 2)  # its two 3 x 3 convolutions


def in_strips(
    strip: Callable[[int, int, int, int], Tensor], height: int, rows: int, margin: int
) -> Tensor:
    """The rows 0..height, computed some at a time.

    `strip(first, last, start, stop)` gives the rows first..last, computed from start..stop, which
    are up to `margin` more on both sides.
    """
    whole: Tensor | None = None
    for first in range(0, height, rows):
        last = min(height, first + rows)
        part = strip(first, last, max(0, first - margin), min(height, last + margin))
        if rows >= height:
            return part
        if whole is None:
            whole = part.new_empty(*part.shape[:2], height, part.shape[3])
        whole[:, :, first:last] = part
    assert whole is not None
    return whole

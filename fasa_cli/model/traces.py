"""Traces in place: where the pixels' local statistics depart from those of the rest of the photo.

Ours, beside the paper's whole-image bands, on in `compact`. What noise, resampling, compression and
generators leave shows in how strong the finest frequencies are in each small part of a photo, and
in how they relate to each other: that of colour to that of brightness, say. A network that starts
from pixels learns objects long before it learns that; given these numbers and little else, a small
one learns it from ten thousand samples, and since contents are mostly left out, from our forgeries
for those of others (benchmarks/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import TracesConfig
from fasa_cli.model.backbones import ResidualBlock
from fasa_cli.model.frequency import dct_basis

CELL = 8  # pixels, a cell's side: that of JPEG's blocks
_YCC = ((0.299, 0.587, 0.114), (-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # as in JPEG files
_QUIET = 0.3, 0.5  # grey levels below which strengths are equal: of 4 x 4 and of 8 x 8 pixels
_ROWS = 128  # of a photo that are looked at together, a multiple of CELL
_MARGIN = 2 * CELL  # around them: a cell's statistics look at less
_BLOCK_ROWS = 128  # of cells that a residual block has in hand together


class LocalStatistics(nn.Module):
    """Small DCTs around each cell, and how strong their coefficients are. Nothing is learned.

    - `channels` 0-44: the logarithm of the mean strength, over 16 x 16 pixels, of the 15 functions
      of 4 x 4 pixels that vary, for brightness and for both colour differences.
    - 45-170: of the 63 varying coefficients of brightness in each 8 x 8 block of the grid that
      starts at the photo's corner, as JPEG's does, the mean logarithm of their strength and the
      share near 0, over 3 x 3 blocks.
    """

    channels = 3 * 15 + 2 * 63
    small: Tensor
    block: Tensor

    def __init__(self) -> None:
        super().__init__()
        colours = 255 * torch.tensor(_YCC)
        small = torch.einsum("cr,khw->ckrhw", colours, dct_basis(4)[1:]).flatten(0, 1)
        block = torch.einsum("r,khw->krhw", colours[0], dct_basis(8)[1:])
        self.register_buffer("small", small, persistent=False)  # 45 x 3 x 4 x 4
        self.register_buffer("block", block, persistent=False)  # 63 x 3 x 8 x 8

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W RGB in [0, 1] -> B x channels x ceil(H / 8) x ceil(W / 8), float32."""
        height, width = image.shape[-2:]
        with torch.autocast(image.device.type, enabled=False), torch.no_grad():
            image = F.pad(image.float(), (0, -width % CELL, 0, -height % CELL), mode="replicate")
            image = image.contiguous(memory_format=torch.channels_last)  # half the time on a CPU
            around = F.pad(image, (1, 2, 1, 2), mode="replicate")
            strength = F.avg_pool2d(F.conv2d(around, self.small).abs_(), 4)
            strength = F.avg_pool2d(strength, 4, 2, 1, count_include_pad=False)
            blocks = F.conv2d(image, self.block, stride=CELL).abs_()
            near_zero = torch.exp(-2 * blocks.square())
            small_quiet, block_quiet = _QUIET
            logarithms = torch.log(blocks.add_(block_quiet))
            of_blocks = F.avg_pool2d(
                torch.cat([logarithms, near_zero], 1), 3, 1, 1, count_include_pad=False
            )
            return torch.cat([torch.log(strength.add_(small_quiet)), of_blocks], 1)


class TraceStream(nn.Module):
    """A few convolutions over the local statistics, which see the photo's mean as well."""

    def __init__(self, config: TracesConfig) -> None:
        super().__init__()
        self.statistics = LocalStatistics()
        self.norm = nn.BatchNorm2d(self.statistics.channels)
        self.project = nn.Conv2d(self.statistics.channels, config.width, 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(config.width, context=True) for _ in range(config.depth)
        )
        self.classify = nn.Conv2d(config.width, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W RGB in [0, 1] -> logits, B x 1 x ceil(H / 8) x ceil(W / 8)."""
        return self.of_photo(lambda rows: image[:, :, rows], image.shape[2])

    def of_photo(self, pixels: Callable[[slice], Tensor], height: int) -> Tensor:
        """The same for a photo of this height, of which `pixels` gives some of its rows.

        In strips, of which few lie in memory at a time; but in training, where batch norm must see
        all at once.
        """
        features = self._looked(pixels, height)
        for block in self.blocks:  # each frees what the last one gave
            assert isinstance(block, ResidualBlock)
            features = block(features) if self.training else _block_in_strips(block, features)
        return self.classify(features)

    def _looked(self, pixels: Callable[[slice], Tensor], height: int) -> Tensor:
        """The projected statistics, B x width x cells x cells."""
        if self.training:
            return self._projected(pixels(slice(0, height)))

        def strip(first: int, last: int) -> Tensor:
            return self._projected(pixels(slice(first * CELL, last * CELL)))

        return _in_strips(strip, -(-height // CELL), _ROWS // CELL, _MARGIN // CELL)

    def _projected(self, image: Tensor) -> Tensor:
        return self.project(self.norm(self.statistics(image)))


def _block_in_strips(block: ResidualBlock, features: Tensor) -> Tensor:
    """A residual block on all of `features`, of whose steps only a strip's lie in memory."""
    told = block.tell(features)

    def strip(first: int, last: int) -> Tensor:
        return block(features[:, :, first:last], told)

    return _in_strips(strip, features.shape[2], _BLOCK_ROWS, 2)  # its two 3 x 3 convolutions


def _in_strips(strip: Callable[[int, int], Tensor], height: int, rows: int, margin: int) -> Tensor:
    """The rows 0..height, computed some at a time: `strip` gives first..last, or to the end.

    Each with `margin` rows around it, which are dropped: there it sees too little.
    """
    whole: Tensor | None = None
    for top in range(0, height, rows):
        start = max(0, top - margin)
        part = strip(start, min(height, top + rows + margin))[:, :, top - start :][:, :, :rows]
        if rows >= height:
            return part
        if whole is None:
            whole = part.new_empty(*part.shape[:2], height, part.shape[3])
        whole[:, :, top : top + rows] = part
    assert whole is not None
    return whole

"""The side backbone of `compact` and `tiny`: a plain residual network, joined by DCT statistics."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import SideConfig
from fasa_cli.model.backbones import DEEPEST_STRIDE, Inject
from fasa_cli.model.compact.blocks import ResidualBlock, convolution
from fasa_cli.model.compact.dct_statistics import DctStatistics


class ResidualSide(nn.Module):
    """A plain residual network for `compact`: stages at strides 4, 8, 16, 32.

    Ours: batch norm and 3x3 convolutions train and run fastest on a CPU, and batch norm folds into
    them at inference. The stem works at stride 2, not 4, so that pixel-level residuals get a
    non-linear step before they are averaged away. Local DCT statistics have a cell per 8 x 8
    pixels, so they join the second stage; the stages after it decide on both together.
    """

    STRIDES = (4, 8, 16, DEEPEST_STRIDE)
    JOINED = 1  # the index of the stage that the statistics join

    def __init__(self, config: SideConfig, in_channels: int) -> None:
        super().__init__()
        self.widths = config.widths
        stem_width = config.widths[0] // 2
        self.stem = ResidualStem(in_channels, stem_width, config.energy_width)
        incoming = (stem_width, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                convolution(before, width, stride=2),
                *(
                    ResidualBlock(
                        width, config.context, config.context_window, DEEPEST_STRIDE // stride
                    )
                    for _ in range(depth)
                ),
            )
            for before, width, depth, stride in zip(
                incoming, config.widths, config.depths, self.STRIDES, strict=True
            )
        )
        self.statistics: DctStatistics | None = None
        self.statistics_dropout = config.statistics_dropout
        if config.statistics_width and in_channels > 3:  # part of the frequency pathway
            self.statistics = DctStatistics(config.statistics_width, config.statistics_depth)
            self.join = nn.Conv2d(config.statistics_width, self.widths[self.JOINED], 1)

    def forward(self, side_input: Tensor, image: Tensor, inject: Inject) -> list[Tensor]:
        """See `SideBackbone`."""
        joined = None
        if self.statistics is not None:
            cells = self.statistics(image)
            if self.training and self.statistics_dropout:
                cells = mean_of_some(cells, self.statistics_dropout)
            joined = self.padded(self.join(cells), side_input.shape[-2:])
        features, stages = self.stem(side_input), []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if joined is not None and index == self.JOINED:
                features = features + joined
            features = inject(features, index)
            stages.append(features)
        return stages

    def padded(self, cells: Tensor, size: Sequence[int]) -> Tensor:
        """A map of the image's cells -> of the padded image's, `size` = (height, width) pixels: the
        last ones are repeated."""
        stride = self.STRIDES[self.JOINED]
        down, across = (
            side // stride - count for side, count in zip(size, cells.shape[-2:], strict=True)
        )
        return F.pad(cells, (0, across, 0, down), mode="replicate") if down or across else cells


def mean_of_some(cells: Tensor, share: float) -> Tensor:
    """B x C x h x w -> the same, where a random `share` of the samples has its mean everywhere."""
    dropped = torch.rand(len(cells), 1, 1, 1, device=cells.device) < share
    return torch.where(dropped, cells.mean((2, 3), keepdim=True), cells)


_STRIP_ROWS = 256  # of pixels, even


class ResidualStem(nn.Module):
    """The first step from pixels, at stride 2: convolutions, and residual energy if configured."""

    def __init__(self, in_channels: int, width: int, energy_width: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(in_channels, width, kernel=5, stride=2), convolution(width, width)
        )
        self.energy = ResidualEnergy(in_channels, energy_width) if energy_width else None
        self.mix = convolution(width + energy_width, width) if energy_width else None

    def forward(self, image: Tensor) -> Tensor:
        """B x C x H x W, even sides -> B x width x H/2 x W/2."""
        if self.training:
            return self._features(image)
        # In strips: of a large photo nothing else would take so much memory. The same numbers,
        # since a position sees 6 pixels around it and a strip 8 more than it answers for.
        height = image.shape[2]
        strips = []
        for top in range(0, height, _STRIP_ROWS):
            start, stop = max(0, top - 8), top + _STRIP_ROWS
            rows = self._features(image[:, :, start : stop + 8])[:, :, (top - start) // 2 :]
            strips.append(rows[:, :, : _STRIP_ROWS // 2])
        return torch.cat(strips, dim=2)

    def _features(self, image: Tensor) -> Tensor:
        features = self.layers(image)
        if self.energy is None or self.mix is None:
            return features
        return self.mix(torch.cat([features, self.energy(image)], dim=1))


class ResidualEnergy(nn.Module):
    """Log-energy of high-pass residuals: how strongly learned filters respond around a position.

    Ours: noise, resampling and compression are differences of a few grey levels under contents of
    a hundred; what shows a region's history is not the sign of such a residual but its local
    strength, and by what factor it departs from the rest. A plain network takes very long to find
    such features behind the contents (benchmarks/accuracy.md). The filters sum to zero, so that
    flat colour and brightness drop out.
    """

    FLOOR = 1e-2  # in units of the normalised input, about half a grey level: quiet areas are equal

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(in_channels, width, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, image: Tensor) -> Tensor:
        """B x C x H x W, even sides -> B x width x H/2 x W/2, normalised log-energy."""
        weight = self.filters.weight
        response = F.conv2d(image, weight - weight.mean((2, 3), keepdim=True), padding=2)
        # In place: at full resolution, so many channels cost more to allot than to compute.
        energy = F.avg_pool2d(response.abs_().float(), 4, stride=2, padding=1)
        return self.norm(torch.log(energy + self.FLOOR))

"""The building blocks of `compact`: convolutions that fold, and residual blocks with context."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity, B x C x h x w -> the same shape.

    Ours: with `context` every position also sees the mean features of the image, or of a context
    window around it. A statistic is suspicious only where it departs from the rest of the same
    picture; and what is ordinary in a large picture departs from that picture's mean.
    """

    def __init__(self, width: int, context: bool = False, window: int = 0, cell: int = 1) -> None:
        """The context window reaches `window` cells to each side (0: the whole image); a cell's
        side is `cell` positions."""
        super().__init__()
        self.window, self.cell = window, cell
        self.first = convolution(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.context = nn.Linear(width, width) if context else None

    def forward(self, features: Tensor, context: Tensor | None = None) -> Tensor:
        """B x C x h x w -> the same shape. Where these are a part of an image, `context` is what
        `context_of` gives for all of it, or that for this part."""
        change = self.second(self.first(features))
        if self.context is not None:
            if context is None:
                cells = F.avg_pool2d(features, self.cell) if self.window else features
                context = self.context_of(cells)
            size = features.shape[-2:]
            if context.shape[-2:] not in ((1, 1), size):
                context = F.interpolate(context, size, mode="bilinear", align_corners=False)
            change = change + context
        return F.relu(features + change)

    def context_of(self, cells: Tensor) -> Tensor:
        """Mean features of an image's cells -> what is added at its positions: B x C x 1 x 1, or a
        map with one position per cell."""
        assert self.context is not None
        mean = mean_around(cells, self.window) if self.window else cells.mean((2, 3), keepdim=True)
        return self.context(mean.movedim(1, -1)).movedim(-1, 1)


def mean_around(cells: Tensor, window: int) -> Tensor:
    """At each cell, the mean of those up to `window` away; near borders, of the nearest as many."""
    rows, columns = (min(2 * window + 1, length) for length in cells.shape[-2:])
    mean = F.avg_pool2d(F.avg_pool2d(cells, (rows, 1), 1), (1, columns), 1)
    above, left = (rows - 1) // 2, (columns - 1) // 2
    return F.pad(mean, (left, columns - 1 - left, above, rows - 1 - above), mode="replicate")


def convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )

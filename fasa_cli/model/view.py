"""Tiles of one photo: what each must know of the whole (see tiling.py)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """Where a tile lies in the photo that it is cut from, and that photo's maps.

    `semantic_map` is 1 x D x h x w, or None in variants without PSA; `trace_map` is 1 x 1 x h x w,
    or None in models without. `photo` and `tile` are (height, width), `corner` is (top, left), all
    in pixels and padded as the model pads.
    """

    semantic_map: Tensor | None
    photo: tuple[int, int]
    tile: tuple[int, int]
    corner: tuple[int, int]
    trace_map: Tensor | None = None

    def part_of(self, whole: Tensor, size: tuple[int, int]) -> Tensor:
        """1 x C x h x w over the photo -> 1 x C x size over the tile, bilinearly.

        The same numbers as resizing to the photo's grid and cropping, without a map of that size.
        """
        rows, columns = (self._weights(whole, size[axis], axis) for axis in (0, 1))
        return rows @ whole @ columns.T

    def _weights(self, whole: Tensor, count: int, axis: int) -> Tensor:
        """count x cells weights of a linear interpolation, as F.interpolate's: outer edges meet."""
        cells = whole.shape[2 + axis]
        step = self.tile[axis] / count
        pixels = self.corner[axis] + (torch.arange(count, dtype=torch.float64) + 0.5) * step
        positions = (pixels * cells / self.photo[axis] - 0.5).clamp(0, cells - 1)
        weights = torch.relu(1 - (positions[:, None] - torch.arange(cells)).abs())
        return weights.to(whole)

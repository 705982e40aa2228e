"""Large photos in overlapping tiles: bounded memory at native resolution.

Ours: the paper resizes every image, which destroys the traces that a native-resolution model
lives on. A tile alone would not give the photo's answer, since three parts of the model see all of
the photo:

- The semantic encoder runs once on the photo, resized as ever; each tile gets its part of the map.
- `context`, the photo's mean features, is measured over all tiles block by block, since each
  block's mean depends on those before it. Means of single tiles would show as steps of up to 0.1
  in the probabilities, means of a sample of windows of up to 0.09; these of 0.0002.
- The DCT: a band mask depends on cycles per pixel only, so that a band is a convolution with one
  fast-fading kernel at any size. What a tile's border changes in it, the overlap hides.

The overlap hides the borders of the convolutions as well, so nothing needs blending: where two
tiles overlap, the one whose border is farther away answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.model.backbones import ResidualBlock, ResidualSide
from fasa_cli.model.fasa import DEEPEST_STRIDE, Fasa
from fasa_cli.model.view import View

TILE = 1536  # pixels, a tile's side; smaller ones overlap more, larger ones have a costlier DCT
OVERLAP = 256  # pixels that neighbours share, about: borders are then no nearer than 112
_LARGEST = torch.finfo(torch.float16).max
_ROWS = 256  # of a photo that are resized at a time

_Layer = Callable[[Tensor, View], Tensor]


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it covers start..stop and answers for first..last, in pixels."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Cover an axis evenly with equal tiles of at most `tile` pixels that share about `overlap`.

    All numbers are multiples of DEEPEST_STRIDE, so that every stage's grid is the photo's own;
    the last ones are the padded length.
    """
    length = _padded(length)
    if length <= tile:
        return [Span(0, length, 0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    needed = _padded(-(-(length + (count - 1) * overlap) // count))
    cells, tile_cells = length // DEEPEST_STRIDE, min(tile, needed) // DEEPEST_STRIDE
    starts = [round(i * (cells - tile_cells) / (count - 1)) for i in range(count)]
    stops = [start + tile_cells for start in starts]
    borders = [0, *((a + b) // 2 for a, b in zip(starts[1:], stops, strict=False)), cells]
    return [
        Span(*(DEEPEST_STRIDE * cell for cell in span))
        for span in zip(starts, stops, borders, borders[1:], strict=False)
    ]


def localise_in_tiles(
    model: Fasa, photo: np.ndarray, tile: int = TILE, overlap: int = OVERLAP
) -> tuple[np.ndarray, int]:
    """What the model, which must work at native resolution, answers for a photo of any size.

    `photo` is H x W x 3 uint8 RGB. Returns H x W float32 probabilities and the number of tiles.
    Within 0.002 of the answer for the whole at once; with trained weights 0.0002 was measured.
    """
    with torch.inference_mode():
        return _TiledPhoto(model, photo, tile, overlap).probabilities()


def to_unit_range(images: Tensor) -> Tensor:
    """B x H x W x 3 uint8 -> B x 3 x H x W float32 in [0, 1]."""
    return images.permute(0, 3, 1, 2).float().div(255)


@dataclass(frozen=True)
class _Tile:
    rows: Span
    columns: Span

    def core_of(self, features: Tensor) -> Tensor:
        """The part of the tile's features (... x h x w) that no other tile answers for."""
        rows, columns = (
            slice(
                (span.first - span.start) * cells // (span.stop - span.start),
                (span.last - span.start) * cells // (span.stop - span.start),
            )
            for span, cells in zip((self.rows, self.columns), features.shape[-2:], strict=True)
        )
        return features[..., rows, columns]


class _TiledPhoto:
    """One photo, its tiles, and what they are told of the whole."""

    def __init__(self, model: Fasa, photo: np.ndarray, tile: int, overlap: int) -> None:
        self._model, self._photo = model, torch.from_numpy(photo)
        self._device = next(model.parameters()).device
        height, width = photo.shape[:2]
        self._size = _padded(height), _padded(width)
        self._tiles = [
            _Tile(rows, columns)
            for rows in spans(height, tile, overlap)
            for columns in spans(width, tile, overlap)
        ]
        self._semantic_map = model.semantic_map(self._shrunk(model.config.encoder.size))

    def probabilities(self) -> tuple[np.ndarray, int]:
        means = self._means()
        answer = np.empty(self._photo.shape[:2], np.float32)
        with self._fed(means):
            for tile in self._tiles:
                output = self._model(self._pixels(tile), self._view(tile))
                rows, columns = tile.rows, tile.columns
                part = answer[rows.first : rows.last, columns.first : columns.last]
                top, left = rows.first - rows.start, columns.first - columns.start
                core = output.probabilities[0, 0, top:, left:]
                part[:] = core[: part.shape[0], : part.shape[1]].cpu().numpy()
        return answer, len(self._tiles)

    def _pixels(self, tile: _Tile) -> Tensor:
        rows, columns = tile.rows, tile.columns
        pixels = self._photo[rows.start : rows.stop, columns.start : columns.stop]
        return to_unit_range(pixels[None].to(self._device))

    def _view(self, tile: _Tile) -> View:
        rows, columns = tile.rows, tile.columns
        size = (rows.stop - rows.start, columns.stop - columns.start)
        return View(self._semantic_map, self._size, size, (rows.start, columns.start))

    def _shrunk(self, side: int) -> Tensor:
        """1 x 3 x side x side in [0, 1]: one antialiased resize of the photo, row by row first."""
        strips = [
            _resized(to_unit_range(rows[None].to(self._device)), (len(rows), side))
            for rows in self._photo.split(_ROWS)
        ]
        return _resized(torch.cat(strips, dim=2), (side, side))

    # --- The photo's mean features ---

    def _means(self) -> dict[nn.Module, Tensor]:
        """What each `context` of the side backbone is fed with: the photo's mean, 1 x C."""
        means: dict[nn.Module, Tensor] = {}
        side = self._model.side
        if not isinstance(side, ResidualSide):
            return means
        kept = _Kept(len(self._tiles))
        layers: list[_Layer] = [_plain(side.stem)]  # from the pixels, or from what is kept, to here
        with self._fed(means):
            for index, stage in enumerate(side.stages):
                for layer in stage.children():
                    if isinstance(layer, ResidualBlock) and layer.context is not None:
                        means[layer.context] = self._mean(layers, kept)
                        layers = []
                    layers.append(_plain(layer))
                layers.append(self._injection(index))
        return means

    def _mean(self, layers: list[_Layer], kept: _Kept) -> Tensor:
        sums, cells = [], 0
        for number, tile in enumerate(self._tiles):
            features = kept.get(number)
            if features is None:
                features = self._model.side_input(self._pixels(tile))
            view = self._view(tile)
            for layer in layers:
                features = layer(features, view)
            kept.put(number, features)
            core = tile.core_of(features)
            sums.append(core.double().sum((2, 3)))
            cells += core.shape[2] * core.shape[3]
        return (torch.stack(sums).sum(0) / cells).float()

    @contextmanager
    def _fed(self, means: Mapping[nn.Module, Tensor]) -> Iterator[None]:
        """Feed each `context` with the photo's mean, not the tile's."""
        hooks = [
            block.context.register_forward_pre_hook(lambda module, inputs: (means[module],))
            for block in self._model.side.modules()
            if isinstance(block, ResidualBlock) and block.context is not None
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _injection(self, index: int) -> _Layer:
        return lambda features, view: self._model.inject(features, index, view.semantic_map, view)


class _Kept:
    """Features of all tiles, in one block of memory: freed in pieces, it would not be given back.

    What is put later must not be larger than what was put first. Kept in half precision, about
    7 bytes a pixel: only means are taken of what comes out, in which the rounding averages out.
    """

    def __init__(self, count: int) -> None:
        self._memory: Tensor | None = None
        self._shapes: list[torch.Size | None] = [None] * count

    def get(self, number: int) -> Tensor | None:
        shape = self._shapes[number]
        if self._memory is None or shape is None:
            return None
        return self._memory[number, : shape.numel()].view(shape).float()

    def put(self, number: int, features: Tensor) -> None:
        if self._memory is None:
            self._memory = features.new_empty(
                len(self._shapes), features.numel(), dtype=torch.float16
            )
        self._memory[number, : features.numel()] = features.reshape(-1).clamp(max=_LARGEST)
        self._shapes[number] = features.shape


def _plain(module: nn.Module) -> _Layer:
    return lambda features, view: module(features)


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _padded(length: int) -> int:
    return length + -length % DEEPEST_STRIDE

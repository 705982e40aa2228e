"""Large photos in overlapping tiles: bounded memory at native resolution.

Ours: the paper resizes every image, which destroys the high frequencies that a native-resolution
model lives on. A tile alone would not give the photo's answer: parts of the model see all of the
photo, others so far that an overlap would have to be most of the tile.

- The semantic encoder runs once on the photo, resized as ever; each tile gets its part of the map.
- So do the local DCT statistics, at one cell per 8 x 8 pixels, their pixels read strip by strip.
- The side backbone runs tile by tile, but only a few layers at a time. Their features are put into
  one map of the photo, from which the next layers get a tile with its surroundings. So an overlap
  need only hide what a few layers see. Each block's context comes from that map too: means of
  single tiles would show as steps of up to 0.1 in the probabilities.
- The DCT: a band mask depends on cycles per pixel only, so that a band is a convolution with one
  fast-fading kernel at any size. What a tile's border changes in it, the overlap hides.

So nothing needs blending: where two tiles overlap, the one whose border is farther away answers.
The pixels are looked at twice, since the finest stage's features are too many to be kept until the
decoder needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.environment import give_memory_back
from fasa_cli.model.backbones import DEEPEST_STRIDE
from fasa_cli.model.compact.blocks import ResidualBlock
from fasa_cli.model.compact.side import ResidualSide
from fasa_cli.model.fasa import Fasa

TILE = 1536  # pixels, a tile's side; smaller ones overlap more, larger ones have a costlier DCT
OVERLAP = 224  # pixels that neighbours share, about: borders are then no nearer than 96, which is
# what the deepest block sees, three cells of 32
_KEPT = torch.float16
_LARGEST = torch.finfo(_KEPT).max
_ROWS = 256  # of a photo that are resized at a time


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
    model: Fasa, photo: np.ndarray, *, tile: int = TILE, overlap: int = OVERLAP
) -> tuple[np.ndarray, int]:
    """What the model, which must work at native resolution, answers for a photo of any size.

    `photo` is H x W x 3 uint8 RGB. Returns H x W float32 probabilities and the number of tiles.
    Within 0.002 of the answer for the whole at once; with trained weights 0.0003 was measured.
    """
    with torch.inference_mode():
        return _TiledPhoto(model, photo, tile, overlap).probabilities()


def to_unit_range(images: Tensor) -> Tensor:
    """B x H x W x 3 uint8 -> B x 3 x H x W float32 in [0, 1]."""
    return images.permute(0, 3, 1, 2).float().div(255)


@dataclass(frozen=True)
class Tile:
    """A tile of a photo of `photo` = (height, width) pixels, padded as the model pads."""

    photo: tuple[int, int]
    rows: Span
    columns: Span

    def resize(self, whole: Tensor, size: tuple[int, int]) -> Tensor:
        """1 x C x h x w over the photo -> 1 x C x size over the tile, bilinearly.

        The same numbers as resizing to the photo's grid and cropping, without a map of that size.
        """
        rows, columns = (self._weights(whole, size[axis], axis) for axis in (0, 1))
        return rows @ whole @ columns.T

    def _weights(self, whole: Tensor, count: int, axis: int) -> Tensor:
        """count x cells weights of a linear interpolation, as F.interpolate's: outer edges meet."""
        span = (self.rows, self.columns)[axis]
        cells = whole.shape[2 + axis]
        step = (span.stop - span.start) / count
        pixels = span.start + (torch.arange(count, dtype=torch.float64) + 0.5) * step
        positions = (pixels * cells / self.photo[axis] - 0.5).clamp(0, cells - 1)
        weights = torch.relu(1 - (positions[:, None] - torch.arange(cells)).abs())
        return weights.to(whole)

    def cells(self, stride: int) -> tuple[slice, slice]:
        """The rows and columns that it covers of a map with a cell per `stride` pixels."""
        return tuple(  # type: ignore[return-value]
            slice(span.start // stride, span.stop // stride) for span in (self.rows, self.columns)
        )

    def core(self, stride: int) -> tuple[slice, slice]:
        """Those for which it answers."""
        return tuple(  # type: ignore[return-value]
            slice(span.first // stride, span.last // stride) for span in (self.rows, self.columns)
        )


_Layer = Callable[[Tensor, Tile], Tensor]


class _TiledPhoto:
    """One photo, its tiles, and the maps of the whole that they need."""

    def __init__(self, model: Fasa, photo: np.ndarray, tile: int, overlap: int) -> None:
        self._model, self._photo = model, torch.from_numpy(photo)
        self._device = next(model.parameters()).device
        height, width = photo.shape[:2]
        self._size = _padded(height), _padded(width)
        self._tiles = [
            Tile(self._size, rows, columns)
            for rows in spans(height, tile, overlap)
            for columns in spans(width, tile, overlap)
        ]
        self._semantic_map = model.semantic_map(self._shrunk(model.config.encoder.size))
        self._statistics = self._joined_statistics()
        give_memory_back()

    def probabilities(self) -> tuple[np.ndarray, int]:
        finest, deep = self._side_features()
        answer = np.empty(self._photo.shape[:2], np.float32)
        for tile in self._tiles:
            rows, columns = tile.rows, tile.columns
            part = answer[rows.first : rows.last, columns.first : columns.last]
            top, left = rows.first - rows.start, columns.first - columns.start
            core = torch.sigmoid(self._logits(tile, finest, deep).float())[0, 0, top:, left:]
            part[:] = core[: part.shape[0], : part.shape[1]].cpu().numpy()
            del core
            give_memory_back()
        return answer, len(self._tiles)

    def _logits(self, tile: Tile, finest: list[_Layer], deep: list[_PhotoMap]) -> Tensor:
        model, image = self._model, self._pixels(tile)
        side_input = model.side_input(image)
        if finest:
            stages = [_through(finest, side_input, tile)]
            stages += [features.around(tile) for features in deep]
        else:

            def inject(features: Tensor, index: int) -> Tensor:
                return model.inject(self._semantic_map, features, index, tile.resize)

            stages = model.side(side_input, image, inject)
        logits = model.decode(stages, side_input, self._semantic_map, tile.resize)
        return model.to_image_size(logits, side_input, image)

    def _pixels(self, tile: Tile) -> Tensor:
        rows, columns = tile.rows, tile.columns
        pixels = self._photo[rows.start : rows.stop, columns.start : columns.stop]
        return to_unit_range(pixels[None].to(self._device))

    def _joined_statistics(self) -> Tensor | None:
        """What joins the side backbone: a cell per 8 x 8 pixels of the padded photo, so few that
        only the pixels come in strips."""
        side = self._model.side
        if not isinstance(side, ResidualSide) or side.statistics is None:
            return None
        features = side.statistics.of_photo(
            lambda rows: to_unit_range(self._photo[None, rows].to(self._device)), len(self._photo)
        )
        return side.padded(side.join(features), self._size)

    def _shrunk(self, side: int) -> Tensor:
        """1 x 3 x side x side in [0, 1]: one antialiased resize of the photo, row by row first."""
        strips = [
            _resized(to_unit_range(rows[None].to(self._device)), (len(rows), side))
            for rows in self._photo.split(_ROWS)
        ]
        return _resized(torch.cat(strips, dim=2), (side, side))

    # --- The side backbone, a few layers at a time ---

    def _side_features(self) -> tuple[list[_Layer], list[_PhotoMap]]:
        """The layers of the finest stage, and the features of all others."""
        finest: list[_Layer] = []
        deep: list[_PhotoMap] = []
        side = self._model.side
        if not isinstance(side, ResidualSide):
            return finest, deep
        features: _PhotoMap | None = None
        layers: list[_Layer] = [_plain(side.stem)]  # from `features`, or the pixels, to here
        for index, stage in enumerate(side.stages):
            for layer in stage.children():
                if isinstance(layer, ResidualBlock) and layer.context is not None:
                    finest += layers if index == 0 else []
                    features = self._run(layers, features)
                    layers = [_with_context(layer, features)]
                else:
                    layers.append(_plain(layer))
            if index == side.JOINED and self._statistics is not None:
                layers.append(self._joining(self._statistics, side.STRIDES[index]))
            layers.append(self._injection(index))
            if index == 0:
                finest += layers
            else:
                features = self._run(layers, features)
                deep.append(features)
                layers = []
        return finest, deep

    def _run(self, layers: list[_Layer], given: _PhotoMap | None) -> _PhotoMap:
        made = _PhotoMap(self._size)
        for tile in self._tiles:
            if given is None:
                features = self._model.side_input(self._pixels(tile))
            else:
                features = given.around(tile)
            features = _through(layers, features, tile)
            made.put(tile, features)
        del features
        give_memory_back()
        return made

    def _injection(self, index: int) -> _Layer:
        return lambda features, tile: self._model.inject(
            self._semantic_map, features, index, tile.resize
        )

    @staticmethod
    def _joining(statistics: Tensor, stride: int) -> _Layer:
        def join(features: Tensor, tile: Tile) -> Tensor:
            rows, columns = tile.cells(stride)
            return features + statistics[:, :, rows, columns]

        return join


class _PhotoMap:
    """Features of a whole photo, tile by tile put down and taken up.

    In half precision, which moves the answer by less than 0.0005; h x w x C, as convolutions on a
    CPU like it; and in one block of memory, which is given back when it is no longer needed.
    """

    def __init__(self, photo: tuple[int, int]) -> None:
        """`photo` is (height, width) in pixels, padded."""
        self._photo = photo
        self._values: Tensor | None = None
        self._stride = 0

    def put(self, tile: Tile, features: Tensor) -> None:
        """Keep the part of the tile's features (1 x C x h x w) for which it answers."""
        if self._values is None:
            self._stride = (tile.rows.stop - tile.rows.start) // features.shape[2]
            height, width = (side // self._stride for side in self._photo)
            self._values = features.new_empty(height, width, features.shape[1], dtype=_KEPT)
        covered, core = tile.cells(self._stride), tile.core(self._stride)
        rows, columns = (
            slice(own.start - whole.start, own.stop - whole.start)
            for own, whole in zip(core, covered, strict=True)
        )
        values = features[0].permute(1, 2, 0)[rows, columns]
        self._values[core] = values.clamp(-_LARGEST, _LARGEST)

    def around(self, tile: Tile) -> Tensor:
        """All that the tile covers, 1 x C x h x w float32."""
        assert self._values is not None
        return self._values[tile.cells(self._stride)].float().permute(2, 0, 1)[None]

    def cells(self) -> Tensor:
        """Means over cells of DEEPEST_STRIDE pixels, 1 x C x rows x columns."""
        assert self._values is not None
        side = DEEPEST_STRIDE // self._stride
        rows = [
            row.float().unflatten(1, (-1, side)).mean((0, 2)) for row in self._values.split(side)
        ]
        return torch.stack(rows).permute(2, 0, 1)[None]


def _plain(module: nn.Module) -> _Layer:
    return lambda features, tile: module(features)


def _with_context(block: ResidualBlock, photo: _PhotoMap) -> _Layer:
    """The block, with each tile's part of the photo's context."""
    context = block.context_of(photo.cells())
    if context.shape[-2:] == (1, 1):
        return lambda features, tile: block(features, context)
    return lambda features, tile: block(
        features, tile.resize(context, (features.shape[-2], features.shape[-1]))
    )


def _through(layers: list[_Layer], features: Tensor, tile: Tile) -> Tensor:
    for layer in layers:
        features = layer(features, tile)
    return features


def _resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _padded(length: int) -> int:
    return length + -length % DEEPEST_STRIDE

"""Photos in overlapping tiles: bounded memory at native resolution, in about the same time.

Ours: the paper resizes every image, which destroys the high frequencies that a native-resolution
model lives on. A tile alone would not give the photo's answer: parts of the model see all of the
photo, others so far that an overlap would have to be most of the tile.

- The semantic encoder runs once on the photo, resized as ever; each tile gets its part of the map.
- So do the local DCT statistics, at one cell per 8 x 8 pixels, their pixels read strip by strip.
- The side backbone runs tile by tile, but only a few layers at a time. Their features are put into
  one map of the photo, from which the next layers get a tile with its surroundings. So a margin
  need only hide what a few layers see, and little is computed twice. Each block's context comes
  from that map too: means of single tiles would show as steps of up to 0.1 in the probabilities.
- The DCT: a band mask depends on cycles per pixel only, so that a band is a convolution with one
  fast-fading kernel at any size. What a tile's border changes in it, the margin hides.

So nothing needs blending: each tile answers for its inner part, without its margins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.environment import give_memory_back
from fasa_cli.model.backbones import DEEPEST_STRIDE
from fasa_cli.model.compact.blocks import ResidualBlock
from fasa_cli.model.compact.side import ResidualSide
from fasa_cli.model.fasa import Fasa

TILE = 1024  # pixels, the side of what a tile answers for; its margins are around that
MARGIN = 128  # pixels, after which a band has faded, and more than the decoder's coarsest map sees
_LAYERS_SEE = 3  # cells: a residual block two, the convolution after it one
_STEM_SEES = 32  # pixels, more than it does
FULL_PRECISION = 6_000_000  # pixels; a larger photo's features are kept in half precision
_GIVING_BACK_PAYS = 4_000_000  # pixels; of smaller photos it takes a tenth of the time
_LARGEST_HALF = torch.finfo(torch.float16).max
_ROWS = 256  # of a photo that are resized or averaged at a time, a multiple of DEEPEST_STRIDE


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it covers start..stop and answers for first..last, in pixels."""

    start: int
    stop: int
    first: int
    last: int


def spans(length: int, tile: int, margin: int) -> list[Span]:
    """Cover an axis with tiles that answer for at most `tile` pixels each, all about as many, and
    cover `margin` more on both sides where the photo has them.

    All numbers are multiples of DEEPEST_STRIDE, so that every stage's grid is the photo's own;
    the last ones are the padded length.
    """
    cells, margin = _padded(length) // DEEPEST_STRIDE, _padded(margin) // DEEPEST_STRIDE
    count = -(-cells // max(1, tile // DEEPEST_STRIDE))
    borders = [index * cells // count for index in range(count + 1)]
    return [
        Span(
            DEEPEST_STRIDE * max(0, first - margin),
            DEEPEST_STRIDE * min(cells, last + margin),
            DEEPEST_STRIDE * first,
            DEEPEST_STRIDE * last,
        )
        for first, last in pairwise(borders)
    ]


def localise_in_tiles(
    model: Fasa, photo: np.ndarray, *, tile: int = TILE
) -> tuple[np.ndarray, int]:
    """What the model, which must work at native resolution, answers for a photo of any size.

    `photo` is H x W x 3 uint8 RGB, `tile` is the side in pixels of what a tile answers for. Returns
    H x W float32 probabilities and the number of tiles. Within 0.002 of the answer for the whole at
    once.
    """
    with torch.inference_mode():
        return _TiledPhoto(model, photo, tile).probabilities()


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
        # Channels last, as the convolutions that follow want it.
        part = (rows @ whole[0].permute(1, 2, 0).flatten(1)).unflatten(1, (whole.shape[3], -1))
        return (columns @ part).permute(2, 0, 1)[None]

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

    def trimmed(self, margin: int) -> Tile:
        """The same tile with margins of at most `margin` pixels, a multiple of DEEPEST_STRIDE."""

        def trim(span: Span) -> Span:
            start, stop = max(span.start, span.first - margin), min(span.stop, span.last + margin)
            return replace(span, start=start, stop=stop)

        return replace(self, rows=trim(self.rows), columns=trim(self.columns))

    def part(self, features: Tensor, inner: Tile) -> Tensor:
        """Of 1 x C x h x w over this tile, what is over another within it."""
        stride = (self.rows.stop - self.rows.start) // features.shape[2]
        rows, columns = (
            slice(one.start - whole.start, one.stop - whole.start)
            for one, whole in zip(inner.cells(stride), self.cells(stride), strict=True)
        )
        return features[:, :, rows, columns]


_Layer = Callable[[Tensor, Tile], Tensor]


class _TiledPhoto:
    """One photo, its tiles, and the maps of the whole that they need."""

    def __init__(self, model: Fasa, photo: np.ndarray, tile: int) -> None:
        self._model, self._photo, self._tile = model, torch.from_numpy(photo), tile
        self._device = next(model.parameters()).device
        height, width = photo.shape[:2]
        self._size = _padded(height), _padded(width)
        self._semantic_map = model.semantic_map(self._shrunk(model.config.encoder.size))
        self._statistics = self._joined_statistics()
        self._gate = _PhotoMap(self._size) if model.config.includes("full") else None
        give_memory_back()

    def probabilities(self) -> tuple[np.ndarray, int]:
        maps = self._side_features()
        answer = np.empty(self._photo.shape[:2], np.float32)
        tiles = self._tiles(self._tile, MARGIN)
        for tile in tiles:
            logits = self._logits(tile, maps)
            size = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
            logits = F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)
            core = torch.sigmoid(tile.part(logits, tile.trimmed(0)))[0, 0]
            rows, columns = tile.core(1)
            part = answer[rows, columns]
            part[:] = core[: part.shape[0], : part.shape[1]].cpu().numpy()
        return answer, len(tiles)

    def _tiles(self, side: int, margin: int) -> list[Tile]:
        height, width = self._size
        return [
            Tile(self._size, rows, columns)
            for rows in spans(height, side, margin)
            for columns in spans(width, side, margin)
        ]

    def _logits(self, tile: Tile, maps: list[_PhotoMap]) -> Tensor:
        model = self._model
        if not maps:  # no `ResidualSide`: the whole backbone on every tile
            image = self._pixels(tile)
            side_input = model.side_input(image)

            def inject(features: Tensor, index: int) -> Tensor:
                return model.inject(self._semantic_map, features, index, tile.resize)

            stages = model.side(side_input, image, inject)
            return model.decode(stages, side_input, self._semantic_map, tile.resize)
        stages = [features.around(tile) for features in maps]
        gate = stages[0] if self._gate is None else self._gate.around(tile)
        return model.decode(stages, gate, self._semantic_map, tile.resize)

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
        return side.padded(side.join(features), self._size).to(_kept_precision(self._size))

    def _shrunk(self, side: int) -> Tensor:
        """1 x 3 x side x side in [0, 1]: one antialiased resize of the photo, row by row first."""
        strips = [
            _resized(to_unit_range(rows[None].to(self._device)), (len(rows), side))
            for rows in self._photo.split(_ROWS)
        ]
        return _resized(torch.cat(strips, dim=2), (side, side))

    # --- The side backbone, a few layers at a time ---

    def _side_features(self) -> list[_PhotoMap]:
        """Each stage's features; none of a side backbone that only runs as a whole."""
        maps: list[_PhotoMap] = []
        side = self._model.side
        if not isinstance(side, ResidualSide):
            return maps
        features: _PhotoMap | None = None
        layers: list[_Layer] = [_plain(side.stem)]  # from `features`, or the pixels, to here
        for index, stage in enumerate(side.stages):
            for layer in stage.children():
                if isinstance(layer, ResidualBlock) and layer.context is not None:
                    features = self._run(layers, features)
                    layers = [_with_context(layer, features)]
                else:
                    layers.append(_plain(layer))
            if index == side.JOINED and self._statistics is not None:
                layers.append(self._joining(self._statistics, side.STRIDES[index]))
            layers.append(self._injection(index))
            features = self._run(layers, features)
            maps.append(features)
            layers = []
        self._statistics = None
        return maps

    def _run(self, layers: list[_Layer], given: _PhotoMap | None) -> _PhotoMap:
        made = _PhotoMap(self._size)
        if given is None:
            for outer in self._tiles(self._tile, MARGIN):
                tile = outer.trimmed(_STEM_SEES)
                side_input = outer.part(self._model.side_input(self._pixels(outer)), tile)
                made.put(tile, _through(layers, side_input, tile))
                if self._gate is not None:
                    self._gate.put(tile, self._model.decoder.gate.layers(side_input))
        else:
            # Coarser features are fewer, so that a tile may be larger.
            side = self._tile * max(1, given.stride // 4)
            for tile in self._tiles(side, _LAYERS_SEE * given.stride):
                made.put(tile, _through(layers, given.around(tile), tile))
        if self._size[0] * self._size[1] > _GIVING_BACK_PAYS:
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

    Large photos' in half precision, which moves the answer by less than 0.0005; h x w x C, as
    convolutions on a CPU like it; and in one block of memory, which is given back when it is no
    longer needed.
    """

    def __init__(self, photo: tuple[int, int]) -> None:
        """`photo` is (height, width) in pixels, padded."""
        self._photo = photo
        self._precision = _kept_precision(photo)
        self._values: Tensor | None = None
        self.stride = 0  # pixels of the photo for each position

    def put(self, tile: Tile, features: Tensor) -> None:
        """Keep the part of the tile's features (1 x C x h x w) for which it answers."""
        if self._values is None:
            self.stride = (tile.rows.stop - tile.rows.start) // features.shape[2]
            height, width = (side // self.stride for side in self._photo)
            self._values = features.new_empty(
                height, width, features.shape[1], dtype=self._precision
            )
        values = tile.part(features, tile.trimmed(0))[0].permute(1, 2, 0)
        if self._precision == torch.float16:
            values = values.clamp(-_LARGEST_HALF, _LARGEST_HALF)
        self._values[tile.core(self.stride)] = values

    def around(self, tile: Tile) -> Tensor:
        """All that the tile covers, 1 x C x h x w float32."""
        assert self._values is not None
        return self._values[tile.cells(self.stride)].float().permute(2, 0, 1)[None]

    def cells(self) -> Tensor:
        """Means over cells of DEEPEST_STRIDE pixels, 1 x C x rows x columns."""
        assert self._values is not None
        side = DEEPEST_STRIDE // self.stride
        rows = [
            F.avg_pool2d(rows.float().permute(2, 0, 1)[None], side)
            for rows in self._values.split(side * _ROWS // DEEPEST_STRIDE)
        ]
        return torch.cat(rows, 2)


def _kept_precision(photo: tuple[int, int]) -> torch.dtype:
    return torch.float16 if photo[0] * photo[1] > FULL_PRECISION else torch.float32


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

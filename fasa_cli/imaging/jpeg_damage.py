"""Where the coded data of a JPEG are damaged, as its pixels show.

A block's mean is coded as the difference to the block before. So a flipped bit shifts the mean of
every block after it, row by row down to the end of the picture or to the next restart marker, even
where the code stays valid and no decoder notices. What shows is a step of constant height along the
upper border of that run: along one row of blocks from some column on, and along the next row up to
that column. Edges in photos run straight on, and differ in height.

Where a bit has moved the blocks too, or a whole sector is lost, what lies on the two sides of that
border has nothing in common. Edges in photos look the same, so this is asked only of a file whose
decoder complains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise

import cv2
import numpy as np

from fasa_cli.results import GRID, Box

_CLIPPED = (2, 253)  # values beyond may be clipped: their step is not the true one
_LARGEST_STEP = 64  # levels; larger ones count as much
_CANDIDATES = 400  # places per plane that are looked at closely
_REACH = 4  # pixel rows on each side of a border that are looked at


@dataclass(frozen=True)
class Layout:
    """How a scan is cut into units (MCU): their size in pixels, and after how many of them the
    decoder starts anew; 0: never."""

    unit_height: int
    unit_width: int
    restart: int = 0


@dataclass(frozen=True)
class _Rule:
    """What counts as a shifted run. Steps are in levels of 0 to 255, all else are shares.

    `same` is by how much of its height a cell's step may differ, `share` how many cells along the
    border have it, `others` how many beside the border may. With `cells` on each of the two rows
    (`restarted` of them where a run ends within a row) a plane may show it alone, and with a share
    of `weak` only together with another plane, or as luma where the texture continues across the
    border: its difference varies at most `varying` times as much as the texture itself. With fewer
    cells only such luma counts, `alone` high in `alone_share` of them.
    """

    floor: float = 4.0
    firm: float = 6.0  # the height of a weak step in luma alone
    alone: float = 10.0
    same: float = 0.4
    share: float = 0.75
    weak: float = 0.6
    alone_share: float = 0.8
    others: float = 0.3
    cells: int = 3
    restarted: int = 12
    varying: float = 1.7
    texture: float = 0.7  # levels of mean deviation within a cell


@dataclass(frozen=True)
class _Run:
    """What may be a shifted run, from unit `first` on; `clear` is larger the clearer it is.
    `certain` without another plane that says the same."""

    first: int
    clear: float
    certain: bool


_RULE = _Rule()
_TOGETHER = 3  # units: as far apart may two planes see the same run begin
_SEAM = 6.0  # robust standard deviations of a row's length of border above the usual one,
_SEAM_LOG = 0.3  # and so much more difference across the border than beside it, as a logarithm
_SEAM_RISES = 0.4  # of the clearest seam, where an earlier one begins


def find_damage(pixels: np.ndarray, layout: Layout, suspected: bool = False) -> tuple[Box, ...]:
    """The damaged part of a JPEG's pixels, as up to three boxes; empty where none is seen.

    `pixels` are H x W x 3 uint8 RGB as the file stores them, not turned upright. `suspected`: its
    decoder complained, so that weaker signs will do.
    """
    borders = _Borders(pixels, layout)
    first = _shifted_run(borders)
    if suspected and (seam := _seam(borders)) is not None:
        first = seam if first is None else min(first, seam)
    if first is None:
        return ()
    end = _end(first, layout.restart, borders.rows * borders.columns)
    # What the bit garbled itself lies before the run, hardly ever more than a row's length.
    begin = first - first % layout.restart if layout.restart else 0
    start = max(first - borders.columns, begin)
    return _boxes(start, end, borders.columns, layout, pixels.shape[:2])


class _Borders:
    """The pixels on both sides of the upper borders of all units but those of the first row."""

    def __init__(self, pixels: np.ndarray, layout: Layout) -> None:
        height, width = pixels.shape[:2]
        self.layout = layout
        self.rows = -(-height // layout.unit_height)
        self.columns = -(-width // layout.unit_width)
        self._whole = width // layout.unit_width  # units that are not cut off at the right
        begins = np.arange(layout.unit_height, height, layout.unit_height)
        begins = begins[begins + _REACH <= height]
        apart = max(1, layout.unit_width // GRID)  # eight pixels say as much as sixteen
        part = pixels[:, : self._whole * layout.unit_width : apart]
        self._lines = {
            at: cv2.cvtColor(np.ascontiguousarray(part[begins + at]), cv2.COLOR_RGB2YCrCb)
            for at in (range(-_REACH, _REACH) if len(begins) and self._whole else ())
        }
        self._empty = np.zeros((0, self._whole * GRID), np.float32)

    def line(self, at: int, plane: int = 0) -> np.ndarray:
        """Borders x pixels float32: luma (0) or chroma (1, 2) of the row that lies `at` rows below
        each border, which is above its row 0."""
        return self._lines[at][:, :, plane].astype(np.float32) if self._lines else self._empty

    @cached_property
    def clipped(self) -> np.ndarray:
        """Borders x pixels bool: where black or white beside the border hide its step."""
        if not self._lines:
            return self._empty > 0
        luma = [self._lines[at][:, :, 0] for at in (-2, -1, 0, 1)]
        dark, bright = _CLIPPED
        return (np.minimum.reduce(luma) < dark) | (np.maximum.reduce(luma) > bright)

    def per_unit(self, lines: np.ndarray, reduce: Callable[..., np.ndarray]) -> np.ndarray:
        """Borders x pixels -> rows x columns of units; NaN where nothing is known: in the first
        row, and where a unit is cut off or a pixel of its line is NaN."""
        values = np.full((self.rows, self.columns), np.nan, np.float32)
        if len(lines):
            cells = lines.reshape(len(lines), self._whole, -1)
            values[1 : 1 + len(lines), : self._whole] = reduce(cells, axis=2)
        return values


def _seam(borders: _Borders) -> int | None:
    """The unit from which on, for a row's length, upper borders separate what has nothing in
    common; None where no border does."""
    lines = [borders.line(at) for at in (-3, -2, -1, 0, 1, 2)]
    differences = [np.abs(lower - upper) for upper, lower in pairwise(lines)]
    across = borders.per_unit(differences.pop(2), np.mean)
    beside = borders.per_unit(np.mean(differences, axis=0), np.mean)
    logs = np.log((across + 1) / (beside + 1))
    sums, number = _windows(logs.ravel(), borders.columns)
    places = np.flatnonzero(number > borders.columns / 2)
    if not len(places):
        return None
    means = sums[places] / number[places]
    middle = np.median(means)
    spread = max(1.48 * np.median(np.abs(means - middle)), _SEAM_LOG / _SEAM)
    clear = (means - middle) / spread
    if clear.max() < _SEAM:
        return None
    return int(places[np.argmax(clear >= max(_SEAM, _SEAM_RISES * clear.max()))])


def _shifted_run(borders: _Borders) -> int | None:
    """The first unit of a run whose mean is shifted; None without one."""
    luma = partial(_texture, borders)
    planes = [
        list(_runs(_steps(borders, plane), luma if plane == 0 else None, borders.layout))
        for plane in range(3)
    ]
    runs = [
        run
        for plane, found in enumerate(planes)
        for run in found
        if run.certain
        or any(
            abs(run.first - other.first) <= _TOGETHER
            for one, others in enumerate(planes)
            if one != plane
            for other in others
        )
    ]
    if not runs:
        return None
    earliest = min(run.first for run in runs)
    near = [run for run in runs if run.first <= earliest + borders.columns // 2]
    return max(near, key=lambda run: run.clear).first


def _steps(borders: _Borders, plane: int) -> np.ndarray:
    """Rows x columns of units: the median step at each one's upper border, NaN where unknown.

    What the slopes on both sides explain is no step. Chroma, which may have been enlarged, is
    compared two rows away from the border.
    """
    near, far, slope = (1, 2, 0.5) if plane == 0 else (2, 4, 0.75)
    outer, above, below, inner = (
        borders.line(at, plane) for at in (-far, -near, near - 1, far - 1)
    )
    step = below - above - slope * ((inner - below) + (above - outer))
    step[borders.clipped] = np.nan
    return borders.per_unit(step, np.median)


def _texture(borders: _Borders) -> tuple[np.ndarray, np.ndarray]:
    """By how much luma varies along each upper border, in rows x columns of units: the difference
    across it, and the smoother of its two sides (mean deviations from the median)."""

    def deviation(cells: np.ndarray, axis: int) -> np.ndarray:
        middle = np.median(cells, axis=axis, keepdims=True)
        return np.asarray(np.abs(cells - middle).mean(axis=axis))

    above, below = borders.line(-1), borders.line(0)
    sides = [borders.per_unit(side, deviation) for side in (above, below)]
    return borders.per_unit(below - above, deviation), np.minimum(*sides)


def _runs(
    steps: np.ndarray,
    luma: Callable[[], tuple[np.ndarray, np.ndarray]] | None,
    layout: Layout,
    rule: _Rule = _RULE,
) -> Iterator[_Run]:
    """What may be shifted runs in one plane; `luma` gives the texture along its borders, where the
    plane is that."""
    columns = steps.shape[1]
    flat = steps.ravel()
    texture = None
    for first in _candidates(flat, columns, layout, rule):
        row, column = divmod(first, columns)
        end = min(first + columns, _end(first, layout.restart, len(flat)))
        known = flat[first:end][np.isfinite(flat[first:end])]
        height = float(np.median(known)) if len(known) else 0.0
        if abs(height) < rule.floor or not column:
            continue
        turn = min(end, (row + 1) * columns)
        share = partial(_share, height=height, rule=rule)
        before, after = share(flat[row * columns : first]), share(flat[end : (row + 2) * columns])
        upper, lower = share(flat[first:turn]), share(flat[turn:end])
        if layout.restart:  # the run ends within a row, and so has a lower border
            after, upper = (0.0, 0), share(flat[first:end])
            lower = _share(flat[max(end, first + columns) : end + columns], -height, rule)
        if max(before[0], after[0]) > rule.others:
            continue
        along = share(flat[first:end])[0]
        cells = rule.restarted if layout.restart else rule.cells
        lowest = min(upper[0], lower[0])
        if min(upper[1], lower[1]) >= cells and lowest >= rule.weak:
            certain, firm = lowest >= rule.share, abs(height) >= rule.firm
        elif luma is None or layout.restart:
            continue
        else:
            is_turn = lower[0] >= rule.share and after[1] and (row == 0 or upper[0] >= rule.share)
            certain, firm = False, abs(height) >= rule.alone and along >= rule.alone_share
            if not (is_turn and firm):
                continue
        if not certain and firm and luma is not None:
            texture = texture or luma()
            certain = _continues(texture, slice(first, end), rule)
        yield _Run(first, along * min(abs(height), _LARGEST_STEP), certain)


def _candidates(flat: np.ndarray, columns: int, layout: Layout, rule: _Rule) -> list[int]:
    """Where a run may begin: by the mean step along a row's length from there on."""
    length = min(columns, layout.restart or columns)
    sums, number = _windows(np.clip(flat, -_LARGEST_STEP, _LARGEST_STEP), length)
    mean = np.abs(sums) / np.maximum(number, 1)
    least = max(2 * rule.cells, 0.3 * length)
    places = np.flatnonzero((number >= least) & (mean > rule.floor / 2))
    strongest = places[np.argsort(-mean[places], kind="stable")][:_CANDIDATES]
    return [int(place) for place in strongest]


def _windows(values: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """(sums, numbers) of what is known of the `length` values from each place on."""
    known = np.isfinite(values)
    sums = np.concatenate([[0], np.cumsum(np.where(known, values, 0), dtype=np.float64)])
    counts = np.concatenate([[0], np.cumsum(known)])
    return sums[length:] - sums[:-length], counts[length:] - counts[:-length]


def _share(part: np.ndarray, height: float, rule: _Rule) -> tuple[float, int]:
    """(the share of cells whose step is of this height, the number of cells that have one)."""
    known = part[np.isfinite(part)]
    if not len(known):
        return 0.0, 0
    return float((np.abs(known - height) < rule.same * abs(height)).mean()), len(known)


def _continues(texture: tuple[np.ndarray, np.ndarray], border: slice, rule: _Rule) -> bool:
    """Whether what is seen above a border continues below it, but for its mean."""
    across, along = (np.nanmedian(values.ravel()[border]) for values in texture)
    return bool(along >= rule.texture and across <= rule.varying * along)


def _end(first: int, restart: int, total: int) -> int:
    """The unit after the last one that a shift beginning in unit `first` can reach."""
    return min(total, (first // restart + 1) * restart) if restart else total


def _boxes(
    start: int, end: int, columns: int, layout: Layout, shape: tuple[int, int]
) -> tuple[Box, ...]:
    """Units start..end - 1 as boxes: a first row's rest, whole rows, a last row's beginning."""
    (top, left), (bottom, right) = divmod(start, columns), divmod(end, columns)
    if top == bottom:
        parts = [(top, top + 1, left, right)]
    else:
        parts = [(top, top + 1, left, columns)] if left else []
        parts += [(top + bool(left), bottom, 0, columns), (bottom, bottom + 1, 0, right)]
    boxes = []
    for first_row, last_row, first_column, last_column in parts:
        x, y = first_column * layout.unit_width, first_row * layout.unit_height
        far_x = min(last_column * layout.unit_width, shape[1])
        far_y = min(last_row * layout.unit_height, shape[0])
        if far_x > x and far_y > y:
            boxes.append((x, y, far_x - x, far_y - y))
    return tuple(boxes)

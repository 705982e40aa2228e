"""Grids of JPEG blocks that a picture's pixels still show, and regions whose grid is another.

After ZERO (Nikoukhah et al., IPOL 2021): JPEG compression sets many DCT coefficients to zero in
blocks of its own grid. Every place votes for the grid whose block there has most zeros; what chance
would do is bounded by Hoeffding's inequality, so that one picture in a thousand shows a grid that
is not there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fasa_cli.inspection.blocks import DCT
from fasa_cli.results import GRID

_ZERO = 0.5  # a coefficient below this counts as zero
_MARGIN = 3  # zeros by which the winner must lead: in smooth shades counts rise slowly to one side
_NONE = 255  # a place without a vote
_WINDOW = 9  # votes on each side of the square in which a foreign grid must win
_CHANCE_SHARE = 0.12  # of votes that one grid gets by chance: 1 / 64, but shades prefer the corners
_CHANCE = 1e-3  # expected false alarms in a picture
_STRIP = 64  # rows of blocks that are looked at together
_GRIDS = GRID * GRID
_LEAST_SIDE = 64


@dataclass(frozen=True)
class Grids:
    """`main` is (x, y), 0-7 each, where the first full block of the picture's grid starts; None
    where no grid shows. `foreign` are other grids and the share of the picture (0-1) that shows
    each, the largest first. `map` is rows x columns bool per 8 x 8 pixels: where it is another."""

    main: tuple[int, int] | None
    foreign: tuple[tuple[tuple[int, int], float], ...]
    map: np.ndarray


def find_grids(brightness: np.ndarray) -> Grids | None:
    """Look for grids in H x W uint8 brightness; None where it is too small."""
    if min(brightness.shape) < _LEAST_SIDE:
        return None
    votes = _votes(brightness)
    valid = int((votes != _NONE).sum())
    counts = np.bincount(votes[votes != _NONE].ravel(), minlength=_GRIDS)
    best = int(counts.argmax())
    is_there = valid > 0 and _expected(int(counts[best]), valid, _GRIDS) < _CHANCE
    main = best if is_there else None
    foreign, marked = _foreign(votes, main)
    return Grids(None if main is None else _offset(main), foreign, marked)


def _offset(grid: int) -> tuple[int, int]:
    return grid % GRID, grid // GRID


def _votes(brightness: np.ndarray) -> np.ndarray:
    """rows x columns uint8: 8 y + x of the grid that wins at pixel (8 row + 7, 8 column + 7), which
    one block of each grid covers; or `_NONE`."""
    rows, columns = ((side - GRID + 1) // GRID for side in brightness.shape)
    votes = np.empty((rows, columns), np.uint8)
    for top in range(0, rows, _STRIP):
        bottom = min(top + _STRIP, rows)
        part = brightness[top * GRID : (bottom + 1) * GRID - 1]
        votes[top:bottom] = _strip_votes(part, bottom - top, columns)
    return votes


def _strip_votes(part: np.ndarray, rows: int, columns: int) -> np.ndarray:
    zeros = _zeros(part)
    best = np.zeros((rows, columns), np.uint8)
    second = best.copy()
    winner = np.full((rows, columns), _NONE, np.uint8)
    for y in range(GRID):
        for x in range(GRID):
            counts = zeros[y::GRID, x::GRID][:rows, :columns]
            winner[counts > best] = GRID * y + x
            np.maximum(second, np.minimum(counts, best), out=second)
            np.maximum(best, counts, out=best)
    winner[best < second + _MARGIN] = _NONE
    return winner


def _zeros(part: np.ndarray) -> np.ndarray:
    """How many of the 63 coefficients are zero in the block that starts at each pixel."""
    pixels = part.astype(np.float32)
    counts = np.zeros(part.shape, np.uint8)
    anchor, one = (0, 0), np.ones(1, np.float32)
    for row in range(GRID):
        down = cv2.sepFilter2D(pixels, -1, one, DCT[row], anchor=anchor)
        for column in range(GRID):
            if row == column == 0:
                continue
            value = cv2.sepFilter2D(down, -1, DCT[column], one, anchor=anchor)
            counts += np.abs(value) < _ZERO
    return counts


def _expected(count: int, valid: int, tests: int) -> float:
    """How often chance would give a grid `count` of `valid` votes in one of `tests` places."""
    share, chance = count / valid, _CHANCE_SHARE
    if share <= chance:
        return float(tests)
    if share == 1:
        exponent = -valid * math.log(chance)
    else:
        exponent = valid * (
            share * math.log(share / chance) + (1 - share) * math.log((1 - share) / (1 - chance))
        )
    return tests * math.exp(-min(exponent, 700))


def _foreign(
    votes: np.ndarray, main: int | None
) -> tuple[tuple[tuple[tuple[int, int], float], ...], np.ndarray]:
    """Other grids with their shares, and where they win."""
    valid = _in_window(votes != _NONE)
    marked = np.zeros(votes.shape, bool)
    found = []
    for grid in np.unique(votes[votes != _NONE]).tolist():
        if grid == main:
            continue
        wins = _wins(_in_window(votes == grid), valid, votes.size * _GRIDS)
        if wins.any():
            # The window has won, not all of its places: those around votes for this grid.
            near = cv2.dilate((votes == grid).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            place = wins & near
            marked |= place
            found.append((_offset(grid), float(place.mean())))
    found.sort(key=lambda one: -one[1])
    return tuple(found), marked


def _in_window(marked: np.ndarray) -> np.ndarray:
    """How many of the places around each are marked."""
    side = (_WINDOW, _WINDOW)
    counts = cv2.boxFilter(
        marked.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(counts)


def _wins(counts: np.ndarray, valid: np.ndarray, tests: int) -> np.ndarray:
    chance = _CHANCE_SHARE
    share = np.clip(counts / np.maximum(valid, 1), 1e-6, 1 - 1e-6)
    divergence = share * np.log(share / chance) + (1 - share) * np.log((1 - share) / (1 - chance))
    exponent = np.where(share > chance, valid * divergence, 0)
    return np.asarray(exponent > math.log(tests / _CHANCE))

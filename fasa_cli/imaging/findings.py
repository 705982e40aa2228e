"""Why a region may be marked, and what speaks against its mark, from what is measured in it.

A measure counts where the region departs from the rest of the same photo: from what the rest has
at the same brightness and structure, and by far more than other places of the region's size do. So
a busy or smooth part of an untouched photo is no finding. Nothing here changes a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fasa_cli.imaging.cells import CELL, REASONS, Cells
from fasa_cli.imaging.framing import phase_shares
from fasa_cli.results import GRID, CopyMovePair, Finding

# Ours, all of them: strict, so that little is said of untouched photos (docs/scores.md).
_LEAST_CELLS = 12  # of a region, that can be measured
_LEAST_PLACES = 12  # of the region's size elsewhere in the photo
_LEAST_DEVIATIONS = 5.0  # robust standard deviations of those places
_FACTORS = {"noise": 1.6, "colour noise": 1.6, "sharpness": 1.35}  # by which it must differ
_STRUCTURE = 3.0  # grey levels of coarse gradient, for sharpness to be seen
_QUIET = 0.1  # grey levels; below it strengths are equal
_CLIPPED_SHARE, _UNJUDGEABLE_SHARE = 0.25, 0.5  # of a region
_GRID_SIDE = 48, 192  # pixels: least and largest square in which a JPEG grid is looked for
_GRID_LEAD = 0.05  # by which the share of coefficients near 0 exceeds that of all other phases
_ALONE = 0.05  # share of a region that one pathway marks by itself


class Place(NamedTuple):
    """A region: h x w bool, its upper left pixel at `corner` (x, y) of the photo."""

    corner: tuple[int, int]
    pixels: np.ndarray

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """(rows, columns) of its pixels in the photo."""
        rows, columns = np.nonzero(self.pixels)
        return rows + self.corner[1], columns + self.corner[0]


def find_reasons(
    pixels: np.ndarray,
    regions: Iterable[Place],
    marked: np.ndarray,
    cells: Cells,
    unjudgeable: np.ndarray,
) -> Iterator[tuple[Finding, ...]]:
    """What is measured in each region of an H x W x 3 uint8 RGB photo.

    `marked` is H x W bool, all that is marked; it is left out of what regions are compared with.
    `unjudgeable` numbers REASONS for each of `cells`.
    """
    shape = cells.noise.shape
    # What is out of focus has a noise all the same, unless it was blurred later.
    measurable = (unjudgeable == 0) | (unjudgeable == REASONS.index("out of focus"))
    rest = measurable & (_share_of_cells(Place((0, 0), marked), shape) == 0)
    grid = _grid_of(pixels)
    for region in regions:
        share = _share_of_cells(region, shape)
        inside = (share >= 0.5) & measurable
        findings = [
            _departure("noise", cells.noise, cells, inside, rest),
            _departure("colour noise", cells.colour_noise, cells, inside, rest),
            _departure("sharpness", cells.fine, cells, inside, rest),
            _grid(pixels, region, grid),
            _clipped(cells, share),
            _unjudgeable(unjudgeable, share),
        ]
        yield tuple(finding for finding in findings if finding is not None)


def pathways(
    region: Place,
    network: np.ndarray,
    copy_move: np.ndarray | None,
    pairs: Sequence[CopyMovePair],
    threshold: float,
) -> tuple[Finding, ...]:
    """Which pathway marks a region, and where the other part of its pair lies.

    `network` is the network's map, H x W; `copy_move` that of the pairs' marks, of any size.
    """
    if copy_move is None or not pairs:
        return ()
    rows, columns = region.places
    height, width = copy_move.shape
    own_height, own_width = network.shape
    by_pair = copy_move[rows * height // own_height, columns * width // own_width] > threshold
    by_network = network[rows, columns] > threshold
    if by_pair.mean() < _ALONE:
        return ()
    findings = []
    best = max(pairs, key=lambda pair: max(_overlap(box, rows, columns) for box in pair.boxes))
    own, other = sorted(best.boxes, key=lambda box: -_overlap(box, rows, columns))
    if _overlap(own, rows, columns):
        x, y, box_width, box_height = other
        text = f"It shows the same as {box_width} x {box_height} pixels at ({x}, {y})"
        findings.append(
            Finding("copy-move", "for", round(best.probability, 4), f"{text}: a duplicated region.")
        )
    share = float((by_pair & ~by_network).mean())
    both = float((by_pair & by_network).mean())
    if share >= _ALONE:
        alone = f"{share:.0%} of it is marked by the copy-move search alone, not by the network."
        findings.append(Finding("pathway", "neither", round(share, 4), alone))
    elif both >= _ALONE:
        agree = f"Network and copy-move search both mark {both:.0%} of it."
        findings.append(Finding("pathway", "for", round(both, 4), agree))
    return tuple(findings)


def _overlap(box: tuple[int, int, int, int], rows: np.ndarray, columns: np.ndarray) -> float:
    """The share of the pixels that lie in a box."""
    x, y, width, height = box
    return float(
        ((columns >= x) & (columns < x + width) & (rows >= y) & (rows < y + height)).mean()
    )


# --- Noise and sharpness ----------------------------------------------------------------------

_WORDS = {
    "noise": ("noise", "at the same brightness and structure"),
    "colour noise": ("colour noise", "at the same brightness and structure"),
    "sharpness": ("fine detail", "with the same structure"),
}


def _departure(
    kind: str, values: np.ndarray, cells: Cells, inside: np.ndarray, rest: np.ndarray
) -> Finding | None:
    """How far a measure inside a region departs from what the rest of the photo explains."""
    if kind == "sharpness":
        structured = cells.coarse >= _STRUCTURE
        inside, rest = inside & structured, rest & structured
    if inside.sum() < _LEAST_CELLS or rest.sum() < 2 * _LEAST_CELLS:
        return None
    departures = _unexplained(values, cells, rest, by_brightness=kind != "sharpness")
    here = float(np.median(departures[inside]))
    elsewhere = _places(departures, rest, int(inside.sum()))
    if len(elsewhere) < _LEAST_PLACES:
        return None
    middle = float(np.median(elsewhere))
    spread = 1.4826 * float(np.median(np.abs(elsewhere - middle))) + 0.02
    factor = float(np.exp(here - middle))
    beyond = here > elsewhere.max() or here < elsewhere.min()
    if (
        not beyond
        or abs(here - middle) < _LEAST_DEVIATIONS * spread
        or max(factor, 1 / factor) < _FACTORS[kind]
    ):
        return None
    what, where = _WORDS[kind]
    text = f"Its {what} is {_times(factor)} that of the rest of the photo {where}."
    return Finding(kind, "for", round(factor, 3), text)


def _unexplained(
    values: np.ndarray, cells: Cells, rest: np.ndarray, by_brightness: bool
) -> np.ndarray:
    """Logarithms of a measure, less what brightness and coarse structure explain in the rest of the
    photo (a noise level function; least squares)."""
    structure = np.log(cells.coarse + 1)
    factors = [np.ones_like(structure), structure, structure**2]
    if by_brightness:
        brightness = cells.brightness / 255
        factors += [brightness, brightness**2, brightness * structure]
    x = np.stack(factors, axis=-1).astype(np.float64)
    y = np.log(values + _QUIET).astype(np.float64)
    known = x[rest]
    squares = known.T @ known / len(known) + 1e-6 * np.eye(known.shape[1])
    weights = np.linalg.solve(squares, known.T @ y[rest] / len(known))
    unexplained: np.ndarray = y - x @ weights
    return unexplained


def _places(departures: np.ndarray, rest: np.ndarray, count: int) -> np.ndarray:
    """Mean departures of places of about `count` cells in the rest of the photo."""
    side = max(2, round(count**0.5))
    valid = rest.astype(np.float32)
    known = np.where(rest, departures, 0).astype(np.float32)
    numbers, sums = (
        cv2.boxFilter(
            one, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
        )
        for one in (valid, known)
    )
    step = max(1, side // 2)
    numbers, sums = numbers[::step, ::step], sums[::step, ::step]
    enough = numbers >= 0.5 * side * side
    means: np.ndarray = sums[enough] / numbers[enough]
    return means


def _times(factor: float) -> str:
    return f"{factor:.1f} times" if factor >= 1 else f"{factor:.2f} times"


# --- JPEG grid --------------------------------------------------------------------------------


def _grid_of(pixels: np.ndarray) -> tuple[int, int] | None:
    """The phase (down, right) of a JPEG grid that shows beyond doubt; None: none does."""
    shares = phase_shares(pixels)
    if shares is None:
        return None
    best = int(shares.argmax())
    if shares.flat[best] - np.delete(shares, best).max() < _GRID_LEAD:
        return None
    return best // GRID, best % GRID


def _grid(pixels: np.ndarray, region: Place, grid: tuple[int, int] | None) -> Finding | None:
    """Whether the JPEG blocks inside a region start elsewhere than the photo's."""
    if grid is None:
        return None
    x, y, side = _largest_square(region)
    least, most = _GRID_SIDE
    if side < least:
        return None
    if side > most:
        x, y, side = x + (side - most) // 2, y + (side - most) // 2, most
    own = _grid_of(pixels[y : y + side, x : x + side])
    if own is None:
        return None
    down, right = (y + own[0] - grid[0]) % GRID, (x + own[1] - grid[1]) % GRID
    if (down, right) == (0, 0):
        return None
    text = f"Its JPEG blocks start {right} pixels right of and {down} below those of the photo."
    return Finding("jpeg grid", "for", float(max(right, down)), text)


def _largest_square(region: Place) -> tuple[int, int, int]:
    """(x, y, side) of the largest square within a region, about the place that is farthest from
    its edge."""
    left, top = region.corner
    padded = cv2.copyMakeBorder(region.pixels.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)
    down, right = np.unravel_index(distance.argmax(), distance.shape)
    reach = int(distance[down, right]) - 1
    return left + int(right) - 1 - reach, top + int(down) - 1 - reach, 2 * reach + 1


# --- What speaks against a mark ---------------------------------------------------------------


def _clipped(cells: Cells, share: np.ndarray) -> Finding | None:
    weight = float(share.sum())
    inside = float((cells.clipped * share).sum() / weight) if weight else 0.0
    if inside < _CLIPPED_SHARE:
        return None
    text = (
        f"{inside:.0%} of its pixels are clipped to white or black, which a network may take for "
        "an edit."
    )
    return Finding("clipped", "against", round(inside, 4), text)


def _unjudgeable(unjudgeable: np.ndarray, share: np.ndarray) -> Finding | None:
    weight = float(share.sum())
    inside = float((share * (unjudgeable > 0)).sum() / weight) if weight else 0.0
    if inside < _UNJUDGEABLE_SHARE:
        return None
    parts = np.bincount(unjudgeable.ravel(), weights=share.ravel(), minlength=len(REASONS))
    why = REASONS[1 + int(parts[1:].argmax())]
    text = f"On {inside:.0%} of it noise and sharpness cannot be measured; most of that is {why}."
    return Finding("unjudgeable", "against", round(inside, 4), text)


def _share_of_cells(region: Place, shape: tuple[int, ...]) -> np.ndarray:
    """The share of each cell that a region covers."""
    share = np.zeros(shape, np.float32)
    x, y = region.corner
    height, width = region.pixels.shape
    above, before = y % CELL, x % CELL
    rows, columns = -(-(above + height) // CELL), -(-(before + width) // CELL)
    whole = np.zeros((rows * CELL, columns * CELL), np.uint8)
    whole[above : above + height, before : before + width] = region.pixels
    covered = whole.reshape(rows, CELL, columns, CELL).mean((1, 3), dtype=np.float32)
    target = share[y // CELL :, x // CELL :]
    rows, columns = min(rows, target.shape[0]), min(columns, target.shape[1])
    target[:rows, :columns] = covered[:rows, :columns]
    return share

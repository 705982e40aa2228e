"""Connected regions of a probability map: scores, exact shapes (COCO RLE), and outlines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np

from fasa_cli.results import Region, Rle

_STRIP_PIXELS = 4_000_000

Ring = list[tuple[int, int]]
Polygon = list[Ring]


def find_regions(
    probabilities: np.ndarray, threshold: float, limit: int | None = None
) -> tuple[Region, ...]:
    """Find the 8-connected regions of an H x W float map where it is above `threshold`.

    Largest area first, ties by box; only the first `limit` of them when it is given.
    """
    marked = probabilities > threshold
    if not marked.any():
        return ()
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        marked.view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    del marked  # each byte a pixel counts in a large photo
    boxes, areas = stats[1:, :4], stats[1:, cv2.CC_STAT_AREA]
    means, peaks = _scores(labels, probabilities, areas)
    # No two regions share a box (they would have to cross), so the order is complete.
    order = np.lexsort((*boxes.T[::-1], -areas))[:limit]
    columns = (boxes[order], areas[order], means[order], peaks[order])
    return tuple(
        Region((x, y, width, height), area, mean, peak)
        for (x, y, width, height), area, mean, peak in zip(
            *(column.tolist() for column in columns), strict=True
        )
    )


def _scores(
    labels: np.ndarray, probabilities: np.ndarray, areas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, peak) score per region from the H x W labels (0: none) and scores."""
    count = len(areas) + 1
    peaks = np.full(count, -np.inf, probabilities.dtype)
    sums = np.zeros(count)
    step = max(1, _STRIP_PIXELS // labels.shape[1])
    for top in range(0, len(labels), step):  # in strips: what follows takes 16 bytes a pixel
        strip = labels[top : top + step]
        marked = strip > 0
        here = strip[marked].astype(np.intp)  # bincount is ten times faster with it
        scores = probabilities[top : top + step][marked]
        np.maximum.at(peaks, here, scores)  # fast only while its types agree
        sums += np.bincount(here, weights=scores, minlength=count)
    means = sums[1:] / areas
    return np.minimum(means, peaks[1:]), peaks[1:]  # rounding must not lift a mean above its peak


# --- Shapes ---------------------------------------------------------------------------------


def with_shapes(regions: Iterable[Region], mask: np.ndarray) -> tuple[Region, ...]:
    """The same regions with their `rle`, from the H x W bool mask in which they were found."""
    return tuple(
        replace(region, rle=encode_rle(own_pixels(region, mask), region.box[:2], mask.shape[:2]))
        for region in regions
    )


def own_pixels(region: Region, mask: np.ndarray) -> np.ndarray:
    """The pixels of a region within its box, h x w bool, from the mask in which it was found."""
    x, y, width, height = region.box
    crop = np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(crop, connectivity=8)
    # What else reaches into the box cannot span it without touching the region.
    whole = (stats[1:, :4] == (0, 0, width, height)).all(axis=1)
    own: np.ndarray = labels == 1 + int(whole.argmax())
    return own


def encode_rle(crop: np.ndarray, corner: tuple[int, int], size: tuple[int, ...]) -> Rle:
    """Encode an h x w bool `crop` with its upper left pixel at `corner` (x, y) of an image.

    `size` is the image's (height, width).
    """
    image_height, image_width = size
    (x, y), (height, width) = corner, crop.shape
    step = max(1, _STRIP_PIXELS // height)
    runs = []
    for left in range(0, width, step):
        columns, tops, bottoms = _runs(np.ascontiguousarray(crop[:, left : left + step].T))
        offsets = (x + left + columns) * image_height + y
        runs.append((tops + offsets, bottoms + offsets))
    starts, ends = np.concatenate(runs, axis=1)
    # A run that ends at the bottom of a column continues at the top of the next.
    joined = starts[1:] == ends[:-1]
    starts = starts[np.concatenate(([True], ~joined))[: len(starts)]]
    ends = ends[np.concatenate((~joined, [True]))[-len(ends) :]] if len(ends) else ends
    borders = np.stack((starts, ends), axis=1).ravel()
    counts = np.diff(np.concatenate(([0], borders, [image_height * image_width])))
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    return Rle((image_height, image_width), _compress(counts))


def decode_rle(rle: Rle) -> np.ndarray:
    """The H x W bool mask of an RLE.

    Raises:
        ValueError: the counts do not fill the size.
    """
    height, width = rle.size
    counts = _expand(rle.counts)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"run lengths do not fill {width} x {height} pixels")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _compress(counts: np.ndarray) -> str:
    """COCO's string: differences to the count before last, in groups of 5 bits, lowest first."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    groups, used = [], []
    open_ = np.ones(len(values), bool)
    while open_.any():
        low = values & 0x1F
        values = values >> 5
        more = open_ & np.where(low & 0x10, values != -1, values != 0)
        groups.append(low + 0x20 * more + 48)
        used.append(open_)
        open_ = more
    characters = np.stack(groups, axis=1)[np.stack(used, axis=1)]
    return characters.astype(np.uint8).tobytes().decode("ascii")


def _expand(text: str) -> np.ndarray:
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 0x3F or codes[-1] & 0x20:
        raise ValueError("not COCO run lengths")
    lasts = np.flatnonzero(~codes & 0x20)
    firsts = np.concatenate(([0], lasts[:-1] + 1))
    place = np.arange(len(codes)) - np.repeat(firsts, lasts - firsts + 1)
    if place.max() > 11:
        raise ValueError("not COCO run lengths")
    values = np.add.reduceat((codes & 0x1F) << 5 * place, firsts)
    negative = (codes[lasts] & 0x10) > 0
    values[negative] -= np.int64(1) << 5 * (lasts - firsts + 1)[negative]
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values


# --- Outlines -------------------------------------------------------------------------------


def polygons(mask: np.ndarray) -> list[Polygon]:
    """Trace an H x W bool mask along the edges of its pixels, exactly.

    A polygon per 4-connected part: its outer ring, then its holes. Points are (x, y) in pixels,
    with (0, 0) at the upper left corner of the first pixel; rings are simple and closed, outer
    ones in the direction that GeoJSON asks for, holes in the other.
    """
    if not mask.any():
        return []
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    found = []
    for label in range(1, count):
        x, y, width, height = (int(value) for value in stats[label, :4])
        rings = _rings(labels[y : y + height, x : x + width] == label, x, y)
        rings.sort(key=_signed_area, reverse=True)  # the outer one alone is positive
        found.append(rings)
    return found


_RIGHT, _DOWN, _LEFT, _UP = range(4)


def _rings(part: np.ndarray, left: int, top: int) -> list[Ring]:
    """The border of a 4-connected part, with the part on the right hand of who walks along it."""
    follow = _segments(part)
    rings = []
    while follow:
        (place, direction), _ = next(iter(follow.items()))
        path: list[tuple[int, int]] = []
        met: dict[tuple[int, int], int] = {}
        while (place, direction) in follow:
            if place in met:  # it touches itself here: what lies between is a ring of its own
                rings.append(_closed(path[met[place] :], left, top))
                for point in path[met[place] :]:
                    del met[point]
                del path[len(met) :]
            met[place] = len(path)
            path.append(place)
            place = follow.pop((place, direction))
            # At a corner where two pixels touch, a right turn stays with the same pixel.
            turn = (direction + 1) % 4
            direction = turn if (place, turn) in follow else (direction + 3) % 4
        rings.append(_closed(path, left, top))
    return rings


def _segments(part: np.ndarray) -> dict[tuple[tuple[int, int], int], tuple[int, int]]:
    """Straight pieces of the border: (from, direction) -> to."""
    padded = np.pad(part, 1)
    inner = padded[1:-1, 1:-1]
    segments = {}
    for direction, beyond in (
        (_RIGHT, padded[:-2, 1:-1]),
        (_LEFT, padded[2:, 1:-1]),
        (_DOWN, padded[1:-1, 2:]),
        (_UP, padded[1:-1, :-2]),
    ):
        edge = inner & ~beyond
        across = direction in (_DOWN, _UP)
        lines, starts, ends = _runs(edge.T if across else edge)
        lines = lines + (direction in (_DOWN, _LEFT))  # those lie on the pixel's far side
        for line, start, end in zip(lines.tolist(), starts.tolist(), ends.tolist(), strict=True):
            one, other = ((line, start), (line, end)) if across else ((start, line), (end, line))
            forward = direction in (_RIGHT, _DOWN)
            segments[(one if forward else other, direction)] = other if forward else one
    return segments


def _runs(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, start, end) of each run of true values."""
    steps = np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(steps == 1)
    return lines, starts, np.nonzero(steps == -1)[1]


def _closed(path: list[tuple[int, int]], left: int, top: int) -> Ring:
    return [(x + left, y + top) for x, y in [*path, path[0]]]


def _signed_area(ring: Ring) -> int:
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairwise(ring))

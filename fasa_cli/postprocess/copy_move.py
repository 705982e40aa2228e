"""Copy-move by matching: duplicated regions of a photo, found by their key points.

A copied part has the edges, grain and colours of its surroundings, so what a network sees of it
can be nothing at all; what gives it away is that it is duplicated. Key points are matched within
the photo, matches that agree on one affine map are grouped, and the map is checked pixel by pixel.
Look-alikes (windows, leaves, tiles) pass the first two steps. They are separated from copies by how
exactly the key points fall on each other, by how many of a region's key points have a partner, and
by the fine detail that two views of one thing do not share: see `_probability`.

Sources: key points and their mirrored descriptors from SIFT (Lowe 2004); matching within one image
and grouping by affine maps as in Amerini et al. 2011. Ours: everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from fasa_cli.results import CopyMovePair

LARGEST = 1_000_000  # pixels; a larger photo is scaled down first, which copies survive
_PIXELS_PER_POINT = 250  # of the photo, for each of the strongest key points that are compared,
_FEWEST_POINTS = 1_000  # but at least so many; comparing them takes their number squared
_CONTRAST = 0.008  # of SIFT, a fifth of its default: smooth parts are copied too
_EDGE_RATIO = 15.0
_APART = 20.0  # pixels between a key point and its partner, at least
_NEAREST = 12  # partners looked at for each key point
_RATIO = 0.7  # of the distances to the best partner and to the next best elsewhere (Lowe 2004)
_FARTHEST = 0.5  # distance of two partners' descriptors, which have unit length
_LEAST = 4  # matches that a map needs
_TOLERANCE = 3.0  # pixels by which a match may miss its map
_HYPOTHESES = 300  # single matches whose maps are tried for each group
_MOST_GROUPS = 12
_ALIKE = 0.8  # local correlation of a copied pixel's surroundings,
_WINDOW = 11  # pixels wide
_FLAT = 1.0  # added to the deviations' product: below it there is nothing to correlate
_MARGIN = 48  # pixels around a group's key points into which the copy may extend
_LEANING = 1.8  # per unit of the mean logits' difference, towards one region of a pair
_STRIP = 512  # rows of a photo that are marked at a time
_LARGEST_OVERLAP = 0.25  # of a region and its partner; texture that repeats overlaps itself


class LocatedPair(NamedTuple):
    """`regions` are the two masks, h x w bool, of the photo at its working size."""

    pair: CopyMovePair
    regions: tuple[np.ndarray, np.ndarray]


class CopyMoveFeatures(NamedTuple):
    """What separates a copy from a look-alike."""

    matches: int  # key points of the region that fall on their partner
    share: float  # of the region's key points, those that do
    error: float  # median distance to the partner, in pixels at the working size
    detail: float  # correlation of what is finer than 1.5 pixels
    correlation: float  # mean local correlation
    area: float  # share of the photo


class _KeyPoints(NamedTuple):
    places: np.ndarray  # N x 2, x and y
    sizes: np.ndarray  # N
    angles: np.ndarray  # N, radians
    descriptors: np.ndarray  # N x 128, of unit length


class _Matches(NamedTuple):
    """Pairs of key points in both directions; `mirrored` says which are each other's mirror."""

    first: np.ndarray  # M, indices of key points
    second: np.ndarray
    mirrored: np.ndarray


class _Group(NamedTuple):
    matrix: np.ndarray  # 2 x 3
    sources: np.ndarray  # K x 2
    targets: np.ndarray  # K x 2


def find_pairs(image: np.ndarray, least: float = 0.5) -> list[LocatedPair]:
    """The duplicated regions of an H x W x 3 uint8 RGB image, most probable first.

    `least` is the lowest probability that counts.
    """
    scale = _working_scale(image)
    findings = []
    for matrix, regions, features in candidates(image):
        probability = _probability(features)
        if probability >= least:
            upper, lower = (matrix / [1, 1, scale]).round(4).tolist()
            boxes = (_box(regions[0], scale), _box(regions[1], scale))
            matrix_rows = (tuple(upper), tuple(lower))
            pair = CopyMovePair(boxes, matrix_rows, round(probability, 6), features.matches)
            findings.append(LocatedPair(pair, regions))
    return sorted(findings, key=lambda finding: -finding.pair.probability)


def marks_of_pairs(
    network: np.ndarray, findings: Sequence[LocatedPair]
) -> list[tuple[float, float]]:
    """With which probability each pair's first and second region are marked.

    Both count alike, unless `network`, the H x W probabilities of the network, sets one apart: then
    the other counts less. The network's map is only read.
    """
    height, width = findings[0].regions[0].shape
    small = cv2.resize(network, (width, height), interpolation=cv2.INTER_AREA)
    small = small.clip(1e-6, 1 - 1e-6)
    logits = np.log(small / (1 - small))
    marks = []
    for pair, regions in findings:
        first, second = (float(logits[region].mean()) for region in regions)
        shares = (
            min(1.0, 2 / (1 + float(np.exp(-_LEANING * ahead))))
            for ahead in (first - second, second - first)
        )
        one, other = (pair.probability * share for share in shares)
        marks.append((one, other))
    return marks


def copy_move_map(
    findings: Sequence[LocatedPair], marks: Sequence[tuple[float, float]]
) -> np.ndarray:
    """H x W float32: with which of the `marks` (see `marks_of_pairs`) a pixel is marked; 0 outside
    all pairs."""
    whole = np.zeros(findings[0].regions[0].shape, np.float32)
    for (_, regions), values in zip(findings, marks, strict=True):
        for region, value in zip(regions, values, strict=True):
            np.maximum(whole, value * region, out=whole)
    return whole


def at_full_size(marks: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """A copy-move map (None: of no pair) as H x W float32 of the photo's own size."""
    full = np.zeros(shape, np.float32)
    if marks is not None:
        add_marks(full, marks)
    return full


def add_marks(probabilities: np.ndarray, marks: np.ndarray) -> None:
    """Raise H x W probabilities, in place, to a copy-move map of any size. Nothing is lowered."""
    rows, columns = (
        (np.arange(full) * part) // full
        for full, part in zip(probabilities.shape, marks.shape, strict=True)
    )
    for start in range(0, len(rows), _STRIP):  # a large photo's marks would fill the memory
        strip = slice(start, start + _STRIP)
        part = probabilities[strip]
        np.maximum(part, marks[rows[strip]][:, columns], out=part)


def candidates(
    image: np.ndarray,
) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, np.ndarray], CopyMoveFeatures]]:
    """Pairs of like regions, copies or not: a matrix, masks and features at the working size."""
    scale = _working_scale(image)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    points = _key_points(grey)
    if len(points.places) < 2 * _LEAST:
        return
    light = grey.astype(np.float32)
    for group in _groups(points, _partners(points)):
        if found := _regions(light, group, points.places):
            yield group.matrix, *found


def _key_points(grey: np.ndarray) -> _KeyPoints:
    most = max(_FEWEST_POINTS, grey.size // _PIXELS_PER_POINT)
    sift = cv2.SIFT.create(  # which describes the strongest only
        nfeatures=most, contrastThreshold=_CONTRAST, edgeThreshold=_EDGE_RATIO, sigma=1.6
    )
    found, descriptors = sift.detectAndCompute(grey, None)
    if not found:
        return _KeyPoints(np.empty((0, 2)), np.empty(0), np.empty(0), np.empty((0, 128)))
    rows = np.array([(*one.pt, one.size, one.angle, one.response) for one in found], np.float32)
    strongest = np.argsort(-rows[:, 4], kind="stable")[:most]
    rows, descriptors = rows[strongest], descriptors[strongest]
    # Square roots of unit sums compare by Hellinger's distance, and have unit length.
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(1, keepdims=True), 1e-6))
    return _KeyPoints(rows[:, :2], rows[:, 2], np.deg2rad(rows[:, 3]), descriptors)


def _mirrored(descriptors: np.ndarray) -> np.ndarray:
    """The descriptors that the mirror image would have: N x (4 rows x 4 columns x 8 directions),
    about the key point's own direction, so rows and directions turn round."""
    cells = descriptors.reshape(-1, 4, 4, 8)[:, ::-1]
    return np.ascontiguousarray(cells[..., -np.arange(8) % 8]).reshape(descriptors.shape)


def _partners(points: _KeyPoints) -> _Matches:
    """Each key point's best partner elsewhere, where the next best, elsewhere again, is worse."""
    import torch

    count = len(points.places)
    both = np.concatenate([points.descriptors, _mirrored(points.descriptors)])
    columns = torch.from_numpy(np.ascontiguousarray(both.T, np.float32))
    rows = torch.from_numpy(points.descriptors.astype(np.float32))
    first, second, mirrored = [], [], []
    for start in range(0, count, 512):
        part = slice(start, min(start + 512, count))
        nearest = (rows[part] @ columns).topk(min(_NEAREST, 2 * count), dim=1)
        products, indices = nearest.values.numpy(), nearest.indices.numpy()
        last = products[:, -1]  # what was not looked at is no nearer than this
        places = points.places[indices % count]
        apart = ((places - points.places[part][:, None]) ** 2).sum(-1) >= _APART**2
        products = np.where(apart, products, -1.0)
        best = products.argmax(1)
        each = np.arange(len(best))
        elsewhere = ((places - places[each, best][:, None]) ** 2).sum(-1) >= (_APART / 2) ** 2
        next_best = np.maximum(np.where(elsewhere, products, -1.0).max(1), last)
        distance, next_distance = (
            np.sqrt(np.maximum(2 - 2 * product, 0)) for product in (products[each, best], next_best)
        )
        chosen = np.flatnonzero((distance < _FARTHEST) & (distance < _RATIO * next_distance))
        first.append(chosen + start)
        second.append(indices[chosen, best[chosen]] % count)
        mirrored.append(indices[chosen, best[chosen]] >= count)
    pairs = np.stack([np.concatenate(part) for part in (first, second, mirrored)], axis=1)
    pairs = np.unique(np.concatenate([pairs, pairs[:, [1, 0, 2]]]), axis=0)
    return _Matches(pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(bool))


def _groups(points: _KeyPoints, matches: _Matches) -> list[_Group]:
    """Matches that agree on one map, the largest group first.

    A single match gives a similarity: its key points have sizes and directions. The one that most
    others agree with is refined to an affine map by least squares. Nothing is drawn at random.
    """
    sources, targets = points.places[matches.first], points.places[matches.second]
    scale = points.sizes[matches.second] / points.sizes[matches.first]
    flip = np.where(matches.mirrored, -1.0, 1.0)
    turn = points.angles[matches.second] - flip * points.angles[matches.first]
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    free, tried = np.ones(len(sources), bool), np.zeros(len(sources), bool)
    groups: list[_Group] = []
    for _ in range(4 * _MOST_GROUPS):
        left, untried = np.flatnonzero(free), np.flatnonzero(free & ~tried)
        if len(left) < _LEAST or not len(untried) or len(groups) == _MOST_GROUPS:
            break
        if len(untried) > _HYPOTHESES:
            untried = untried[np.linspace(0, len(untried) - 1, _HYPOTHESES).astype(int)]
        offset = sources[left][None] - sources[untried][:, None]  # hypotheses x matches x 2
        x, y = offset[..., 0], offset[..., 1] * flip[untried, None]
        across = cosine[untried, None] * x - sine[untried, None] * y
        down = sine[untried, None] * x + cosine[untried, None] * y
        missed = np.hypot(
            across + targets[untried, None, 0] - targets[None, left, 0],
            down + targets[untried, None, 1] - targets[None, left, 1],
        )
        # One match's size and direction are known roughly: what lies far off may miss by more.
        agree = missed < _TOLERANCE + 0.03 * np.hypot(x, y)
        agree &= matches.mirrored[untried][:, None] == matches.mirrored[left][None]
        best = int(agree.sum(1).argmax())
        if agree[best].sum() < _LEAST:
            break
        tried[untried[best]] = True
        fitted = _affine(sources, targets, left, left[agree[best]])
        if fitted is None:
            continue
        matrix, members = fitted
        free[members] = False
        # The same pairs the other way round are the same finding.
        back = {(matches.second[index], matches.first[index]) for index in members}
        for index in left:
            if (matches.first[index], matches.second[index]) in back:
                free[index] = False
        if _is_plausible(matrix):
            groups.append(_Group(matrix, sources[members], targets[members]))
    return groups


def _affine(
    sources: np.ndarray, targets: np.ndarray, among: np.ndarray, members: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The affine map of the members by least squares, until no other match comes or goes."""
    matrix = None
    for _ in range(6):
        spread = np.linalg.svd(sources[members] - sources[members].mean(0), compute_uv=False)
        if spread[-1] < 4:  # on a line, which leaves the map open
            return None
        matrix = np.linalg.lstsq(_homogeneous(sources[members]), targets[members], rcond=None)[0].T
        missed = np.linalg.norm(_homogeneous(sources[among]) @ matrix.T - targets[among], axis=1)
        before, members = members, among[missed < _TOLERANCE]
        if len(members) < _LEAST:
            return None
        if np.array_equal(before, members):
            break
    return (matrix, members) if matrix is not None else None


def _is_plausible(matrix: np.ndarray) -> bool:
    """Whether a forger would do that: between 0.38 and 2.6 times the size, hardly stretched."""
    largest, smallest = np.linalg.svd(matrix[:, :2], compute_uv=False)
    return bool(largest < 2.6 and smallest > 0.38 and largest < 1.7 * smallest)


def _regions(
    light: np.ndarray, group: _Group, places: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], CopyMoveFeatures] | None:
    """Where the mapped photo and the photo agree, around key points that do; None: nowhere."""
    height, width = light.shape
    low, high = group.targets.min(0), group.targets.max(0)
    margin = np.maximum(_MARGIN, (high - low) / 2)
    left, top = np.maximum(low - margin, 0).astype(int)
    right, bottom = np.minimum(high + margin + 1, [width, height]).astype(int)
    size = (int(right - left), int(bottom - top))
    matrix = group.matrix - [[0, 0, left], [0, 0, top]]
    seen = light[top:bottom, left:right]
    mapped = cv2.warpAffine(light, matrix, size, flags=cv2.INTER_LINEAR)
    within = cv2.warpAffine(np.ones((height, width), np.uint8), matrix, size, flags=0)
    correlation = _local_correlation(seen, mapped)
    alike = ((correlation > _ALIKE) & (within > 0)).astype(np.uint8)
    closed = cv2.morphologyEx(alike, cv2.MORPH_CLOSE, _disc(9))
    like = cv2.morphologyEx(closed, cv2.MORPH_OPEN, _disc(7))
    labels = cv2.connectedComponents(like)[1]
    hits = np.bincount(_values(labels, group.targets - [left, top]), minlength=labels.max() + 1)
    hits[0] = 0
    chosen = (hits >= 3)[labels].astype(np.uint8)
    if not chosen.any():
        return None
    outlines, _ = cv2.findContours(chosen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(chosen, outlines, -1, 1, -1)  # flat parts within it are copied too
    target = np.zeros((height, width), np.uint8)
    target[top:bottom, left:right] = chosen
    source = cv2.warpAffine(
        target, group.matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    if ((source > 0) & (target > 0)).sum() > _LARGEST_OVERLAP * target.sum():
        return None
    matches, share, error = _agreement(group, places, target)
    inside = chosen > 0
    detail = _correlation(_fine(seen)[inside], _fine(mapped)[inside])
    likeness, area = float(correlation[inside].mean()), float(target.mean())
    features = CopyMoveFeatures(matches, share, error, detail, likeness, area)
    return (source > 0, target > 0), features


def _agreement(group: _Group, places: np.ndarray, target: np.ndarray) -> tuple[int, float, float]:
    """How many key points of the region have a partner under the map, and how exactly."""
    inner = cv2.erode(target, np.ones((9, 9), np.uint8))  # at the border they see other things
    matched = _values(inner, group.targets) > 0
    if not matched.any():
        matched = _values(target, group.targets) > 0
    missed = _homogeneous(group.sources) @ group.matrix.T - group.targets
    error = float(np.median(np.linalg.norm(missed[matched], axis=1))) if matched.any() else 9.0
    all_inside = max(1, int((_values(inner, places) > 0).sum()))
    share = min(1.0, float(matched.sum()) / all_inside)
    return int(matched.sum()), share, error


def _probability(features: CopyMoveFeatures) -> float:
    """Of being a copy and no look-alike: logistic regression on the features.

    Ours: fitted by `benchmarks/fit_copies.py` on copies made in authentic photos, and on what
    looks alike in photos as they are, three in five of both recompressed (1,600 draws, seed 7).
    """
    logit = float(np.dot(COEFFICIENTS, scaled(features)))
    return 1 / (1 + float(np.exp(-logit)))


def scaled(features: CopyMoveFeatures) -> np.ndarray:
    """Constant 1, then the features on scales where a step weighs about the same everywhere.

    The number of matches adds nothing to these. A region of a twentieth of the photo is large.
    """
    return np.array(
        [
            1.0,
            np.log(features.share + 0.02),
            np.log(features.error + 0.05),
            features.detail,
            features.correlation,
            np.log(min(features.area, 0.05) + 1e-4),
        ]
    )


COEFFICIENTS = np.array([1.753, 2.317, -1.222, 5.125, 5.429, 2.443])


# --- Small things -------------------------------------------------------------------------------


def _working_scale(image: np.ndarray) -> float:
    return min(1.0, (LARGEST / (image.shape[0] * image.shape[1])) ** 0.5)


def _homogeneous(places: np.ndarray) -> np.ndarray:
    return np.column_stack([places, np.ones(len(places))])


def _values(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """What the grid holds at places (x, y), those outside moved to its border."""
    columns, rows = np.rint(places).astype(int).T
    return grid[rows.clip(0, grid.shape[0] - 1), columns.clip(0, grid.shape[1] - 1)]


def _local_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two float32 pictures in a window around each pixel; about 0 where nothing varies."""

    def mean(picture: np.ndarray) -> np.ndarray:
        return cv2.blur(picture, (_WINDOW, _WINDOW))

    mean_one, mean_other = mean(one), mean(other)
    spread = np.maximum(mean(one * one) - mean_one**2, 0)
    spread *= np.maximum(mean(other * other) - mean_other**2, 0)
    return (mean(one * other) - mean_one * mean_other) / (np.sqrt(spread) + _FLAT)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum() + 1e-9))


def _fine(picture: np.ndarray) -> np.ndarray:
    return picture - cv2.GaussianBlur(picture, (0, 0), 1.5)


def _disc(diameter: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))


def _box(region: np.ndarray, scale: float) -> tuple[int, int, int, int]:
    """The region's (x, y, width, height) in pixels of the photo."""
    x, y, width, height = (round(side / scale) for side in cv2.boundingRect(region.view(np.uint8)))
    return x, y, width, height

"""What to change: regions of a window, from its own object, from its segments, or of any shape."""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli.imaging import degradations

SMALLEST_SHARE = 0.004  # of the window; a smaller region teaches little


def region_to_change(
    window: np.ndarray,
    own_object: np.ndarray | None,
    rng: np.random.Generator,
    largest: float = 0.4,
) -> np.ndarray:
    """What to change: the window's own object, a part with borders of its own, or any shape."""
    if own_object is not None and 0.01 < own_object.mean() < largest and rng.random() < 0.45:
        return own_object
    if rng.random() < 0.3:
        return natural_region(window, rng, largest)
    return random_region(window.shape[:2], rng, largest)


def natural_region(
    window: np.ndarray, rng: np.random.Generator, largest: float = 0.4
) -> np.ndarray:
    """A region whose border follows the picture (a sky, a wall, a dress), as H x W bool.

    One segment of Felzenszwalb and Huttenlocher's graph segmentation, found on a small copy; a
    random shape where no segment has a fitting size.
    """
    from skimage.segmentation import felzenszwalb

    height, width = window.shape[:2]
    factor = min(1.0, 96 / max(height, width))
    small = degradations.resize(window, factor)
    segments = felzenszwalb(small, scale=float(rng.uniform(40, 300)), sigma=0.4, min_size=30)
    shares = np.bincount(segments.ravel()) / segments.size
    fitting = np.flatnonzero((shares > 2 * SMALLEST_SHARE) & (shares < largest))
    if fitting.size == 0:
        return random_region((height, width), rng, largest)
    weights = shares[fitting] ** 0.5  # many small segments are mere seams between large ones
    segment = rng.choice(fitting, p=weights / weights.sum())
    chosen = (segments == segment).astype(np.float32)
    smooth = cv2.resize(chosen, (width, height), interpolation=cv2.INTER_CUBIC)
    region = cv2.GaussianBlur(smooth, (0, 0), max(0.5, 0.5 / factor)) > 0.5
    # Strands thinner than a soft edge would be changed and yet not marked.
    region = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, _disc(4)).astype(bool)
    return region if region.any() else random_region((height, width), rng, largest)


def random_region(
    size: tuple[int, int], rng: np.random.Generator, largest: float = 0.4
) -> np.ndarray:
    """A random region of an H x W window, as bool: a blob, a polygon, an ellipse, a box, a brush.

    Its share of the window is roughly log-uniform up to `largest`, so that small ones are common.
    """
    height, width = size
    share = float(np.exp(rng.uniform(np.log(SMALLEST_SHARE * 2), np.log(largest))))
    area = share * height * width
    canvas = np.zeros(size, np.uint8)
    aspect = float(np.exp(rng.uniform(-0.7, 0.7)))
    half_width = max(2.0, min(width / 2, (area * aspect) ** 0.5 / 2))
    half_height = max(2.0, min(height / 2, (area / aspect) ** 0.5 / 2))
    x = float(rng.uniform(min(half_width, width / 2), max(width - half_width, width / 2)))
    y = float(rng.uniform(min(half_height, height / 2), max(height - half_height, height / 2)))
    shape = rng.choice(
        ["blob", "polygon", "ellipse", "box", "brush"], p=[0.3, 0.25, 0.2, 0.1, 0.15]
    )
    if shape == "box":
        corner = (int(x - half_width), int(y - half_height))
        cv2.rectangle(canvas, corner, (int(x + half_width), int(y + half_height)), 1, -1)
    elif shape == "ellipse":
        axes = (int(half_width * 1.13), int(half_height * 1.13))
        cv2.ellipse(canvas, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    elif shape == "brush":
        points = np.stack(
            [
                rng.uniform(x - half_width, x + half_width, 5),
                rng.uniform(y - half_height, y + half_height, 5),
            ],
            axis=1,
        )
        thickness = max(3, int(min(half_width, half_height) * 0.7))
        cv2.polylines(canvas, [points.astype(np.int32)], False, 1, thickness)
    else:
        corners = int(rng.integers(5, 12))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.6, 1.35, corners)
        points = np.stack(
            [x + radii * half_width * np.cos(angles), y + radii * half_height * np.sin(angles)],
            axis=1,
        )
        cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
        if shape == "blob":
            smooth = cv2.GaussianBlur(
                canvas.astype(np.float32), (0, 0), max(1.0, min(half_width, half_height) / 4)
            )
            canvas = (smooth > 0.4).astype(np.uint8)
    return canvas.astype(bool)


def hole_to_fill(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """A region to remove, a little larger than what is removed, as H x W bool."""
    return grown(region_to_change(window, own_object, rng, largest=0.3), int(rng.integers(0, 5)))


def grown(region: np.ndarray, pixels: int) -> np.ndarray:
    """The region and everything up to `pixels` away from it."""
    return cv2.dilate(region.astype(np.uint8), _disc(pixels)).astype(bool)


def within_box(region: np.ndarray, longest: int) -> np.ndarray:
    """The part of a region within a box of `longest` pixels around its bounding box's middle."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if rows.size == 0 or max(np.ptp(rows), np.ptp(columns)) < longest:
        return region
    top = max(0, (rows[0] + rows[-1] - longest) // 2)
    left = max(0, (columns[0] + columns[-1] - longest) // 2)
    kept = np.zeros_like(region)
    box = np.s_[top : top + longest, left : left + longest]
    kept[box] = region[box]
    return kept


def crop_to_region(photo: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both cut to the region's bounding box; an empty region becomes one pixel."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if rows.size == 0:
        return photo[:1, :1], np.ones((1, 1), bool)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return photo[box], region[box]


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

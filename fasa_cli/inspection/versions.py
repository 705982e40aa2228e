"""Another version of a photo: how the two lie on each other, and where they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fasa_cli.imaging.decode import read_image
from fasa_cli.inspection.differences import (
    brightness_correlation,
    brightness_difference,
    differing_place,
)
from fasa_cli.inspection.maps import write_map
from fasa_cli.inspection.records import Finding, Inspection, Version, ranked

_SIDE = 1600  # pixels of the longer side at which key points are sought
_KEY_POINTS = 4000
_RATIO = 0.75  # a match must be that much closer than the next (Lowe)
_LEAST_MATCHES = 15
_REACH = 3.0  # pixels at that size within which a match agrees
_SHIFT = 1  # pixel at the size of comparison
_LEVEL = 15.0  # difference of brightness (0-255) that compression hardly makes
_COMPARED_SIDE = 2000
_EXACT = 0.02  # scale and turn within this are none
_WRONG = (
    "Sharpening, filters, captions and strong compression differ, too; and which version is the "
    "earlier one, this does not say."
)


@dataclass(frozen=True)
class Registration:
    """`matrix` (2 x 3) maps pixels of the photo to those of the other version; `matches` key points
    agree with it. `scale` is the photo's pixels per pixel of the other, `turned` clockwise degrees,
    `mirrored` left to right, `box` (x, y, width, height) what of the other the photo shows."""

    matrix: np.ndarray
    matches: int
    scale: float
    turned: float
    mirrored: bool
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class VersionComparison:
    """`difference` is H x W float32 (0-255) at the photo's size, None where the two could not be
    laid over each other."""

    registration: Registration | None
    findings: tuple[Finding, ...]
    difference: np.ndarray | None = None


def register(photo: np.ndarray, other: np.ndarray) -> Registration | None:
    """Find where a photo (h x w uint8 brightness) lies in another version of it: scaled, cropped,
    turned, mirrored; None where too few key points agree."""
    best = None
    for mirrored in (False, True):
        looked_at = photo[:, ::-1] if mirrored else photo
        found = _matched(np.ascontiguousarray(looked_at), other)
        if found is not None and (best is None or found[1] > best[1]):
            best = (*found, mirrored)
        if best is not None and not mirrored:
            break
    if best is None:
        return None
    matrix, matches, mirrored = best
    if mirrored:
        flip = np.array([[-1, 0, photo.shape[1] - 1], [0, 1, 0], [0, 0, 1]], float)
        matrix = (np.vstack((matrix, (0, 0, 1))) @ flip)[:2]
    height, width = photo.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    there = corners @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(np.floor(there.min(axis=0)), 0, other.shape[::-1]).astype(int)
    high = np.clip(np.ceil(there.max(axis=0)), 0, other.shape[::-1]).astype(int)
    sign = -1 if mirrored else 1
    return Registration(
        matrix=matrix,
        matches=matches,
        scale=1 / math.sqrt(abs(np.linalg.det(matrix[:, :2]))),
        turned=math.degrees(math.atan2(-sign * matrix[1, 0], sign * matrix[0, 0])),
        mirrored=mirrored,
        box=(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])),
    )


def compare_versions(photo: np.ndarray, other: np.ndarray, name: str) -> VersionComparison:
    """Lay another version, called `name`, over a photo and map their differences.

    Both are H x W uint8 brightness, upright.
    """
    found = register(photo, other)
    if found is None:
        finding = Finding(
            "no other version",
            "note",
            f"It could not be laid over {name}: fewer than {_LEAST_MATCHES} key points agree.",
            "Small crops, flat pictures and strong changes have too few key points.",
        )
        return VersionComparison(None, (finding,))
    laid, covered = _laid_over(photo.shape, other, found)
    small = min(1.0, _COMPARED_SIDE / max(photo.shape))
    size = tuple(max(8, round(side * small)) for side in photo.shape[::-1])
    a, b = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (photo, laid))
    inside = cv2.resize(covered, size, interpolation=cv2.INTER_NEAREST) > 0
    a, b = np.where(inside, a, 0).astype(np.uint8), np.where(inside, b, 0).astype(np.uint8)
    difference = brightness_difference(a, b, _SHIFT)
    difference[cv2.erode(inside.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0] = 0
    findings = [_where(found, photo.shape, other.shape, name, brightness_correlation(a, b))]
    if place := differing_place(difference, _LEVEL):
        x, y, width, height, share, level = place
        findings.append(
            Finding(
                "differs from another version",
                "high" if share < 0.5 else "medium",
                f"{share:.1%} of the picture differs from {name}; the largest place is {width:.0%} "
                f"x {height:.0%} at ({x:.0%}, {y:.0%}) from the upper left, where brightness "
                f"differs by {level:.0f} of 255.",
                _WRONG,
            )
        )
    full = cv2.resize(difference, photo.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return VersionComparison(found, tuple(findings), full)


def with_version(inspection: Inspection, other: str, folder: Path | None, name: str) -> Inspection:
    """The inspection, compared with the file `other`; with a folder, the map of differences is
    written as FOLDER/NAME.difference.png.

    Raises:
        ImageError: one of the two cannot be decoded.
        OutputError: the map cannot be written.
    """
    photo, there = (read_brightness(path) for path in (inspection.path, other))
    found = compare_versions(photo, there, other)
    maps = dict(inspection.maps)
    if folder is not None and found.difference is not None:
        caption = (
            f"How far brightness differs from {other}, laid over the photo and with its tone "
            "fitted: white is 128 levels and more; black, too, where the other does not reach."
        )
        values = np.clip(found.difference * 2, 0, 255)
        maps["difference"] = write_map(folder, name, "difference", values, caption)
    versions = inspection.versions
    if found.registration is not None:
        versions += (version_of(other, found.registration),)
    findings = ranked([*inspection.findings, *found.findings])
    return replace(inspection, maps=maps, versions=versions, findings=findings)


def version_of(path: str, found: Registration) -> Version:
    """What the record says of another version."""
    first, second = found.matrix.tolist()
    return Version(
        path=path,
        matches=found.matches,
        scale=round(found.scale, 4),
        turned=round(found.turned, 2),
        mirrored=found.mirrored,
        box=found.box,
        matrix=(tuple(first), tuple(second)),
    )


def read_brightness(path: str) -> np.ndarray:
    """H x W uint8, upright.

    Raises:
        ImageError: it cannot be decoded.
    """
    return np.asarray(cv2.cvtColor(read_image(path).pixels, cv2.COLOR_RGB2GRAY))


def _matched(photo: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, int] | None:
    """(2 x 3 from photo to other, how many matches agree)."""
    points, described = _key_points(photo)
    points_there, described_there = _key_points(other)
    if min(len(points), len(points_there)) < _LEAST_MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(described, described_there, k=2)
    both = [pair for pair in pairs if len(pair) == 2]
    good = [one for one, following in both if one.distance < _RATIO * following.distance]
    if len(good) < _LEAST_MATCHES:
        return None
    here = points[[one.queryIdx for one in good]]
    there = points_there[[one.trainIdx for one in good]]
    reach = _REACH * max(1.0, max(other.shape) / _SIDE)
    matrix, agreed = cv2.estimateAffine2D(
        here, there, method=cv2.USAC_MAGSAC, ransacReprojThreshold=reach, maxIters=5000
    )
    if matrix is None or int(agreed.sum()) < _LEAST_MATCHES:
        return None
    stretch = np.linalg.svd(matrix[:, :2], compute_uv=False)
    if stretch[1] <= 0 or stretch[0] / stretch[1] > 2 or np.linalg.det(matrix[:, :2]) < 0:
        return None  # nothing that a program does to a photo
    return matrix, int(agreed.sum())


def _key_points(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n x 2 float32 places in full pixels, n x 128 float32)."""
    factor = min(1.0, _SIDE / max(image.shape))
    if factor < 1:
        size = tuple(round(side * factor) for side in image.shape[::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    points, described = cv2.SIFT.create(_KEY_POINTS).detectAndCompute(image, None)
    if described is None:
        return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32)
    places = np.array([point.pt for point in points], np.float32)
    return (places + 0.5) / np.float32(factor) - 0.5, described


def _laid_over(
    shape: tuple[int, ...], other: np.ndarray, found: Registration
) -> tuple[np.ndarray, np.ndarray]:
    """(the other version in the photo's frame, uint8 H x W that is 255 where it reaches)."""
    matrix = found.matrix.copy()
    if found.scale < 1:  # the other is larger: scaled down first, as the photo was
        size = tuple(max(1, round(side * found.scale)) for side in other.shape[::-1])
        steps = np.array([size[0] / other.shape[1], size[1] / other.shape[0]])
        other = cv2.resize(other, size, interpolation=cv2.INTER_AREA)
        matrix[:, 2] = (matrix[:, 2] + 0.5) * steps - 0.5
        matrix[:, :2] *= steps[:, None]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(other, matrix, shape[::-1], flags=flags)
    everywhere = np.full(other.shape, 255, np.uint8)
    covered = cv2.warpAffine(
        everywhere, matrix, shape[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return laid, covered


def _where(
    found: Registration,
    shape: tuple[int, ...],
    other_shape: tuple[int, ...],
    name: str,
    correlation: float,
) -> Finding:
    x, y, width, height = found.box
    share = width * height / (other_shape[0] * other_shape[1])
    done = []
    if share < 1 - _EXACT:
        done.append(f"cropped to {width} x {height} pixels at ({x}, {y}), {share:.0%} of it")
    if abs(found.scale - 1) > _EXACT:
        done.append(f"scaled by {found.scale:.3f}")
    if abs(found.turned) > 1:
        done.append(f"turned by {found.turned:.0f} degrees")
    if found.mirrored:
        done.append("mirrored")
    return Finding(
        "another version",
        "note",
        f"It shows what {name} shows ({found.matches} key points agree, correlation "
        f"{correlation:.2f}), {', '.join(done) if done else 'at the same size and place'}.",
        "Two photos of the same still scene can match as well.",
    )

"""From which photo of an archive another was made: perceptual hashes, then registration.

The hash is the usual one of low DCT frequencies (64 bits). Of each archive photo many windows are
hashed, so that crops are found; of the photo that is sought, its four turns and their mirror
images. What is close is then registered (versions.py), which alone decides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from fasa_cli.errors import ImageError
from fasa_cli.inspection.records import Finding, Inspection, ranked
from fasa_cli.inspection.versions import Registration, read_brightness, register, version_of
from fasa_cli.text import counted

_SIDE = 256  # pixels at which archive photos are hashed
_HASHED = 32  # pixels from which a hash is taken
_LOW = 8  # frequencies on each side
_CLOSE = 18  # of 64 bits; chance gives 32, and the closest of a photo's windows about 19
_CANDIDATES = 10
_SAME = "Two photos of the same still scene can match; which one came first, this does not say."
_MISSED = "Crops to less than half of a side, and strong changes of tone or geometry, are missed."
_SHARES = (1.0, 0.85, 0.7, 0.6, 0.5)  # of a window in its photo


@dataclass(frozen=True)
class ArchivePhoto:
    """`small` is its brightness at no more than 256 pixels a side, `ratio` width by height."""

    path: str
    small: np.ndarray
    ratio: float


@dataclass(frozen=True)
class Origin:
    """A photo of the archive that shows the same; `distance` is that of its hash, of 64 bits."""

    path: str
    distance: int
    registration: Registration


def read_archive(
    paths: Sequence[str], advance: Callable[[], None] = lambda: None
) -> tuple[list[ArchivePhoto], list[tuple[str, str]]]:
    """The photos of an archive, small; and what could not be read, with the reason."""
    photos: list[ArchivePhoto] = []
    failed: list[tuple[str, str]] = []
    for path in paths:
        try:
            brightness = read_brightness(path)
        except ImageError as error:
            failed.append((path, str(error).removeprefix(f"{path}: ")))
        else:
            ratio = brightness.shape[1] / brightness.shape[0]
            photos.append(ArchivePhoto(path, _small(brightness), ratio))
        advance()
    return photos, failed


def find_origins(photo: np.ndarray, archive: Sequence[ArchivePhoto]) -> list[Origin]:
    """The archive's photos that a photo (H x W uint8 brightness) was made from or shares its
    source with, the surest first."""
    hashes = np.stack([_hash(one) for one in _turns(photo)])
    ratio = photo.shape[1] / photo.shape[0]
    near = []
    for one in archive:
        windows = np.stack([_hash(window) for window in _windows(one.small, (ratio, 1 / ratio))])
        distance = int((hashes[:, None] != windows[None]).sum(axis=2).min())
        if distance <= _CLOSE:
            near.append((distance, one.path))
    origins = []
    for distance, path in sorted(near)[:_CANDIDATES]:
        found = register(photo, read_brightness(path))
        if found is not None:
            origins.append(Origin(path, distance, found))
    origins.sort(key=lambda origin: -origin.registration.matches)
    return origins


def with_origins(inspection: Inspection, archive: Sequence[ArchivePhoto]) -> Inspection:
    """The inspection, with the photos of an archive that show the same; its own file is none.

    Raises:
        ImageError: the photo cannot be decoded.
    """
    own = os.path.realpath(inspection.path)
    others = [one for one in archive if os.path.realpath(one.path) != own]
    origins = find_origins(read_brightness(inspection.path), others)
    if origins:
        named = ", ".join(
            f"{one.path} ({one.registration.matches} key points, "
            f"{one.registration.box[2]} x {one.registration.box[3]} at "
            f"({one.registration.box[0]}, {one.registration.box[1]}))"
            for one in origins[:5]
        )
        text = f"{counted(len(origins), 'photo')} of {len(others)} in the archive show the same: "
        finding = Finding("found in the archive", "note", f"{text}{named}.", _SAME)
    else:
        text = f"None of {counted(len(others), 'photo')} in the archive shows the same."
        finding = Finding("not found in the archive", "note", text, _MISSED)
    versions = tuple(version_of(one.path, one.registration) for one in origins)
    return replace(
        inspection,
        versions=inspection.versions + versions,
        findings=ranked([*inspection.findings, finding]),
    )


def _small(brightness: np.ndarray) -> np.ndarray:
    factor = min(1.0, _SIDE / max(brightness.shape))
    size = tuple(max(_HASHED, round(side * factor)) for side in brightness.shape[::-1])
    return cv2.resize(brightness, size, interpolation=cv2.INTER_AREA)


def _turns(photo: np.ndarray) -> Iterator[np.ndarray]:
    small = _small(photo)
    for one in (small, small[:, ::-1]):
        for quarter in range(4):
            yield np.ascontiguousarray(np.rot90(one, quarter))


def _windows(small: np.ndarray, ratios: tuple[float, float]) -> Iterator[np.ndarray]:
    """The whole, and windows of the shapes that are sought."""
    yield small
    height, width = small.shape
    for ratio in ratios if abs(ratios[0] / ratios[1] - 1) > 0.02 else ratios[:1]:
        largest = min(width, height * ratio)
        for share in _SHARES:
            wide, high = int(largest * share), int(largest * share / ratio)
            if min(wide, high) < _HASHED:
                continue
            step = max(2, int(0.08 * largest))
            for top in range(0, height - high + 1, step):
                for left in range(0, width - wide + 1, step):
                    yield small[top : top + high, left : left + wide]


def _hash(window: np.ndarray) -> np.ndarray:
    """64 bool."""
    scaled = cv2.resize(window, (_HASHED, _HASHED), interpolation=cv2.INTER_AREA)
    low = cv2.dct(scaled.astype(np.float32))[:_LOW, :_LOW].ravel()
    return np.asarray(low > np.median(low))

"""Smaller pictures within a file, against the picture itself: EXIF, Photoshop, MPF.

Programs that change a picture often leave its thumbnail; then that shows what was there before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from fasa_cli.imaging.limits import check_size, open_header
from fasa_cli.inspection.differences import (
    FLAT,
    brightness_correlation,
    brightness_difference,
    differing_place,
)
from fasa_cli.inspection.jpeg import segment_contents
from fasa_cli.inspection.metadata import FileMetadata
from fasa_cli.inspection.records import Finding, JpegStructure, Preview

_SIDE = 320  # pixels; both are compared at no more
_LEAST_SIDE = 32
_MOST_EMBEDDED = 50  # MPF images that are listed
_FITS = 0.9  # correlation from which one shows the other
_SHIFT = 0.01  # of the longer side, by which a preview may be shifted
_LOCAL = 35.0  # difference of brightness (0-255) that compression does not make in thumbnails
_ELSE = 0.75  # and below which it shows something else
_SAME_SHAPE = 0.03  # of aspect ratios
_BAR = 24.0  # brightness of the bars that cameras put around thumbnails, at most
_WRONG = (
    "Rescaled, brightened or framed pictures can differ from an old thumbnail with nothing added "
    "or removed; compare the two with your eyes."
)


@dataclass(frozen=True)
class Embedded:
    """A preview as it lies in the file; `is_other` where it may rightly show something else."""

    kind: str
    data: bytes
    is_other: bool = False


@dataclass(frozen=True)
class Comparison:
    """A preview, what was found, and `difference`: h x w float32 brightness differences (0-255)
    over the whole picture, None where they could not be laid over each other."""

    preview: Preview
    findings: tuple[Finding, ...] = ()
    difference: np.ndarray | None = None


def embedded_pictures(
    data: bytes, structure: JpegStructure | None, metadata: FileMetadata
) -> list[Embedded]:
    """The previews that the file holds, not decoded."""
    found = []
    if metadata.thumbnail:
        found.append(Embedded("EXIF thumbnail", metadata.thumbnail))
    if metadata.photoshop_thumbnail:
        found.append(Embedded("Photoshop thumbnail", metadata.photoshop_thumbnail))
    if structure is not None:
        found += _multi_picture(data, structure)
    return found


def picture_brightness(data: bytes, file_format: str, name: str) -> np.ndarray:
    """h x w uint8: the picture's brightness as stored, no side much above 320 pixels.

    Raises:
        Exception: it cannot be decoded; Pillow's plugins raise nearly anything.
    """
    image = open_header(data, file_format)
    check_size(image.size, name)
    if file_format == "JPEG":
        image.draft("L", (_SIDE, _SIDE))
    grey = image.convert("RGB").convert("L") if image.mode != "L" else image
    grey.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(grey)


def compare(embedded: Embedded, picture: np.ndarray | None) -> Comparison:
    """Lay one preview over the picture's brightness (None: list it without comparing).

    The four turns are tried, then a crop.
    """
    try:
        shown, size = _decoded(embedded.data)
    except Exception as error:  # Pillow's plugins raise nearly anything
        text = f"The {embedded.kind} of {len(embedded.data)} bytes cannot be decoded "
        finding = Finding(
            "unreadable preview",
            "low",
            f"{text}({' '.join(str(error).split())[:120] or type(error).__name__}).",
            "Damage and hostile files look alike here; the picture itself may be sound.",
        )
        return Comparison(Preview(embedded.kind, (0, 0), len(embedded.data)), (finding,))
    plain = Preview(embedded.kind, size, len(embedded.data))
    if picture is None or embedded.is_other or min(shown.shape) < 8 or min(picture.shape) < 8:
        return Comparison(plain)
    shown = _without_bars(shown, picture.shape[1] / picture.shape[0])
    return _compared(plain, shown, picture)


def _compared(plain: Preview, shown: np.ndarray, picture: np.ndarray) -> Comparison:
    best: tuple[float, float, int, np.ndarray] | None = None
    for quarter in range(4):
        turned = np.rot90(shown, -quarter)
        ratio = turned.shape[1] / turned.shape[0] * picture.shape[0] / picture.shape[1]
        if abs(math.log(ratio)) > math.log1p(_SAME_SHAPE) + 2 / min(turned.shape):
            continue
        scaled = cv2.resize(picture, turned.shape[::-1], interpolation=cv2.INTER_AREA)
        shift = max(1, round(_SHIFT * max(turned.shape)))
        difference = brightness_difference(turned, scaled, shift)
        found = (
            brightness_correlation(turned, scaled),
            -float(difference.mean()),
            -quarter,
            difference,
        )
        if best is None or found[:3] > best[:3]:
            best = found
        if found[0] >= _FITS:  # no other turn fits better
            break
    if best is not None and best[0] >= _ELSE:
        return _laid_over(plain, best)
    crop = _crop(shown, picture)
    if crop is not None:
        return _cropped(plain, *crop)
    correlation = None if best is None else round(best[0], 3)
    mean = None if best is None else round(-best[1], 2)
    numbers = (
        "" if best is None else f" (correlation {best[0]:.2f}, mean difference {-best[1]:.0f})"
    )
    finding = Finding(
        "preview shows something else",
        "high",
        f"The {plain.kind} of {plain.size[0]} x {plain.size[1]} pixels does not show what "
        f"the picture shows{numbers}.",
        _WRONG,
    )
    different = None if best is None else best[3]
    preview = replace(plain, difference=mean, correlation=correlation)
    return Comparison(preview, (finding,), different)


def _laid_over(plain: Preview, best: tuple[float, float, int, np.ndarray]) -> Comparison:
    correlation, mean, quarter, difference = best[0], -best[1], -best[2], best[3]
    preview = replace(
        plain, difference=round(mean, 2), correlation=round(correlation, 3), turned=90 * quarter
    )
    findings = []
    if quarter:
        findings.append(
            Finding(
                "preview turned",
                "low",
                f"The {plain.kind} fits the picture when it is turned by {90 * quarter} degrees: "
                "the picture was turned later.",
                "Turning changes nothing in what a photo shows.",
            )
        )
    if place := differing_place(difference, _LOCAL):
        x, y, width, height, share, level = place
        findings.append(
            Finding(
                "preview differs in places",
                "high" if correlation >= _FITS else "medium",
                f"The {plain.kind} shows something else on {share:.1%} of the picture, most of it "
                f"within {width:.0%} x {height:.0%} at ({x:.0%}, {y:.0%}) from the upper left: "
                f"brightness differs by {level:.0f} of 255 there.",
                _WRONG,
            )
        )
    return Comparison(preview, tuple(findings), difference)


def _cropped(
    plain: Preview, box: tuple[float, float, float, float], correlation: float
) -> Comparison:
    finding = Finding(
        "cropped since the preview",
        "medium",
        f"The picture shows only a part of its {plain.kind}: {box[2]:.0%} x {box[3]:.0%} at "
        f"({box[0]:.0%}, {box[1]:.0%}) from the upper left (correlation {correlation:.2f}). It was "
        "cropped after the preview was made.",
        "A crop can hide something, or frame a subject.",
    )
    rounded = (round(box[0], 3), round(box[1], 3), round(box[2], 3), round(box[3], 3))
    return Comparison(replace(plain, correlation=round(correlation, 3), crop=rounded), (finding,))


def _decoded(data: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    image = open_header(data, "JPEG")
    size = image.size
    check_size(size, "it")
    return picture_brightness(data, "JPEG", "it"), size


def _without_bars(shown: np.ndarray, ratio: float) -> np.ndarray:
    """The part of a preview that has the picture's shape, if black bars lie around that."""
    for wanted in (ratio, 1 / ratio):
        is_tall = shown.shape[1] / shown.shape[0] < wanted
        lines = shown if is_tall else shown.T  # bars lie above and below these
        inner = lines.shape[1] / wanted if is_tall else lines.shape[1] * wanted
        bar = round((lines.shape[0] - inner) / 2)
        if bar < 2 or lines.shape[0] - 2 * bar < 8:
            continue
        # Compression and rounding blur the edge by a line.
        outside = np.concatenate((lines[: bar - 1], lines[lines.shape[0] - bar + 1 :]))
        if outside.mean() < _BAR and outside.std() < _BAR:
            inside = lines[bar : lines.shape[0] - bar]
            return np.ascontiguousarray(inside if is_tall else inside.T)
    return shown


def _crop(
    shown: np.ndarray, picture: np.ndarray
) -> tuple[tuple[float, float, float, float], float] | None:
    """Which part of the preview the picture shows: ((x, y, width, height) as shares, correlation).

    The picture is sought in the preview at 40 sizes.
    """
    height, width = shown.shape
    if picture.std() < FLAT or shown.std() < FLAT:
        return None
    best: tuple[float, tuple[float, float, float, float]] | None = None
    largest = min(width / picture.shape[1], height / picture.shape[0])
    for share in np.geomspace(0.15, 1.0, 40):
        wide, high = (max(1, round(side * largest * share)) for side in picture.shape[::-1])
        if min(wide, high) < 16:
            continue
        wide, high = min(wide, width), min(high, height)
        part = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
        scores = cv2.matchTemplate(shown, part, cv2.TM_CCOEFF_NORMED)
        _, score, _, (x, y) = cv2.minMaxLoc(scores)
        if best is None or score > best[0]:
            best = float(score), (x / width, y / height, wide / width, high / height)
    return (best[1], best[0]) if best is not None and best[0] >= _FITS else None


# --- Multi-Picture Format -------------------------------------------------------------------


def _multi_picture(data: bytes, structure: JpegStructure) -> Iterator[Embedded]:
    """The further images of MPF (CIPA DC-007), which lie after the first one's end."""
    for segment in structure.segments:
        if segment.content != "MPF":
            continue
        start = segment.offset + 8  # of the MP header, from which places are counted
        for attribute, size, place in _entries(segment_contents(data, structure, "MPF")[0][4:]):
            picture = data[start + place : start + place + size]
            if place and picture[:2] == b"\xff\xd8":
                kind = attribute & 0xFFFFFF
                is_preview = kind in (0x010001, 0x010002)  # large thumbnails
                yield Embedded(
                    "MPF preview" if is_preview else "MPF image", picture, not is_preview
                )
        return


def _entries(header: bytes) -> list[tuple[int, int, int]]:
    """(attribute, bytes, place) of each image."""
    order = {b"II": "little", b"MM": "big"}.get(header[:2])
    if order is None:
        return []

    def number(place: int, length: int = 4) -> int:
        return int.from_bytes(header[place : place + length], order)  # type: ignore[arg-type]

    directory = number(4)
    for index in range(min(number(directory, 2), 20)):
        entry = directory + 2 + 12 * index
        if number(entry, 2) == 0xB002:
            first, count = number(entry + 8), min(number(entry + 4) // 16, _MOST_EMBEDDED)
            places = (first + 16 * n for n in range(count) if first + 16 * n + 16 <= len(header))
            return [(number(at), number(at + 4), number(at + 8)) for at in places]
    return []

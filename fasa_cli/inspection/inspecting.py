"""Single entry point from a file's bytes to its inspection; no model, and no torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fasa_cli.errors import ImageError
from fasa_cli.imaging.decode import declared_size
from fasa_cli.imaging.formats import HEAD_BYTES, sniff_format
from fasa_cli.imaging.limits import MAX_PIXELS
from fasa_cli.imaging.profiles import is_srgb
from fasa_cli.imaging.tiff import is_camera_raw
from fasa_cli.inspection.content_credentials import read_content_credentials
from fasa_cli.inspection.contradictions import find_contradictions
from fasa_cli.inspection.encoders import identify
from fasa_cli.inspection.jpeg import read_structure
from fasa_cli.inspection.maps import make_maps, write_map
from fasa_cli.inspection.metadata import FileMetadata, read_all
from fasa_cli.inspection.previews import (
    Comparison,
    compare,
    embedded_pictures,
    picture_brightness,
)
from fasa_cli.inspection.records import (
    SCHEMA_VERSION,
    Finding,
    Inspection,
    JpegCoding,
    JpegStructure,
    ranked,
)
from fasa_cli.text import counted

_LARGEST_FILE = 4 << 30  # bytes
_CODING = "Most programs and many phones use the same few encoders; a table proves no program."
_VIDEO_SUFFIXES = (".mov", ".MOV", ".mp4", ".MP4")


def inspect_file(path: str | os.PathLike[str], previews: bool = True) -> Inspection:
    """Read a file once and inspect those bytes; see `inspect_bytes`.

    Raises:
        ImageError: the file cannot be read, or is no image.
    """
    return inspect_bytes(_read(path), str(path), previews=previews)


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        size = os.path.getsize(path)
        if size > _LARGEST_FILE:
            raise ImageError(f"{path}: has more than 4 GiB; convert it first")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{path}: cannot be read ({reason}); check the path and rights") from error


def inspect_bytes(
    data: bytes,
    name: str,
    *,
    previews: bool = True,
    now: datetime | None = None,
    sha256: str | None = None,
) -> Inspection:
    """What a file says of its own history: container, coding, metadata, previews.

    `name` is the file's path, for messages and for the video of a live photo beside it. `previews`
    are compared with the picture, which must be decoded (small) for that; without them only
    headers are read. `now` is the time with which dates are compared. What is damaged ends in a
    finding.

    Raises:
        ImageError: the file is empty, or no image of a known format.
    """
    start = time.perf_counter()
    if not data:
        raise ImageError(f"{name}: the file is empty; get a fresh copy")
    file_format = sniff_format(data[:HEAD_BYTES])
    if file_format is None:
        raise ImageError(f"{name}: not an image of a known format")
    if file_format == "TIFF" and is_camera_raw(data):
        file_format = "camera RAW"
    structure = read_structure(data) if file_format == "JPEG" else None
    coding = None if structure is None else identify(structure)
    metadata = read_all(data, file_format, structure)
    size = structure.size if structure is not None else declared_size(data)
    comparisons = _compared(data, file_format, name, size, structure, metadata, previews)
    credentials, about_credentials = read_content_credentials(data, file_format)
    findings = [
        *about_credentials,
        *_about_size(size),
        *(_about_jpeg(data, structure, coding, metadata) if structure and coding else ()),
        *find_contradictions(metadata, size, structure, coding, now),
        *(finding for one in comparisons for finding in one.findings),
        *_about_companions(name, metadata),
        *_about_colour(metadata),
    ]
    return Inspection(
        schema_version=SCHEMA_VERSION,
        path=name,
        sha256=sha256 or hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        format=file_format,
        size=size,
        jpeg=structure,
        coding=coding,
        metadata=metadata.groups,
        previews=tuple(one.preview for one in comparisons),
        findings=ranked(findings),
        content_credentials=credentials,
        seconds=round(time.perf_counter() - start, 4),
    )


def with_maps(inspection: Inspection, folder: Path, name: str) -> Inspection:
    """The inspection with what its coefficients say, and maps written as FOLDER/NAME.KIND.png.

    Raises:
        ImageError: the picture cannot be decoded, or has changed meanwhile.
        OutputError: a map cannot be written.
    """
    data = _read(inspection.path)
    if hashlib.sha256(data).hexdigest() != inspection.sha256:
        raise ImageError(f"{inspection.path}: has changed meanwhile; inspect it again")
    made, findings = make_maps(data, inspection.path, inspection.jpeg)
    written = {
        one.kind: write_map(folder, name, one.kind, one.values * 255, one.caption) for one in made
    }
    return replace(
        inspection,
        maps={**inspection.maps, **written},
        findings=ranked([*inspection.findings, *findings]),
    )


def section(inspection: Inspection) -> dict[str, Any]:
    """An inspection as a part of a scan's record, in plain JSON values.

    What the record says itself, the clock, and the list of segments are left out.
    """
    values: dict[str, Any] = json.loads(json.dumps(asdict(inspection)))
    for key in ("path", "sha256", "bytes", "format", "size", "maps", "seconds", "status"):
        del values[key]
    if values["jpeg"] is not None:
        del values["jpeg"]["segments"]
    return values


def _compared(
    data: bytes,
    file_format: str,
    name: str,
    size: tuple[int, int],
    structure: JpegStructure | None,
    metadata: FileMetadata,
    previews: bool,
) -> list[Comparison]:
    embedded = embedded_pictures(data, structure, metadata)
    picture = None
    if previews and any(not one.is_other for one in embedded) and size[0] * size[1] <= MAX_PIXELS:
        try:
            picture = picture_brightness(data, file_format, name)
        except Exception:  # as above; a scan says what is wrong with the pixels
            picture = None
    return [compare(one, picture) for one in embedded]


# --- Findings -------------------------------------------------------------------------------


def _about_size(size: tuple[int, int]) -> Iterator[Finding]:
    if size[0] * size[1] > MAX_PIXELS:
        yield Finding(
            "too many pixels",
            "medium",
            f"The header declares {size[0]} x {size[1]} pixels, more than the limit of "
            f"{MAX_PIXELS}; they were not decoded.",
            "Panoramas can be that large; files made to exhaust memory are, too.",
        )


def _about_jpeg(
    data: bytes, structure: JpegStructure, coding: JpegCoding, metadata: FileMetadata
) -> Iterator[Finding]:
    yield from _about_ends(data, structure, metadata)
    yield from _about_coding(structure, coding)
    contents = [one.content for one in structure.segments]
    if "gain map" in contents or any(path.startswith("hdrgm:") for path in metadata.xmp):
        yield Finding(
            "gain map",
            "note",
            "The file holds a gain map for bright screens (HDR); its base picture was looked at.",
            "Phones write such files; the second picture was not analysed.",
        )
    if "JFIF" in contents and "EXIF" in contents:
        yield Finding(
            "JFIF and EXIF",
            "note",
            "The file has a JFIF header and EXIF. Most cameras write EXIF alone, programs both.",
            "Some phones write both themselves.",
        )


def _about_ends(data: bytes, structure: JpegStructure, metadata: FileMetadata) -> Iterator[Finding]:
    if not structure.is_complete:
        yield Finding(
            "no end of image",
            "medium",
            f"The file of {len(data)} bytes has no end-of-image marker after "
            f"{counted(structure.scans, 'scan')}: it was cut off, or written so.",
            "Transfers that broke off leave such files, and some panoramas have no end marker.",
        )
    if structure.restart_errors:
        yield Finding(
            "restart markers out of order",
            "medium",
            f"{structure.restart_errors} of {counted(structure.restart_markers, 'restart marker')} "
            "do not follow the one before: coded data were lost or put in.",
            "Damage does that as well.",
        )
    other = sum(len(one.data) for one in embedded_pictures(data, structure, FileMetadata()))
    trailing = structure.trailing_bytes
    if trailing <= other + 64 * (other > 0) or not trailing:
        return
    is_video = structure.trailing_kind == "a video (MP4)" or any(
        path.startswith("GCamera:M") for path in metadata.xmp
    )
    severity = "note" if is_video or structure.trailing_kind == "zeros" else "low"
    if structure.trailing_kind in ("a ZIP archive", "a RAR archive", "a 7z archive"):
        severity = "medium"
    what = "a motion photo's video" if is_video else structure.trailing_kind
    yield Finding(
        "bytes after the end",
        severity,
        f"{counted(trailing, 'byte')} follow the end of the image: {what}.",
        "Phones keep videos and depth maps there; they do not show when the picture is opened.",
    )


def _about_coding(structure: JpegStructure, coding: JpegCoding) -> Iterator[Finding]:
    if coding.quality is None:
        return
    if coding.is_exact:
        names = "; ".join(coding.consistent_with)
        text = f"Tables are exactly those of quality {coding.quality}, consistent with {names}."
    else:
        text = (
            f"Tables are not on a known scale; the nearest is {coding.scale}'s quality "
            f"{coding.quality}. Cameras and Adobe programs have tables of their own."
        )
    yield Finding("coding", "note", text, _CODING)
    for comment in structure.comments:
        said = re.search(r"quality\s*[=:]\s*(\d{1,3})", comment, re.IGNORECASE)
        if said and coding.is_exact and int(said[1]) != coding.quality:
            yield Finding(
                "comment disagrees",
                "low",
                f"A comment says quality {int(said[1])}, the tables are those of quality "
                f"{coding.quality}: another program saved the file again.",
                "The comment can have been kept from an earlier copy.",
            )


def _about_companions(name: str, metadata: FileMetadata) -> Iterator[Finding]:
    path = Path(name)
    for suffix in _VIDEO_SUFFIXES:
        try:
            is_there = path.suffix and path.with_suffix(suffix).is_file()
        except (OSError, ValueError):
            return
        if is_there:
            yield Finding(
                "live photo",
                "note",
                f"A video of the same name lies beside it ({path.with_suffix(suffix).name}), as "
                "with live photos; the still picture was looked at.",
                "Compare the two: the video shows the moments before and after.",
            )
            return


def _about_colour(metadata: FileMetadata) -> Iterator[Finding]:
    name = metadata.groups.get("icc", {}).get("profile", "")
    if name and not is_srgb(metadata.icc_profile):
        yield Finding(
            "colour profile",
            "note",
            f"Its colours are those of the profile {name!r}, not of sRGB.",
            "Cameras and phones write such files; fasa analyses the stored values unconverted.",
        )

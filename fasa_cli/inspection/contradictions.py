"""What a file's metadata say that does not fit together, or that names programs and generators.

Everything here can be invented, and all of it can be lost when a photo is shared; so findings say
what disagrees, not what is true.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from PIL import ExifTags

from fasa_cli.inspection.encoders import is_written_by_libjpeg
from fasa_cli.inspection.metadata import FileMetadata, text_of
from fasa_cli.inspection.records import Finding, JpegCoding, JpegStructure
from fasa_cli.text import counted

_EDITED = "It names the program that wrote the file last; what was changed, if anything, it does "
_EDITED += "not say, and the name can be invented."
_CLOCK = "Cameras' clocks are often wrong, and programs rewrite dates without touching a pixel."
_LARGEST_OFFSET = timedelta(hours=14, minutes=30)  # of any time zone from UTC, and a slow GPS
_ZONE_TOLERANCE = 4.0  # hours; no inhabited zone departs further from its meridian
_EDITORS = re.compile(
    r"photoshop|lightroom|gimp|snapseed|affinity|pixelmator|paint\.?net|picasa|acdsee|luminar|"
    r"acd systems|capture one|darktable|faceapp|facetune|meitu|picsart|canva|vsco|photoscape|"
    r"rawtherapee|polarr|photopea|fotor|topaz|remini|corel|paintshop|imagemagick|irfanview|xnview|"
    r"photodirector|beautyplus|airbrush|krita|inkscape|instagram",
    re.IGNORECASE,
)
_GENERATORS = re.compile(
    r"stable.?diffusion|midjourney|dall.?e\b|openai|novelai|comfyui|invokeai|firefly|imagen\b|"
    r"made with google ai|automatic1111|flux\.1|leonardo\.ai|ideogram|bing image creator|"
    r"gpt.?image|grok|adobe firefly|generative fill",
    re.IGNORECASE,
)
# Text chunks that the usual programs around diffusion models write into their PNG files.
_GENERATOR_CHUNKS = {
    "parameters": "Stable Diffusion web interfaces",
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "invokeai_graph": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "dream": "InvokeAI",
    "generation_data": "Stable Diffusion services",
    "fooocus_scheme": "Fooocus",
}
_SAMPLER = re.compile(r"\bSteps: \d+.*\bSampler: ", re.DOTALL)
# IPTC's digital source types -> (severity, meaning).
SOURCE_TYPES = {
    "trainedAlgorithmicMedia": ("high", "made by a generative model"),
    "compositeWithTrainedAlgorithmicMedia": ("high", "edited in part by a generative model"),
    "compositeSynthetic": ("high", "put together with synthetic parts"),
    "algorithmicMedia": ("medium", "made by an algorithm"),
    "algorithmicallyEnhanced": ("low", "enhanced by an algorithm"),
    "composite": ("medium", "put together from several pictures"),
    "compositeCapture": ("low", "put together from several captures"),
    "digitalCreation": ("low", "drawn with software"),
    "digitalArt": ("low", "drawn with software"),
    "virtualRecording": ("low", "recorded from a screen or a virtual scene"),
    "humanEdits": ("low", "edited by a person"),
    "minorHumanEdits": ("low", "edited by a person"),
}
_OPEN_MARK = "Such marks are easily removed or put in, so their absence shows nothing."


def find_contradictions(
    metadata: FileMetadata,
    size: tuple[int, int],
    structure: JpegStructure | None,
    coding: JpegCoding | None,
    now: datetime | None = None,
) -> list[Finding]:
    """All findings that metadata give; `size` is the picture's (width, height), unturned."""
    findings = [
        *_generators(metadata),
        *_editors(metadata),
        *_history(metadata.xmp),
        *_dates(metadata, now or datetime.now(timezone.utc)),
        *_time_zones(metadata),
        *_dimensions(metadata, size),
        *_camera_and_coding(metadata, structure, coding),
    ]
    for problem in metadata.problems:
        limits = "Damage and hostile files look alike here; the pixels may be sound."
        findings.append(Finding("unreadable metadata", "low", f"{_upper(problem)}.", limits))
    return findings


# --- Programs -------------------------------------------------------------------------------


def _programs(metadata: FileMetadata) -> dict[str, str]:
    """Where a program is named -> its name."""
    exif, xmp, text = metadata.exif, metadata.xmp, metadata.text
    places = {
        "EXIF Software": text_of(exif.get(ExifTags.Base.Software, "")),
        "EXIF ProcessingSoftware": text_of(exif.get(ExifTags.Base.ProcessingSoftware, "")),
        "XMP CreatorTool": xmp.get("xmp:CreatorTool", ""),
        "the Software text chunk": text.get("Software", "")[:200],
        "IPTC": metadata.groups.get("iptc", {}).get("originating program", ""),
        "XMP Credit": xmp.get("photoshop:Credit", ""),
        "EXIF ImageDescription": text_of(exif.get(ExifTags.Base.ImageDescription, "")),
        "EXIF Make": text_of(exif.get(ExifTags.Base.Make, "")),
    }
    return {place: name for place, name in places.items() if name}


def _editors(metadata: FileMetadata) -> Iterator[Finding]:
    named: dict[str, list[str]] = {}
    for place, name in _programs(metadata).items():
        if _EDITORS.search(name) and not _GENERATORS.search(name):
            named.setdefault(name, []).append(place)
    for name, places in named.items():
        text = f"{' and '.join(places)} name{'s' if len(places) == 1 else ''} {name}."
        yield Finding("editor named", "low", _upper(text), _EDITED)


def _generators(metadata: FileMetadata) -> Iterator[Finding]:
    for place, name in _programs(metadata).items():
        if _GENERATORS.search(name):
            yield _mark(f"{place} says {name!r}, as a generator of images does", "high")
    for keyword, text in metadata.text.items():
        program = _GENERATOR_CHUNKS.get(keyword.lower())
        if program and (_SAMPLER.search(text) or _is_json(text)):
            yield _mark(
                f"The text chunk {keyword!r} holds {len(text)} characters of settings for a "
                f"generator, as {program} write{'s' if ' ' not in program else ''}",
                "high",
            )
    comment = text_of(metadata.exif.get(ExifTags.Base.UserComment, ""))
    if _SAMPLER.search(comment):
        yield _mark("EXIF UserComment holds the settings of a diffusion model", "high")
    for path, value in metadata.xmp.items():
        if not path.endswith(("DigitalSourceType", "digitalSourceType", "DigitalSourcefileType")):
            continue
        kind = value.rstrip("/").rsplit("/", 1)[-1]
        if kind in SOURCE_TYPES:
            severity, meaning = SOURCE_TYPES[kind]
            yield _mark(f"XMP DigitalSourceType is {kind}: {meaning}", severity)


def _mark(text: str, severity: str) -> Finding:
    return Finding("generator's mark", severity, f"{text}.", _OPEN_MARK)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _history(xmp: Mapping[str, str]) -> Iterator[Finding]:
    actions = [value for path, value in xmp.items() if path.endswith("stEvt:action")]
    if actions:
        agents = {value for path, value in xmp.items() if path.endswith("stEvt:softwareAgent")}
        shown = f" by {', '.join(sorted(agents)[:5])}" if agents else ""
        counts = ", ".join(f"{actions.count(one)} x {one}" for one in dict.fromkeys(actions))
        yield Finding(
            "edit history",
            "low",
            f"XMP lists {counted(len(actions), 'step')} of its history{shown}: {counts[:200]}.",
            "Steps are listed by programs that keep such a list; others leave none, and a step "
            "may be no more than saving.",
        )
    ingredients = sum(path.endswith("stRef:documentID") and "Ingredients" in path for path in xmp)
    if ingredients:
        yield Finding(
            "parts of other documents",
            "medium",
            f"XMP names {counted(ingredients, 'other document')} of which parts were placed in it.",
            "A logo or a layer that was hidden again is listed too.",
        )


# --- Dates ----------------------------------------------------------------------------------


def _date(value: Any) -> datetime | None:
    """EXIF's and XMP's forms of a date and time, without its zone."""
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", text_of(value))
    if match is None:
        return None
    try:
        return datetime(*(int(part or 0) for part in match.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None


def _dates(metadata: FileMetadata, now: datetime) -> Iterator[Finding]:
    exif = metadata.exif
    taken = _date(exif.get(ExifTags.Base.DateTimeOriginal, ""))
    digitised = _date(exif.get(ExifTags.Base.DateTimeDigitized, ""))
    changed = _date(exif.get(ExifTags.Base.DateTime, ""))
    created = _date(metadata.xmp.get("xmp:CreateDate", ""))
    for name, other in (("last changed (DateTime)", changed), ("digitised", digitised)):
        if taken and other and other < taken - timedelta(minutes=1):
            yield Finding(
                "dates out of order",
                "medium",
                f"The photo was {name} at {other}, {_span(taken - other)} before it was taken at "
                f"{taken}.",
                _CLOCK,
            )
    if taken and changed and changed > taken + timedelta(minutes=1):
        yield Finding(
            "changed later",
            "note",
            f"The file was changed {_span(changed - taken)} after the photo was taken at {taken}.",
            "Copying to a computer or turning a photo can set that date.",
        )
    if taken and created and abs(created - taken) > timedelta(days=1):
        yield Finding(
            "dates disagree",
            "low",
            f"XMP says that it was created at {created}, EXIF that it was taken at {taken}: "
            f"{_span(abs(created - taken))} apart.",
            _CLOCK,
        )
    latest = max(filter(None, (taken, digitised, changed)), default=None)
    if latest and latest > now.replace(tzinfo=None) + timedelta(days=1):
        yield Finding(
            "date in the future",
            "medium",
            f"A date of the file, {latest}, lies {_span(latest - now.replace(tzinfo=None))} after "
            "today.",
            _CLOCK,
        )


def _span(difference: timedelta) -> str:
    seconds = int(difference.total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return counted(seconds // length, unit)
    return counted(seconds, "second")


def _offset(value: Any) -> timedelta | None:
    """ "+02:00" as EXIF has it."""
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", text_of(value))
    if match is None:
        return None
    span = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -span if match[1] == "-" else span


def _gps_time(gps: Mapping[int, Any]) -> datetime | None:
    """GPS's own date and time, which are UTC."""
    day = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)", text_of(gps.get(ExifTags.GPS.GPSDateStamp, "")))
    try:
        hours, minutes, seconds = (float(one) for one in gps[ExifTags.GPS.GPSTimeStamp])
        if day is None or not all(map(math.isfinite, (hours, minutes, seconds))):
            return None
        start = datetime(int(day[1]), int(day[2]), int(day[3]))
        return start + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None


def _longitude(gps: Mapping[int, Any]) -> float | None:
    try:
        degrees, minutes, seconds = (float(one) for one in gps[ExifTags.GPS.GPSLongitude])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value) or value > 180:
        return None
    west = text_of(gps.get(ExifTags.GPS.GPSLongitudeRef, "E")).upper() == "W"
    return -value if west else value


def _time_zones(metadata: FileMetadata) -> Iterator[Finding]:
    taken = _date(metadata.exif.get(ExifTags.Base.DateTimeOriginal, ""))
    stated = _offset(metadata.exif.get(ExifTags.Base.OffsetTimeOriginal, ""))
    utc, longitude = _gps_time(metadata.gps), _longitude(metadata.gps)
    measured = taken - utc if taken and utc else None
    limits = "Clocks that were not set for a journey, and positions kept from earlier, do so too."
    if measured is not None and abs(measured) > _LARGEST_OFFSET:
        yield Finding(
            "GPS time disagrees",
            "medium",
            f"GPS time is {utc} UTC, {_span(abs(measured))} away from the camera's {taken}; no "
            "time zone explains that.",
            limits,
        )
        return
    if measured is not None and stated is not None and abs(measured - stated) > timedelta(hours=1):
        yield Finding(
            "GPS time disagrees",
            "medium",
            f"The camera says that it was {_signed(stated)} from UTC, its GPS that it was "
            f"{_signed(measured)}.",
            limits,
        )
    offset = stated if stated is not None else measured
    if offset is None or longitude is None:
        return
    hours = offset.total_seconds() / 3600
    apart = abs((hours - longitude / 15 + 12) % 24 - 12)
    if apart > _ZONE_TOLERANCE:
        yield Finding(
            "GPS position disagrees",
            "medium",
            f"At longitude {longitude:.2f} the sun's time is {longitude / 15:+.1f} hours from UTC, "
            f"the photo's {hours:+.1f}: {apart:.1f} hours apart.",
            limits,
        )


def _signed(offset: timedelta) -> str:
    return f"{offset.total_seconds() / 3600:+.1f} hours"


# --- Picture and metadata -------------------------------------------------------------------


def _dimensions(metadata: FileMetadata, size: tuple[int, int]) -> Iterator[Finding]:
    stated = (
        metadata.exif.get(ExifTags.Base.ExifImageWidth),
        metadata.exif.get(ExifTags.Base.ExifImageHeight),
    )
    if not all(isinstance(side, int) and side > 0 for side in stated) or 0 in size:
        return
    if sorted(map(int, stated)) == sorted(size):  # type: ignore[arg-type]
        return
    wide, high = map(int, stated)  # type: ignore[arg-type]
    same_shape = math.isclose(
        max(wide, high) / min(wide, high), max(size) / min(size), rel_tol=0.01
    )
    done = "scaled" if same_shape else "cropped, or cropped and scaled,"
    yield Finding(
        "dimensions disagree",
        "medium",
        f"EXIF says {wide} x {high} pixels, the picture has {size[0]} x {size[1]}: it was {done} "
        "by a program that left EXIF as it was.",
        "Messengers and web sites scale photos; that alone changes nothing in what they show.",
    )


def _camera_and_coding(
    metadata: FileMetadata, structure: JpegStructure | None, coding: JpegCoding | None
) -> Iterator[Finding]:
    make = text_of(metadata.exif.get(ExifTags.Base.Make, ""))
    model = text_of(metadata.exif.get(ExifTags.Base.Model, ""))
    if not (make or model):
        return
    camera = model if model.lower().startswith(make.lower()[:4]) else f"{make} {model}".strip()
    if structure is None or coding is None:
        return
    if is_written_by_libjpeg(structure, coding):
        yield Finding(
            "saved by software",
            "low",
            f"EXIF names a {camera}, but JFIF header and tables are exactly those of "
            f"{coding.scale} at quality {coding.quality}, as programs write them.",
            "Many phones use that library themselves, and saving a photo again need not change "
            "what it shows.",
        )
    if structure.jfif is None and ExifTags.Base.MakerNote not in metadata.exif and metadata.exif:
        yield Finding(
            "no maker note",
            "note",
            f"EXIF names a {camera}, but has no maker note, which most cameras write.",
            "Some phones write none, and many programs drop it.",
        )


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]

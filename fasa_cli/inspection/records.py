"""Frozen records of an inspection: what `fasa inspect --json` writes, field by field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1
SEVERITIES = ("note", "low", "medium", "high")  # in rising order


@dataclass(frozen=True)
class Finding:
    """One thing that a file says of its history.

    `kind` is a short key for counting, `severity` one of `SEVERITIES`: `note` describes, `low`
    is common in untouched files too, `medium` is seldom there, `high` needs an explanation.
    `text` is a sentence with the numbers it rests on, `limits` one that says what it does not show.
    """

    kind: str
    severity: str
    text: str
    limits: str


@dataclass(frozen=True)
class Component:
    """A colour component of a JPEG: its `id`, sampling factors, and its quantisation table."""

    id: int
    horizontal: int
    vertical: int
    table: int


@dataclass(frozen=True)
class Segment:
    """A segment of a JPEG: `name` of its marker, what it holds, where it starts, its bytes."""

    name: str
    content: str
    offset: int
    length: int


@dataclass(frozen=True)
class JpegStructure:
    """How a JPEG file is put together.

    `coding` is baseline, extended, progressive, lossless or arithmetic; `sampling` is written as in
    "4:2:0"; `size` is (width, height) as coded. `tables` are quantisation tables by number, 64
    steps in zigzag order; `huffman` is standard (the example tables of the JPEG standard),
    optimised or mixed. `restart_interval` counts blocks (MCUs), `restart_markers` how many there
    are, `restart_errors` how many do not follow the one before. `adobe_transform` is APP14's,
    `jfif` its version. `trailing_bytes` follow the end of the image, `trailing_kind` says what they
    look like. `is_complete`: the end of the image was met. `segments` are the first 500.
    """

    coding: str
    size: tuple[int, int]
    precision: int
    sampling: str
    components: tuple[Component, ...]
    tables: dict[int, tuple[int, ...]]
    huffman: str
    scans: int
    restart_interval: int
    restart_markers: int
    restart_errors: int
    jfif: str | None
    density: tuple[int, int, int] | None
    adobe_transform: int | None
    comments: tuple[str, ...]
    segments: tuple[Segment, ...]
    segment_count: int
    trailing_bytes: int
    trailing_kind: str | None
    is_complete: bool


@dataclass(frozen=True)
class JpegCoding:
    """What the tables of a JPEG are consistent with.

    `quality` (1-100) is on `scale`: that of libjpeg, libjpeg 9 or mozjpeg, `is_exact` where every
    step is as it gives, else the nearest. `consistent_with` names encoders that write such files;
    that never proves which one did.
    """

    quality: int | None
    scale: str | None
    is_exact: bool
    consistent_with: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """A smaller picture within the file, against the picture itself.

    `kind` says where it is kept; `size` is (width, height). `difference` is the mean difference of
    brightness (0-255) after scaling, beyond what a shift by a pixel or two explains; `correlation`
    is that of brightness (-1 to 1); both are None where it was not compared. `turned` is the
    clockwise turn in degrees at which it fits, `crop` the part (x, y, width, height; 0-1) of the
    preview that the picture shows where it shows only a part.
    """

    kind: str
    size: tuple[int, int]
    bytes: int
    difference: float | None = None
    correlation: float | None = None
    turned: int = 0
    crop: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Version:
    """Another file that shows the same, and how: `matches` key points agree with `matrix` (2 x 3,
    by rows), which maps the photo's pixels to the other's, both upright. `scale` is the photo's
    pixels per pixel of the other, `turned` in clockwise degrees, `mirrored` left to right, `box`
    (x, y, width, height) what of the other the photo shows, in its pixels."""

    path: str
    matches: int
    scale: float
    turned: float
    mirrored: bool
    box: tuple[int, int, int, int]
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class Inspection:
    """One line of `fasa inspect --json`: what one file says of its own history.

    `size` is (width, height) as its header declares it, zeros where it cannot be read.
    `metadata` holds what was read by group (exif, gps, xmp, iptc, text, ...), values as text;
    `content_credentials` what its C2PA manifests say, None where it has none. `versions` are other
    files that it was compared with and shows the same as. `maps` gives per kind the `path` of a
    picture and its `caption`. `seconds` is wall clock time.
    """

    schema_version: int
    path: str
    sha256: str
    bytes: int
    format: str
    size: tuple[int, int]
    jpeg: JpegStructure | None
    coding: JpegCoding | None
    metadata: dict[str, dict[str, str]]
    previews: tuple[Preview, ...]
    findings: tuple[Finding, ...]
    content_credentials: dict[str, Any] | None = None
    versions: tuple[Version, ...] = ()
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float = 0.0
    status: str = "inspected"


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The most severe first."""
    return tuple(sorted(findings, key=lambda finding: -SEVERITIES.index(finding.severity)))

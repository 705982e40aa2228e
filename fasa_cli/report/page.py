"""A scan as one HTML file that opens anywhere: no network, no other file, no script from outside.

The page is `html/report.html` with its style and script inlined and the results as JSON. Its
content security policy names the script by hash, so nothing that a file name says can ever run.
Photos are small copies; the most suspicious come first, and what does not fit is counted.
"""

from __future__ import annotations

import base64
import heapq
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fasa_cli import __version__
from fasa_cli.errors import FasaError
from fasa_cli.files import utc_now, write_atomically, write_lines
from fasa_cli.imaging.encode import encode_webp
from fasa_cli.imaging.metadata import PhotoMetadata, read_metadata
from fasa_cli.imaging.rendering import heat_map
from fasa_cli.report.pictures import (
    LISTED_REGIONS,
    heat_map_colours,
    outlines_of,
    scaled_down,
    shown,
)
from fasa_cli.report.redaction import REDACTIONS, ShownText
from fasa_cli.report.shell import embedded_json, shell
from fasa_cli.results import CopyMovePair, Failure, Region, ScanRecord
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.saved_run import REPORT_FILE, SavedRun
from fasa_cli.scanning.sentences import (
    BandCounts,
    meaning,
    region_meaning,
    sorted_findings,
    unjudgeable_sentence,
)
from fasa_cli.text import one_in, printable

_PREVIEW_SIDE, _HEAT_SIDE, _THUMBNAIL_SIDE = 1280, 640, 320  # pixels of the longer side
_PREVIEW_QUALITY, _HEAT_QUALITY, _THUMBNAIL_QUALITY = 80, 60, 70  # of WebP
_PREVIEW_SHARE = 0.5  # of the bytes for pictures; the rest is for the thumbnails of many photos
MOST_ROWS = 20_000  # photos that are listed at all, pictures or not
_MOST_FAILURES = 2_000
_PREVIEW_OUTLINES, _THUMBNAIL_OUTLINES = 24_000, 3_000  # characters per photo
_THREADS = min(4, os.cpu_count() or 1)
_LARGE_PIXELS = 12_600_000
_CHUNK = 16  # photos in hand at once


@dataclass(frozen=True)
class ReportSummary:
    """What the report holds: `photos` and `failures` of the scan that are `listed`.

    `thumbnails` and `previews` of the photos have a small picture and a large one with its heat
    map; `unreadable` photos are no longer where they were scanned, or have changed. `bytes` is the
    file's size.
    """

    photos: int
    failures: int
    listed: int
    thumbnails: int
    previews: int
    unreadable: int
    bytes: int


def write_html_report(
    run_folder: Path,
    out: Path,
    *,
    redact: Iterable[str] = REDACTIONS,
    previews: int = 100,
    max_bytes: int = 40_000_000,
    advance: Callable[[], None] = lambda: None,
    about: Mapping[str, str] | None = None,
    originals_at: Path | None = None,
) -> ReportSummary:
    """Write the report of the scan in `run_folder` as the file `out`; the model does not run.

    `redact` leaves out `paths` (absolute ones, and user names in them) and `gps` (positions).
    At most `previews` photos get a large view; pictures stop before the file exceeds `max_bytes`.
    `advance` is called once per photo that is listed. `about` is what its head says of the case, by
    label ("Case", "Examiner", "Note"); what is empty is left out. Photos that were moved lie below
    `originals_at`.

    Raises:
        OutputError: the folder holds no scan, or `out` cannot be written.
    """
    run = SavedRun(run_folder, originals_at)
    page = _Page(run, frozenset(redact), previews, max_bytes, advance, about or {})
    write_lines(out, page.lines())
    place = json.dumps({"path": os.path.abspath(out)}) + "\n"
    write_atomically(run_folder / RUN_FOLDER / REPORT_FILE, place.encode("ascii"))
    return page.summary(out.stat().st_size)


class _Page:
    """One report in the making, and what it has counted so far."""

    def __init__(
        self,
        run: SavedRun,
        redact: frozenset[str],
        previews: int,
        max_bytes: int,
        advance: Callable[[], None],
        about: Mapping[str, str],
    ) -> None:
        self._run = run
        self._about = [[label, printable(text)] for label, text in about.items() if text]
        self._bands = BandCounts()
        self._same: Counter[str] = Counter()  # records of each file
        self._redact = redact
        self._shown = ShownText("paths" in redact, run)
        self._most_previews = previews
        self._max_bytes = max_bytes
        self._advance = advance
        self._bytes = 0
        self._preview_bytes = 0.0
        self._is_full = False
        self._one_large = threading.Lock()  # several at once would fill the memory
        self._photo_count = self._marked = self._failure_count = 0
        self._thumbnails = self._previews = self._unreadable = 0
        self._photos: list[dict[str, Any]] = []

    def lines(self) -> Iterator[str]:
        head, tail = shell(self._run.digest())
        yield head
        failures = list(islice(self._run.failures(), _MOST_FAILURES))
        self._failure_count = sum(1 for _ in self._run.failures())
        records = self._most_suspicious()
        self._same = Counter(record.sha256 for record in records)
        data: dict[str, Any] = {
            "made": _now(),
            "version": __version__,
            "redacted": sorted(self._redact),
            "about": self._about,
            "calibration": self._calibration(),
            "bands": self._bands.rows(),
            "threshold": self._run.threshold,
            "status": str(self._run.description.get("status")),
            "remaining": (self._run.description.get("counts") or {}).get("remaining", 0),
            "run": self._provenance(),
            "failures": [self._failure(failure) for failure in failures],
            "gradient": heat_map_colours(),
        }
        self._bytes = len(head) + len(tail) + len(embedded_json(data)) + 1000
        self._bytes += sum(map(_row_bytes, records))
        self._preview_bytes = self._bytes + _PREVIEW_SHARE * (self._max_bytes - self._bytes)
        with ThreadPoolExecutor(_THREADS) as pool:
            waiting = iter(records)
            while chunk := list(islice(waiting, _CHUNK)):
                wanted = [self._wanted(offset) for offset in range(len(chunk))]
                for prepared in pool.map(self._prepare, chunk, wanted):
                    yield from self._placed(prepared)
                    self._advance()
        data["photos"] = self._photos
        data["counts"] = {
            "photos": self._photo_count,
            "marked": self._marked,
            "failures": self._failure_count,
            "skipped": Counter(skipped.kind for skipped in self._run.skipped()),
            "unlisted": self._photo_count - len(records),
            "unlisted_failures": self._failure_count - len(failures),
            "thumbnails": self._thumbnails,
            "previews": self._previews,
            "unreadable": self._unreadable,
        }
        yield f'<script type="application/json" id="data">{embedded_json(data)}</script>\n'
        yield tail

    def summary(self, size: int) -> ReportSummary:
        return ReportSummary(
            photos=self._photo_count,
            failures=self._failure_count,
            listed=len(self._photos),
            thumbnails=self._thumbnails,
            previews=self._previews,
            unreadable=self._unreadable,
            bytes=size,
        )

    def _most_suspicious(self) -> list[ScanRecord]:
        """The records to look at first, in that order (`ScanRecord.rank`)."""

        def counted() -> Iterator[tuple[tuple[float, ...], int, ScanRecord]]:
            for number, record in enumerate(self._run.records()):
                self._photo_count += 1
                self._marked += record.region_count > 0
                self._bands.add(record)
                yield record.rank, -number, record

        return [ranked[-1] for ranked in heapq.nlargest(MOST_ROWS, counted(), lambda r: r[:2])]

    def _calibration(self) -> str:
        """What the meaning of scores rests on, in a sentence."""
        about = self._run.description.get("calibration")
        if not about:
            return "This scan had no calibration: what its scores mean is not known."
        untouched, manipulated = about.get("untouched"), about.get("manipulated")
        return (
            f"Rates and ratios come from {untouched} untouched and {manipulated} manipulated "
            f"photos, measured on {_time(str(about.get('made')))}."
        )

    # --- Pictures ---

    def _wanted(self, offset: int) -> str:
        """What the photo at this place gets: a `preview` and a thumbnail, a `thumbnail`, nothing.

        Whether it still fits is seen when it is there; after the first that does not, none is made.
        """
        if self._is_full:
            return "nothing"
        fits = self._bytes < self._preview_bytes
        return "preview" if fits and self._previews + offset < self._most_previews else "thumbnail"

    def _prepare(self, record: ScanRecord, wanted: str) -> _Prepared:
        width, height = record.display_size
        with self._one_large if width * height > _LARGE_PIXELS else nullcontext():
            return self._with_pictures(record, wanted)

    def _with_pictures(self, record: ScanRecord, wanted: str) -> _Prepared:
        try:
            if wanted == "nothing":
                return _Prepared(record)
            photo, data = self._run.read_photo(record)
        except FasaError as error:
            return _Prepared(record, problem=str(error))
        metadata = read_metadata(data)
        thumbnail = encode_webp(shown(photo, _THUMBNAIL_SIDE), _THUMBNAIL_QUALITY)
        if wanted == "thumbnail":
            outlines = outlines_of(record, _THUMBNAIL_SIDE, _THUMBNAIL_OUTLINES)
            return _Prepared(record, metadata, outlines, thumbnail)
        outlines = outlines_of(record, _PREVIEW_SIDE, _PREVIEW_OUTLINES)
        preview = encode_webp(shown(photo, _PREVIEW_SIDE), _PREVIEW_QUALITY)
        try:
            heat, problem = self._heat(record), None
        except FasaError as error:
            heat, problem = None, str(error)
        return _Prepared(record, metadata, outlines, thumbnail, preview, heat, problem)

    def _heat(self, record: ScanRecord) -> bytes | None:
        """The heat map as a picture whose opacity is the probability."""
        probabilities = self._run.read_probabilities(record)
        if probabilities is None:
            return None
        small = np.clip(scaled_down(probabilities, _HEAT_SIDE), 0, 1)
        opacity = np.rint(small * 255).astype(np.uint8)
        return encode_webp(np.dstack((heat_map(small), opacity)), _HEAT_QUALITY)

    def _placed(self, prepared: _Prepared) -> Iterator[str]:
        """The pictures of a photo as far as they fit, and its row."""
        number = len(self._photos)
        row = self._row(prepared)
        self._bytes += len(embedded_json(row)) - _row_bytes(prepared.record)
        pictures = {"t": prepared.thumbnail, "p": prepared.preview, "h": prepared.heat}
        more = sum(map(len, prepared.outlines)) + 3 * len(prepared.outlines)
        for kind, picture in pictures.items():
            block = self._fits(f"{kind}{number}", picture, more) if picture else ""
            if not block:  # the larger ones make no sense without the smaller
                break
            yield block
            row["pictures"] += kind
            row["outlines"], more = prepared.outlines, 0
        self._is_full |= prepared.thumbnail is not None and not row["pictures"]
        self._thumbnails += "t" in row["pictures"]
        self._previews += "p" in row["pictures"]
        self._unreadable += prepared.thumbnail is None and prepared.problem is not None
        self._photos.append(row)

    def _fits(self, name: str, picture: bytes, more: int) -> str:
        """The element that holds a picture, or nothing when it and `more` bytes are too much."""
        text = base64.b64encode(picture).decode("ascii")
        block = f'<script type="text/plain" id="{name}">{text}</script>\n'
        if self._bytes + len(block) + more > self._max_bytes:
            return ""
        self._bytes += len(block) + more
        return block

    # --- Words ---

    def _row(self, prepared: _Prepared) -> dict[str, Any]:
        record, metadata = prepared.record, prepared.metadata
        return {
            "name": printable(record.name),
            "path": self._shown.path(record.path, record.name),
            "score": record.score_max,
            "same": self._same[record.sha256],
            "band": record.band or "",
            "rate": record.false_alarm_rate,
            "one_in": "" if record.false_alarm_rate is None else one_in(record.false_alarm_rate),
            "meaning": [*meaning(record), *filter(None, [unjudgeable_sentence(record)])],
            "score_network": record.score_network,
            "score_copy_move": record.score_copy_move,
            "lowered": record.lowered_fraction,
            "damaged": record.damaged,
            "damaged_share": round(record.damaged_fraction, 6),
            "damaged_marked": record.damaged_marked,
            "area": record.area_fraction,
            "regions": [_region(region) for region in record.regions[:LISTED_REGIONS]],
            "region_count": record.region_count,
            "outlines": [],
            "copies": [_copy(copy) for copy in record.copy_move],
            "pictures": "",
            "format": record.format,
            "bytes": record.bytes,
            "sha256": record.sha256,
            "size": record.display_size,
            "orientation": record.orientation,
            "effective_size": record.effective_size,
            "read": prepared.thumbnail is not None,
            "camera": printable(metadata.camera or ""),
            "software": printable(metadata.software or ""),
            "taken": printable(metadata.taken or ""),
            "quality": metadata.jpeg_quality,
            "quality_exact": metadata.standard_tables,
            "position": self._position(metadata),
            "warnings": [self._shown.text(text) for text in record.warnings],
            "findings": [
                self._finding(one) for one in (record.inspection or {}).get("findings", ())
            ],
            "problem": self._shown.text(prepared.problem, record) if prepared.problem else "",
        }

    def _finding(self, finding: dict[str, Any]) -> dict[str, str]:
        """What a file says of its history; positions are left out where they are to be."""
        text = str(finding.get("text", ""))
        if "gps" in self._redact and str(finding.get("kind", "")).startswith("GPS"):
            text = "Time or position of GPS disagree with the camera's; left out here."
        return {
            "severity": printable(str(finding.get("severity", ""))),
            "text": self._shown.text(text),
            "limits": self._shown.text(str(finding.get("limits", ""))),
        }

    def _position(self, metadata: PhotoMetadata) -> str:
        if metadata.position is None:
            return ""
        if "gps" in self._redact:
            return "in the file, left out here"
        latitude, longitude = metadata.position
        return f"{latitude:.6f}, {longitude:.6f}"

    def _failure(self, failure: Failure) -> dict[str, str]:
        return {
            "name": self._shown.path(failure.path, os.path.basename(failure.path)),
            "kind": printable(failure.kind),
            "reason": self._shown.text(failure.reason, failure),
            "stage": printable(failure.stage),
        }

    def _provenance(self) -> list[list[str]]:
        """(label, value) pairs of what `run.json` says."""
        run = self._run.description
        weights, model = run.get("weights") or {}, run.get("config", {}).get("model") or {}
        libraries = run.get("libraries") or {}
        counts = run.get("counts") or {}
        started, ended = str(run.get("started") or ""), str(run.get("ended") or "")
        pairs = [
            ("Command", self._shown.command(run.get("argv") or [])),
            ("Folder", self._shown.path(str(run.get("folder") or ""), "left out")),
            ("Status", str(run.get("status") or "")),
            ("Started", _time(started)),
            ("Ended", _time(ended)),
            ("Time", f"{counts['seconds']} s" if "seconds" in counts else ""),
            ("Tool", f"fasa {run.get('version')}"),
            ("Weights", self._weights_name(weights)),
            ("Weights SHA-256", str(weights.get("sha256") or "")),
            ("Model", f"{model.get('preset')}, variant {model.get('variant')}"),
            ("Threshold", f"{self._run.threshold:g}"),
            ("Calibration SHA-256", str((run.get("calibration") or {}).get("sha256") or "")),
            ("Settings SHA-256", str(run.get("config_sha256") or "")),
            ("Device", str(run.get("device") or "")),
            ("Python", str(run.get("python") or "")),
            ("System", str(run.get("platform") or "")),
            ("Libraries", ", ".join(f"{name} {libraries[name]}" for name in sorted(libraries))),
        ]
        return [[label, printable(value)] for label, value in pairs if value]

    def _weights_name(self, weights: dict[str, Any]) -> str:
        path = str(weights.get("path") or "")
        name = self._shown.path(path, re.split(r"[/\\]", path)[-1]) if path else "without a file"
        return f"{name} ({weights.get('parameters') or 0:,} parameters)"


@dataclass(frozen=True)
class _Prepared:
    """A record with its outlines and WebP pictures, as many as were wanted and could be had."""

    record: ScanRecord
    metadata: PhotoMetadata = field(default_factory=PhotoMetadata)
    outlines: Sequence[str] = ()
    thumbnail: bytes | None = None
    preview: bytes | None = None
    heat: bytes | None = None
    problem: str | None = None


def _row_bytes(record: ScanRecord) -> int:
    """About what a record takes as JSON."""
    findings = sum(len(region.findings) for region in record.regions[:LISTED_REGIONS])
    regions = 150 * min(len(record.regions), LISTED_REGIONS)
    return 1500 + 2 * len(record.path) + regions + 180 * findings


def _region(region: Region) -> dict[str, Any]:
    return {
        "box": region.box,
        "area": region.area,
        "mean": region.mean_score,
        "peak": region.peak_score,
        "meaning": region_meaning(region),
        "findings": [[speaks, printable(one.text)] for speaks, one in sorted_findings(region)],
    }


def _copy(copy: CopyMovePair) -> dict[str, Any]:
    return {"boxes": copy.boxes, "matches": copy.matches, "probability": copy.probability}


def _now() -> str:
    return _time(utc_now())


def _time(text: str) -> str:
    """2025-11-25T01:02:03+00:00 -> 25 November 2025, 01:02 UTC; other text as it is."""
    try:
        when = datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError:
        return text
    return f"{when.day} {when:%B %Y, %H:%M} UTC"

"""Custody of a scan: is everything still what it was, would it come out again, and as one file.

Nothing in a scan's folder is taken on trust: every claim is checked against bytes, and what was
not checked is not claimed.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import numpy as np

from fasa_cli.discovery import RUN_FOLDER
from fasa_cli.errors import CheckpointError, ImageError, OutputError
from fasa_cli.images import renamed_when_done
from fasa_cli.reporting import SCHEMA_VERSION
from fasa_cli.results import ScanRecord
from fasa_cli.saved_run import SavedRun

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor

_PIECE = 1 << 20  # bytes that are hashed or copied at a time
_RUN_FILES = ("run.json", "results.jsonl", "results.csv", "errors.jsonl", "skipped.jsonl")
REPORT = "report.html"  # looked for in a scan's folder when a bundle is made


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was: which, and how (`missing`, `changed`, `unreadable` ...)."""

    check: str
    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was checked, how many of each, and what was found wrong."""

    checked: dict[str, int]
    findings: tuple[Finding, ...]

    def bad(self, check: str) -> int:
        """How many findings one check has."""
        return sum(finding.check == check for finding in self.findings)


def verify(
    run: SavedRun,
    weights: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Hash a scan's inputs, outputs and weights again, and its records by the run's digest.

    `weights` is where the weights file lies, by default where the scan found it. `advance` is
    called once per record.

    Raises:
        OutputError: the scan's own records are missing or damaged.
    """
    checked = {"inputs": 0, "outputs": 0, "weights": 1, "records": 1}
    findings = [*_check_records(run), *_check_weights(run, weights)]
    for record in run.records():
        checked["inputs"] += 1
        findings += _compare("inputs", record.path, run.photo_path(record), record.sha256)
        for kind in record.outputs:
            checked["outputs"] += 1
            expected = record.outputs_sha256.get(kind, "")
            try:
                path = run.output_path(record, kind)
            except ImageError as error:
                findings.append(Finding("outputs", record.outputs[kind], "outside", str(error)))
            else:
                findings += _compare("outputs", record.outputs[kind], path, expected)
        advance()
    return Verification(checked, tuple(findings))


def _check_records(run: SavedRun) -> Iterator[Finding]:
    name = f"{RUN_FOLDER}/run.json"
    status = run.description.get("status")
    if status != "complete":
        reason = f"the scan is {status}; run its command again to resume"
        yield Finding("records", name, "unfinished", reason)
    elif problem := run.broken_chain():
        yield Finding("records", f"{RUN_FOLDER}/results.jsonl", "changed", problem)
    elif run.digest() != run.description.get("digest"):
        reason = "the records do not give the digest that the scan ended with"
        yield Finding("records", name, "changed", reason)


def _check_weights(run: SavedRun, weights: Path | None) -> Iterator[Finding]:
    path = weights or run.weights_path
    if path is None:
        yield Finding("weights", "", "missing", "the scan does not say where they lay")
    else:
        yield from _compare("weights", str(path), path, run.weights_sha256)


def _compare(check: str, shown: str, path: Path, expected: str) -> Iterator[Finding]:
    try:
        if not path.is_file():  # neither a FIFO nor a device is ever opened
            yield Finding(check, shown, "missing", "no such file")
        elif (found := _sha256(path)) != expected:
            reason = f"sha256 is {found[:12]}..., was {expected[:12]}..."
            yield Finding(check, shown, "changed", reason)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Finding(check, shown, "unreadable", reason)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


# --- Once more ------------------------------------------------------------------------------


def rerun(
    run: SavedRun,
    predictor: Predictor,
    count: int,
    tolerance: float,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Analyse `count` photos of a scan again, spread evenly over it, and compare.

    Scores, and probabilities where the scan kept them, must agree within `tolerance`. A pixel of
    the mask may differ only where its probability lies within `tolerance` of the threshold.

    Raises:
        CheckpointError: the predictor has other weights than the scan.
        OutputError: the scan's records are damaged.
    """
    if predictor.weights.sha256 != run.weights_sha256:
        raise CheckpointError(
            f"{predictor.weights.path}: other weights than the scan's (sha256 "
            f"{run.weights_sha256[:12]}...); name those with --weights"
        )
    total = run.count_records()
    chosen = {index * total // count for index in range(count)} if count < total else range(total)
    findings = []
    for index, record in enumerate(run.records()):
        if index not in chosen:
            continue
        try:
            reason = _difference(run, predictor, record, tolerance)
        except ImageError as error:
            findings.append(Finding("rerun", record.path, "unreadable", str(error)))
        else:
            if reason:
                findings.append(Finding("rerun", record.path, "different", reason))
        advance()
    return Verification({"rerun": len(chosen)}, tuple(findings))


def _difference(
    run: SavedRun, predictor: Predictor, record: ScanRecord, tolerance: float
) -> str | None:
    photo, _ = run.read_photo(record)
    prediction = predictor.predict(photo.pixels)
    if abs(prediction.score - record.score_max) > tolerance:
        return f"score {prediction.score:.6f}, was {record.score_max:.6f}"
    unsure = np.abs(prediction.probabilities - run.threshold) <= tolerance
    moved = int(((prediction.mask(run.threshold) != run.read_mask(record)) & ~unsure).sum())
    if moved:
        return f"{moved} pixels of the mask differ"
    stored = run.read_probabilities(record)
    if stored is not None:
        apart = float(np.abs(prediction.probabilities - stored).max())
        if apart > tolerance + 1 / 65535:  # the file's own rounding
            return f"probabilities differ by up to {apart:.6f}"
    return None


# --- One file -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bundle:
    """What was packed: files, originals among them, and the zip's size and sha256."""

    files: int
    originals: int
    bytes: int
    sha256: str


def bundle(
    run: SavedRun, target: Path, report: Path | None = None, originals: bool = False
) -> Bundle:
    """Pack a scan as one evidence zip: records, outputs, manifest, SHA256SUMS; `report` if given.

    The same scan gives the same bytes: names in order, no clock, nothing compressed (pictures are
    already, and compressors differ). Names are made safe for any disk: what is not printable, `%`
    and what Windows forbids is written as %XX; the manifest has every name as it was. `originals`
    adds the photos themselves.

    Raises:
        OutputError: the zip cannot be written, or a file is not what the scan recorded.
    """
    with renamed_when_done(target) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            files, count = _pack(run, archive, report, originals)
        size, sha256 = temporary.stat().st_size, _sha256(temporary)
    return Bundle(files, count, size, sha256)


def _pack(
    run: SavedRun, archive: zipfile.ZipFile, report: Path | None, originals: bool
) -> tuple[int, int]:
    sums: dict[str, str] = {}
    photos = []
    for record in run.records():
        entry: dict[str, Any] = {
            "path": record.path,
            "name": record.name,
            "sha256": record.sha256,
            "bytes": record.bytes,
            "outputs": {},
        }
        for kind, name in sorted(record.outputs.items()):
            path = _inside_path(run, record, kind)
            inside = f"outputs/{_safe(name)}"
            sums[inside] = _add(archive, inside, path, record.outputs_sha256.get(kind))
            entry["outputs"][kind] = inside
        if originals:
            inside = f"originals/{_safe(record.name)}"
            sums[inside] = _add(archive, inside, run.photo_path(record), record.sha256)
            entry["original"] = inside
        photos.append(entry)
    for name in _RUN_FILES:
        sums[f"records/{name}"] = _add(archive, f"records/{name}", run.out / RUN_FOLDER / name)
    if report:
        sums[REPORT] = _add(archive, REPORT, report)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "digest": run.description.get("digest"),
        "status": run.description.get("status"),
        "version": run.description.get("version"),
        "weights_sha256": run.weights_sha256,
        "counts": run.description.get("counts"),
        "originals": originals,
        "photos": photos,
    }
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    sums["manifest.json"] = _add_text(archive, "manifest.json", text)
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    _add_text(archive, "SHA256SUMS", "".join(lines))
    return len(sums) + 1, len(photos) if originals else 0


def _inside_path(run: SavedRun, record: ScanRecord, kind: str) -> Path:
    try:
        return run.output_path(record, kind)
    except ImageError as error:
        raise OutputError(str(error)) from error


def _add(archive: zipfile.ZipFile, name: str, path: Path, expected: str | None = None) -> str:
    """Copy a file into the zip and hash what is copied; it must have the `expected` hash."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            raise OutputError(f"{path}: is gone; fasa verify says what else is")
        source = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be read ({reason})") from error
    with source, _entry(archive, name) as entry:
        while piece := source.read(_PIECE):
            digest.update(piece)
            entry.write(piece)
    if expected is not None and digest.hexdigest() != expected:
        raise OutputError(f"{path}: is not what the scan recorded; fasa verify says what else")
    return digest.hexdigest()


def _add_text(archive: zipfile.ZipFile, name: str, text: str) -> str:
    data = text.encode("utf-8")
    with _entry(archive, name) as entry:
        entry.write(data)
    return hashlib.sha256(data).hexdigest()


def _entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """An entry to write to, without date, owner or the system that wrote it."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system = 3  # Unix, wherever it is made: it says how to read the next
    info.external_attr = 0o100644 << 16
    return archive.open(info, "w", force_zip64=True)


def _safe(name: str) -> str:
    """A name that any disk can hold and that leads nowhere else; different ones stay different."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise OutputError(f"{name}: no name for a file in a bundle; scan again")
    return "/".join("".join(map(_safe_character, part)) for part in parts)


def _safe_character(character: str) -> str:
    if character.isprintable() and character not in '%\\:*?"<>|':
        return character
    encoded = quote_from_bytes(character.encode("utf-8", "surrogateescape"), safe="")
    return encoded if encoded != character else f"%{ord(character):02X}"

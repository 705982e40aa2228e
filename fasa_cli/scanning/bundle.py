"""Bundles: a scan as one evidence zip or BagIt bag, and its check, packed or unpacked.

manifest.json        every photo's name as it was, and which files are about it
records/             the scan's own records, and their signature if there is one
outputs/             masks, maps and overlays
originals/           the photos, when asked for
report.html          a report of this very scan, if there is one
SHA256SUMS           of all of these; `sha256sum -c` checks it
SHA256SUMS.sig       an Ed25519 signature of it, when asked for
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import quote_from_bytes

from fasa_cli import __version__
from fasa_cli.errors import ConfigError, ImageError, OutputError
from fasa_cli.files import PIECE, renamed_when_done, sha256_of
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.records import SCHEMA_VERSION
from fasa_cli.scanning.saved_run import REPORT_FILE, SavedRun
from fasa_cli.scanning.signing import SUFFIX

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
    )

RUN_FILES = ("run.json", "results.jsonl", "results.csv", "errors.jsonl", "skipped.jsonl")
SIGNATURE = f"run.json{SUFFIX}"
REPORT = "report.html"  # looked for in a scan's folder when a bundle is made
SUMS, MANIFEST = "SHA256SUMS", "manifest.json"
DIGEST_META = re.compile(rb'<meta name="fasa-digest" content="([0-9a-f]{64})">')


@dataclass(frozen=True)
class Bundle:
    """What was packed: files, originals among them, and the zip's or bag's size in bytes.

    `sha256` is the zip's; a bag is a folder and has none.
    """

    files: int
    originals: int
    bytes: int
    sha256: str | None


def bundle(
    run: SavedRun,
    target: Path,
    *,
    report: Path | None = None,
    originals: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> Bundle:
    """Pack a scan as one evidence zip; see the module for what is in it.

    The same scan gives the same bytes: names in order, no clock, nothing compressed (pictures are
    already, and compressors differ). Names are made safe for any disk: what is not printable, `%`
    and what Windows forbids is written as %XX; the manifest has every name as it was. `originals`
    adds the photos themselves; `key` signs the sums.

    Raises:
        OutputError: the zip cannot be written, a file is not what the scan recorded, or the report
            is another scan's.
    """
    with renamed_when_done(target) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            files, count = _pack(run, _Zip(archive), report, originals, key)
        size, sha256 = temporary.stat().st_size, sha256_of(temporary)
    return Bundle(files, count, size, sha256)


def bag(
    run: SavedRun,
    target: Path,
    *,
    report: Path | None = None,
    originals: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> Bundle:
    """Lay a bundle into the folder `target` as a BagIt bag (RFC 8493), which archives can validate.

    The bundle is the bag's payload. In its names `=` stands where a zip has `%`, which BagIt's own
    lists of files use.

    Raises:
        ConfigError: the library bagit is missing.
        OutputError: as for `bundle`, or `target` exists.
    """
    try:
        import bagit
    except ModuleNotFoundError as error:
        raise ConfigError("--bagit needs the library bagit; install fasa-cli[bagit]") from error
    if target.exists():
        raise OutputError(f"{target}: exists; name another --out")
    with renamed_when_done(target) as temporary:
        temporary.mkdir()
        try:
            files, count = _pack(run, _Folder(temporary), report, originals, key)
            information = {
                "Bagging-Date": str(run.description.get("ended") or "")[:10],
                "Bag-Software-Agent": f"fasa {__version__}",
                "External-Identifier": str(run.description.get("digest")),
                "External-Description": f"fasa scan of {run.description.get('started')}",
            }
            bagit.make_bag(str(temporary), information, checksums=["sha256"])
            size = sum(map(_on_disk, (path for path in temporary.rglob("*") if path.is_file())))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return Bundle(files, count, size, None)


def _on_disk(path: Path) -> int:
    """See that a file's bytes lie on the disk; how many they are."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def report_of(run: SavedRun) -> Path | None:
    """The report that lies in a scan's folder, else the one that was last written of it.

    Raises:
        OutputError: that one is gone.
    """
    if (run.out / REPORT).is_file():
        return run.out / REPORT
    try:
        path = Path(json.loads((run.out / RUN_FOLDER / REPORT_FILE).read_bytes())["path"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = run.out / RUN_FOLDER / REPORT_FILE
        raise OutputError(f"{where}: cannot be read ({error}); name the --report") from error
    if not path.is_file():
        raise OutputError(
            f"{path}: the report of this scan is gone; write it again with fasa report {run.out} "
            f"--out {run.out / REPORT}, or name it with --report"
        )
    return path


# --- Packing --------------------------------------------------------------------------------


class _Target(Protocol):
    """Where files of a bundle go; `escape` stands in names for what a disk cannot hold."""

    escape: str

    def open(self, name: str) -> IO[bytes]: ...


class _Zip:
    escape = "%"

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def open(self, name: str) -> IO[bytes]:
        """An entry to write to, without date, owner or the system that wrote it."""
        info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        info.create_system = 3  # Unix, wherever it is made: it says how to read the next
        info.external_attr = 0o100644 << 16
        return self._archive.open(info, "w", force_zip64=True)


class _Folder:
    escape = "="

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def _pack(
    run: SavedRun,
    target: _Target,
    report: Path | None,
    originals: bool,
    key: Ed25519PrivateKey | None,
) -> tuple[int, int]:
    if report:
        _check_report(run, report)
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
            inside = f"outputs/{_safe(name, target.escape)}"
            sums[inside] = _add(target, inside, path, record.outputs_sha256.get(kind))
            entry["outputs"][kind] = inside
        if originals:
            inside = f"originals/{_safe(record.name, target.escape)}"
            sums[inside] = _add(target, inside, run.photo_path(record), record.sha256)
            entry["original"] = inside
        photos.append(entry)
    signed = (run.out / RUN_FOLDER / SIGNATURE).is_file()
    for name in (*RUN_FILES, SIGNATURE) if signed else RUN_FILES:
        sums[f"records/{name}"] = _add(target, f"records/{name}", run.out / RUN_FOLDER / name)
    if report:
        sums[REPORT] = _add(target, REPORT, report)
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
    sums[MANIFEST] = _add_bytes(target, MANIFEST, text.encode("utf-8"))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
    _add_bytes(target, SUMS, lines)
    if key is not None:
        _add_bytes(target, SUMS + SUFFIX, key.sign(lines))
    return len(sums) + 1 + (key is not None), len(photos) if originals else 0


def _check_report(run: SavedRun, report: Path) -> None:
    """
    Raises:
        OutputError: the report is not of this scan as it is now, or cannot be read.
    """
    try:
        with report.open("rb") as file:
            found = DIGEST_META.search(file.read(1 << 16))
    except OSError as error:
        raise OutputError(f"{report}: cannot be read ({error.strerror})") from error
    if found is None or found[1].decode() != run.digest():
        raise OutputError(
            f"{report}: is no report of the scan in {run.out} as it is now; write one with "
            f"fasa report {run.out} --out {run.out / REPORT}"
        )


def _inside_path(run: SavedRun, record: ScanRecord, kind: str) -> Path:
    try:
        return run.output_path(record, kind)
    except ImageError as error:
        raise OutputError(str(error)) from error


def _add(target: _Target, name: str, path: Path, expected: str | None = None) -> str:
    """Copy a file into the bundle and hash what is copied; it must have the `expected` hash."""
    digest = hashlib.sha256()
    try:
        if not path.is_file():
            raise OutputError(
                f"{path}: is gone; fasa verify says what else is. Name the folder of photos that "
                "were moved with --originals-at"
            )
        source = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be read ({reason})") from error
    with source, target.open(name) as entry:
        while piece := source.read(PIECE):
            digest.update(piece)
            entry.write(piece)
    if expected is not None and digest.hexdigest() != expected:
        raise OutputError(f"{path}: is not what the scan recorded; fasa verify says what else")
    return digest.hexdigest()


def _add_bytes(target: _Target, name: str, data: bytes) -> str:
    with target.open(name) as entry:
        entry.write(data)
    return hashlib.sha256(data).hexdigest()


def _safe(name: str, escape: str) -> str:
    """A name that any disk can hold and that leads nowhere else; different ones stay different."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts:
        raise OutputError(f"{name}: no name for a file in a bundle; scan again")
    forbidden = '\\:*?"<>|%' + escape
    return "/".join(
        "".join(_safe_character(character, forbidden, escape) for character in part)
        for part in parts
    )


def _safe_character(character: str, forbidden: str, escape: str) -> str:
    if character.isprintable() and character not in forbidden:
        return character
    encoded = quote_from_bytes(character.encode("utf-8", "surrogateescape"), safe="")
    encoded = encoded if encoded != character else f"%{ord(character):02X}"
    return encoded.replace("%", escape)

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
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol
from urllib.parse import quote_from_bytes

from fasa_cli import __version__
from fasa_cli.errors import ConfigError, ImageError, OutputError
from fasa_cli.files import PIECE, renamed_when_done, sha256_of, sha256_of_stream
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.records import SCHEMA_VERSION
from fasa_cli.scanning.saved_run import REPORT_FILE, SavedRun
from fasa_cli.scanning.signing import SUFFIX, is_signed_by
from fasa_cli.scanning.verification import Finding, Verification, check_records, compare

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

_RUN_FILES = ("run.json", "results.jsonl", "results.csv", "errors.jsonl", "skipped.jsonl")
_SIGNATURE = f"run.json{SUFFIX}"
REPORT = "report.html"  # looked for in a scan's folder when a bundle is made
SUMS, MANIFEST = "SHA256SUMS", "manifest.json"
_DIGEST_META = re.compile(rb'<meta name="fasa-digest" content="([0-9a-f]{64})">')
_MOST_EXPANSION = 50  # of a file in a zip that somebody compressed
_LONGEST_LIST = 1 << 30  # bytes of SHA256SUMS and of manifest.json


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
    signed = (run.out / RUN_FOLDER / _SIGNATURE).is_file()
    for name in (*_RUN_FILES, _SIGNATURE) if signed else _RUN_FILES:
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
            found = _DIGEST_META.search(file.read(1 << 16))
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


# --- Checking -------------------------------------------------------------------------------


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle: a zip, its unpacked folder, or a bag of one."""
    if path.is_dir():
        return any((path / part / SUMS).is_file() for part in ("", "data"))
    return path.is_file() and zipfile.is_zipfile(path)


def verify_bundle(
    path: Path,
    originals_at: Path | None = None,
    weights: Path | None = None,
    key: Ed25519PublicKey | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Verification, SavedRun]:
    """Hash all files of a bundle again, check its records, and what they say of the files.

    Photos are checked where they are packed, or lie below `originals_at`; `weights` where named;
    signatures with `key`. `advance` is called once per file. Returns the run of its records, too.

    Raises:
        OutputError: this is no bundle, or it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fasa-") as folder, _opened(path) as files:
        try:
            return _Check(files, Path(folder), originals_at, weights, key, advance).run()
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise OutputError(f"{path}: cannot be read as a bundle ({error})") from error


class _Files(Protocol):
    """The files of a bundle, wherever they lie."""

    def names(self) -> list[str]: ...

    def open(self, name: str) -> IO[bytes]: ...


class _Unpacked:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        below = (path for path in self._folder.rglob("*") if not path.is_dir())
        return [path.relative_to(self._folder).as_posix() for path in below]

    def open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        if ".." in PurePosixPath(name).parts or not path.is_file():
            raise KeyError(name)
        return path.open("rb")


class _Packed:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def names(self) -> list[str]:
        return [info.filename for info in self._archive.infolist() if not info.is_dir()]

    def open(self, name: str) -> IO[bytes]:
        info = self._archive.getinfo(name)  # KeyError where it is not there
        if info.file_size > _MOST_EXPANSION * max(info.compress_size, PIECE):
            raise OutputError(
                f"{name}: expands from {info.compress_size} to {info.file_size} bytes, as nothing "
                "in a bundle does; get a fresh copy"
            )
        return self._archive.open(info)


@contextmanager
def _opened(path: Path) -> Iterator[_Files]:
    if path.is_dir():
        yield _Unpacked(path if (path / SUMS).is_file() else path / "data")
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path}: cannot be read as a bundle ({error})") from error
    with archive:
        yield _Packed(archive)


class _Check:
    """One check in progress."""

    def __init__(
        self,
        files: _Files,
        scratch: Path,
        originals_at: Path | None,
        weights: Path | None,
        key: Ed25519PublicKey | None,
        advance: Callable[[], None],
    ) -> None:
        self._files, self._scratch = files, scratch
        self._originals_at, self._weights, self._key = originals_at, weights, key
        self._advance = advance
        self._checked: Counter[str] = Counter()
        self._findings: list[Finding] = []
        self._hashes: dict[str, str] = {}  # of the files that are there

    def run(self) -> tuple[Verification, SavedRun]:
        self._check_sums()
        run = self._unpacked_records()
        self._checked["records"] = 1
        self._findings += check_records(run, "records")
        self._check_photos(run)
        if self._weights is not None:
            self._checked["weights"] = 1
            shown = str(self._weights)
            self._findings += compare("weights", shown, self._weights, run.weights_sha256)
        if self._key is not None:
            self._check_signatures(self._key)
        return Verification(dict(self._checked), tuple(self._findings)), run

    def _check_sums(self) -> None:
        lines = self._read(SUMS).decode("utf-8", "replace").splitlines()
        sums: dict[str, str] = {}
        for line in lines:
            expected, _, name = line.partition("  ")
            sums[name] = expected
        names = Counter(self._files.names())
        for name in sums:
            self._checked["files"] += 1
            self._advance()
            if (found := self._hash(name)) is None:
                self._add("files", name, "missing", "no such file")
            elif found != sums[name]:
                reason = f"sha256 is {found[:12]}..., was {sums[name][:12]}..."
                self._add("files", name, "changed", reason)
        for name, count in names.items():
            if count > 1:
                self._add("files", name, "twice", f"{count} files of this name")
            if name not in sums and name not in (SUMS, SUMS + SUFFIX):
                self._add("files", name, "unlisted", f"is not in {SUMS}")

    def _check_photos(self, run: SavedRun) -> None:
        try:
            manifest = json.loads(self._read(MANIFEST))
            entries = {entry["name"]: entry for entry in manifest["photos"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{MANIFEST}: cannot be read ({error}); get a fresh copy") from error
        if manifest.get("digest") != run.description.get("digest"):
            self._add("records", MANIFEST, "changed", "names another digest than the records")
        for record in run.records():
            entry = entries.pop(record.name, {})
            for kind, expected in record.outputs_sha256.items():
                self._checked["outputs"] += 1
                inside = str(entry.get("outputs", {}).get(kind))
                self._expect("outputs", inside, record.outputs[kind], expected)
            if inside := entry.get("original"):
                self._checked["inputs"] += 1
                self._expect("inputs", inside, record.path, record.sha256)
            elif self._originals_at is not None:
                self._checked["inputs"] += 1
                place = run.photo_path(record)
                self._findings += compare("inputs", record.path, place, record.sha256)
        for name in entries:
            self._add("records", name, "unlisted", f"is in {MANIFEST} but not in the records")

    def _check_signatures(self, key: Ed25519PublicKey) -> None:
        signed = [name for name in (SUMS, "records/run.json") if self._hash(name + SUFFIX)]
        if not signed:
            self._add("signatures", SUMS + SUFFIX, "missing", "the bundle is not signed")
        for name in signed:
            self._checked["signatures"] += 1
            if not is_signed_by(key, self._read(name), self._read(name + SUFFIX)):
                self._add("signatures", name + SUFFIX, "foreign", "not a signature with this key")

    def _expect(self, check: str, inside: str, shown: str, expected: str) -> None:
        if (found := self._hash(inside)) is None:
            self._add(check, shown, "missing", f"{inside}: no such file in the bundle")
        elif found != expected:
            self._add(check, shown, "changed", "is not what the scan recorded")

    def _add(self, check: str, path: str, kind: str, reason: str) -> None:
        self._checked[check] += 0
        self._findings.append(Finding(check, path, kind, reason))

    def _hash(self, name: str) -> str | None:
        """The sha256 of a file, hashed once; None where it is not there."""
        if name not in self._hashes:
            try:
                with self._files.open(name) as file:
                    self._hashes[name] = sha256_of_stream(file)
            except (KeyError, IsADirectoryError):
                return None
        return self._hashes[name]

    def _read(self, name: str) -> bytes:
        try:
            with self._files.open(name) as file:
                data = file.read(_LONGEST_LIST + 1)
        except KeyError as error:
            raise OutputError(f"{name}: not in the bundle, so it is none of fasa's") from error
        if len(data) > _LONGEST_LIST:
            raise OutputError(f"{name}: more than 1 GiB; not a bundle of fasa's")
        return data

    def _unpacked_records(self) -> SavedRun:
        folder = self._scratch / RUN_FOLDER
        folder.mkdir()
        for name in _RUN_FILES:
            try:
                source = self._files.open(f"records/{name}")
            except KeyError as error:
                raise OutputError(f"records/{name}: not in the bundle; get a fresh copy") from error
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, PIECE)
        return SavedRun(self._scratch, self._originals_at)

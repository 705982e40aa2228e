"""The check of a bundle, packed or unpacked: sums, records, photos, signatures."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Protocol

from fasa_cli.errors import ImageError, OutputError
from fasa_cli.files import PIECE, sha256_of_stream
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.bundle import MANIFEST, RUN_FILES, SUMS
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.signing import SUFFIX, is_signed_by
from fasa_cli.scanning.verification import Finding, Verification, check_records, compare

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PublicKey,
    )

_MOST_EXPANSION = 50  # of a file in a zip that somebody compressed
_LONGEST_LIST = 1 << 30  # bytes of SHA256SUMS and of manifest.json


def is_bundle(path: Path) -> bool:
    """Whether a path is a bundle: a zip, its unpacked folder, or a bag of one."""
    if path.is_dir():
        return any((path / part / SUMS).is_file() for part in ("", "data"))
    return path.is_file() and zipfile.is_zipfile(path)


def verify_bundle(
    path: Path,
    *,
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


@contextmanager
def opened_run(path: Path, originals_at: Path | None = None) -> Iterator[SavedRun]:
    """The run whose records are in a bundle, with its photos and outputs read from there; photos
    that are not packed, from below `originals_at`.

    Raises:
        OutputError: this is no bundle, or it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="fasa-") as folder, _opened(path) as files:
        try:
            check = _Check(files, Path(folder), originals_at, None, None, lambda: None)
            check.unpacked_records()
            yield _BundledRun(Path(folder), originals_at, check)
        except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise OutputError(f"{path}: cannot be read as a bundle ({error})") from error


class _BundledRun(SavedRun):
    """A run whose photos and outputs lie in a bundle."""

    def __init__(self, folder: Path, originals_at: Path | None, check: _Check) -> None:
        super().__init__(folder, originals_at)
        self._check, self._entries = check, check.manifest()["photos"]
        self._is_told = originals_at is not None

    def _entry(self, record: ScanRecord) -> dict[str, Any]:
        return next((entry for entry in self._entries if entry["name"] == record.name), {})

    def _photo_bytes(self, record: ScanRecord) -> bytes:
        if inside := self._entry(record).get("original"):
            return self._check.read(str(inside))
        if self._is_told:
            return super()._photo_bytes(record)
        raise ImageError(
            f"{record.path}: is not in the bundle; name the folder of the photos with "
            "--originals-at"
        )

    def _output_bytes(self, record: ScanRecord, kind: str) -> bytes:
        return self._check.read(str(self._entry(record).get("outputs", {}).get(kind)))


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
        run = self.unpacked_records()
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
        lines = self.read(SUMS).decode("utf-8", "replace").splitlines()
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
        manifest = self.manifest()
        entries = {entry["name"]: entry for entry in manifest["photos"]}
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

    def manifest(self) -> dict[str, Any]:
        """What the bundle says of its photos."""
        try:
            manifest: dict[str, Any] = json.loads(self.read(MANIFEST))
            for entry in manifest["photos"]:
                str(entry["name"])
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{MANIFEST}: cannot be read ({error}); get a fresh copy") from error
        return manifest

    def _check_signatures(self, key: Ed25519PublicKey) -> None:
        signed = [name for name in (SUMS, "records/run.json") if self._hash(name + SUFFIX)]
        if not signed:
            self._add("signatures", SUMS + SUFFIX, "missing", "the bundle is not signed")
        for name in signed:
            self._checked["signatures"] += 1
            if not is_signed_by(key, self.read(name), self.read(name + SUFFIX)):
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

    def read(self, name: str) -> bytes:
        """A file of the bundle."""
        try:
            with self._files.open(name) as file:
                data = file.read(_LONGEST_LIST + 1)
        except KeyError as error:
            raise OutputError(f"{name}: not in the bundle, so it is none of fasa's") from error
        if len(data) > _LONGEST_LIST:
            raise OutputError(f"{name}: more than 1 GiB; not a bundle of fasa's")
        return data

    def unpacked_records(self) -> SavedRun:
        """The records, copied to where a run's lie."""
        folder = self._scratch / RUN_FOLDER
        folder.mkdir()
        for name in RUN_FILES:
            try:
                source = self._files.open(f"records/{name}")
            except KeyError as error:
                raise OutputError(f"records/{name}: not in the bundle; get a fresh copy") from error
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, PIECE)
        return SavedRun(self._scratch, self._originals_at)

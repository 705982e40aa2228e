"""The folder `_fasa` beside a scan's outputs: what ran, and what came of each image.

`results.jsonl` is a journal while a scan runs: a line is appended once the image's outputs are in
place, so a scan that was cut off resumes where the journal ends. At the end it is put in order.
Its lines are chained by hash, and `run.json` holds the chain's end: a scan does not resume on
records that are not as they were written.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasa_cli.errors import OutputError
from fasa_cli.files import TEMPORARY, json_line, sha256_if_readable, write_atomically, write_lines
from fasa_cli.results import Failure, ScanRecord, Skipped
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES, RUN_FOLDER, Discovery, Source
from fasa_cli.scanning.records import (
    CHAIN_START,
    chained_line,
    check_chain,
    csv_lines,
    parse_record,
    read_failures,
    read_results,
    read_skipped,
    run_digest,
)
from fasa_cli.scanning.saved_run import REPORT_FILE, folders_of
from fasa_cli.scanning.signing import SUFFIX, is_signed_by

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two scans into one folder are not kept apart there
    fcntl = None  # type: ignore[assignment]

_SIGNATURE = f"run.json{SUFFIX}"
_FILES = (
    "results.jsonl",
    "results.csv",
    "errors.jsonl",
    "skipped.jsonl",
    REPORT_FILE,
    _SIGNATURE,
    "run.json",
)
_OTHER_OUT = "choose another --out, or --overwrite to start anew"


@contextmanager
def open_run(
    out: Path,
    identity: Mapping[str, Any],
    discovery: Discovery,
    kinds: Iterable[str],
    overwrite: bool = False,
    add: bool = False,
    key: Ed25519PrivateKey | None = None,
) -> Iterator[RunFolder]:
    """Hold `out` for one scan; a run of the same `identity` in it is continued.

    `identity` is what must be equal for that (weights, config), as plain JSON values; `kinds` are
    those of the outputs to come. What `out` holds already must be about the files of `discovery`,
    unless `add` keeps both. With `overwrite` an earlier run is deleted first, its outputs included.
    `key` signs `run.json` once the scan is complete; a signed run is continued with it only.

    Raises:
        OutputError: not writable, in use, holding a different run, or files that are not fasa's.
    """
    ours = overwrite or (out / RUN_FOLDER / "run.json").exists()
    folders = {RUN_FOLDER}
    for kind in kinds:
        for source in discovery.sources:
            target = source.name + OUTPUT_SUFFIXES[kind]
            folders.add(os.path.dirname(target))
            if not ours:
                _refuse_foreign_file(out / target)
    _make_folder(out / RUN_FOLDER)
    with _locked(out):
        _clear_temporaries(out / folder for folder in folders)
        if overwrite:
            _delete_run(out)
        _refuse_other_run(out, identity)
        _refuse_other_signature(out, key)
        run = RunFolder(out, discovery, add, key)
        try:
            yield run
        finally:
            run.close()


class RunFolder:
    """An output folder that one scan holds. `previous` may be asked from any thread."""

    def __init__(
        self,
        out: Path,
        discovery: Discovery,
        add: bool = False,
        key: Ed25519PrivateKey | None = None,
    ) -> None:
        """With `add` what the folder holds of other files than those of `discovery` is kept.

        Raises:
            OutputError: the records are not as a scan wrote them, or are about other files.
        """
        self.out = out
        self.folder = out / RUN_FOLDER
        self._description: dict[str, Any] = {}
        before = _read_run(out) or {}
        self._commands = list(before.get("commands", ()))
        self._key = key
        with _as_output_error(self.folder):
            # The ends that the chain of records may have had when `run.json` was written.
            self._journal = _Journal(self.folder / "results.jsonl", before.get("chain", ()))
            self._add = add
            others = _Others(self, discovery, folders_of(before))
            if not add:
                others.refuse()
            self._names = others.names
            self.kept_failures = others.failures if add else []
            self.kept_skipped = others.skipped if add else []
            errors = self.folder / "errors.jsonl"
            write_lines(errors, map(json_line, self.kept_failures))
            # Not buffered: what a full disk refused must not come back when the file is closed.
            self._errors = errors.open("ab", buffering=0)

    def name_of(self, source: Source, sha256: str) -> str:
        """What an image is called here: by what is on record of its file, or by its own name.

        Where the folder keeps another image of that name, a part of the hash tells them apart.
        """
        if not self._add:
            return source.name
        name = self._names.get(os.path.abspath(source.path), source.name)
        record = self.previous(name)
        if record is None or record.sha256 == sha256:
            return name
        return f"{name}~{sha256[:8]}"

    def previous(self, name: str) -> ScanRecord | None:
        """What is on record of the image that is called `name`."""
        return self._journal.get(name)

    def is_intact(self, record: ScanRecord) -> bool:
        """Whether all outputs of a record are there, byte for byte."""
        return all(
            sha256_if_readable(self.out / path) == record.outputs_sha256.get(kind)
            for kind, path in record.outputs.items()
        )

    def write_output(self, path: str, data: bytes) -> str:
        """Write one output, `path` relative to the output folder; returns its sha256.

        Raises:
            OutputError: it cannot be written; the cause is the OSError.
        """
        target = self.out / path
        _make_folder(target.parent)
        write_atomically(target, data)
        return hashlib.sha256(data).hexdigest()

    def add(self, record: ScanRecord) -> None:
        """Put a record into the journal, after its outputs were written."""
        with _as_output_error(self.folder):
            self._journal.append(record)

    def add_failure(self, failure: Failure) -> None:
        """Put a failure into `errors.jsonl`, after those of other files that are kept."""
        with _as_output_error(self.folder):
            _write_all(self._errors, json_line(failure).encode("ascii"))

    def forget(self, name: str) -> None:
        """Drop an image that is no longer what was analysed, and its outputs."""
        if record := self._journal.get(name):
            self._journal.forget(name)
            _delete_outputs(self.out, record)

    def write_run(self, values: Mapping[str, Any]) -> None:
        """Write `run.json`; with the end of the chain of records, and all commands so far."""
        command = {key: values.get(key) for key in ("argv", "folder", "started", "ended", "status")}
        last = self._commands[-1] if self._commands else {}
        if all(last.get(key) == command[key] for key in ("argv", "folder")):
            self._commands.pop()
        self._commands.append(command)
        self._description = {**values, "commands": self._commands}
        self._write_run([self._journal.end])

    def _write_run(self, ends: list[str]) -> None:
        values = {**self._description, "chain": ends}
        data = (json.dumps(values, indent=2, allow_nan=False) + "\n").encode("ascii")
        signature = self.folder / _SIGNATURE
        with _as_output_error(signature):
            signature.unlink(missing_ok=True)  # it is of what stood there before
        write_atomically(self.folder / "run.json", data)
        if self._key is not None and values.get("status") == "complete":
            write_atomically(signature, self._key.sign(data))

    def write_skipped(self, skipped: Iterable[Skipped]) -> None:
        """Write `skipped.jsonl`, after those of other files that are kept."""
        lines = map(json_line, [*self.kept_skipped, *skipped])
        write_lines(self.folder / "skipped.jsonl", lines)

    def put_in_order(self, names: Iterable[str]) -> int:
        """Rewrite the journal by `names`, and `results.csv` from it.

        Records of images that are not among `names`, analysed by an earlier scan into this folder,
        are kept after them; returns how many there are.
        """
        # A scan that is cut off in between leaves records of the old order or of the new one.
        with _as_output_error(self.folder):
            os.fsync(self._errors.fileno())
        kept = self._journal.rewrite(names, lambda old, new: self._write_run([old, new]))
        results = read_results(self.folder / "results.jsonl")
        write_lines(self.folder / "results.csv", csv_lines(results))
        return kept

    def digest(self, description: Mapping[str, Any]) -> str:
        """The run's digest (see reporting.run_digest), once it is put in order."""
        return run_digest(description, self.folder)

    def close(self) -> None:
        self._journal.close()
        self._errors.close()


class _Journal:
    """Records by name in an append-only file; memory holds only where each line lies."""

    def __init__(self, path: Path, ends: Iterable[str] = ()) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}  # name -> (offset, length) of its last line
        self.end = CHAIN_START
        with path.open("ab"):
            pass  # it is there from now on
        self._check(ends)
        self._file = path.open("a+b", buffering=0)
        self._read_places()

    def _check(self, ends: Iterable[str]) -> None:
        with self._path.open("rb") as lines:
            problem = check_chain((line for line in lines if line.endswith(b"\n")), ends)
        if problem:
            raise OutputError(
                f"{self._path}: {problem}, so the scan does not resume on it. Put the file back as "
                f"it was, or {_OTHER_OUT}"
            )

    def _read_places(self) -> None:
        offset = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):  # the scan was cut off while it wrote this
                    self._file.truncate(offset)
                    break
                try:
                    name = parse_record(line).name
                except ValueError as error:
                    raise OutputError(
                        f"{self._path}: line {number} is no record ({error}); {_OTHER_OUT}"
                    ) from error
                self._places[name] = (offset, len(line))
                self.end = json.loads(line)["chain"]
                offset += len(line)

    def all(self) -> Iterator[ScanRecord]:
        for name in list(self._places):
            if record := self.get(name):
                yield record

    def get(self, name: str) -> ScanRecord | None:
        with self._lock:
            place = self._places.get(name)
            return parse_record(self._line(place)) if place else None

    def _line(self, place: tuple[int, int]) -> bytes:
        offset, length = place
        self._file.seek(offset)
        return self._file.read(length)

    def append(self, record: ScanRecord) -> None:
        with self._lock:
            text, end = chained_line(record, self.end)
            line = text.encode("ascii")
            offset = self._file.seek(0, os.SEEK_END)
            try:
                _write_all(self._file, line)
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(offset)  # the part of it that still fitted
                raise
            self._places[record.name] = (offset, len(line))
            self.end = end

    def forget(self, name: str) -> None:
        with self._lock:
            self._places.pop(name, None)

    def rewrite(self, names: Iterable[str], announce: Callable[[str, str], None]) -> int:
        """Chain the last line of each image anew, in the order of `names`, the others after them.

        `announce` is called with the chain's old end and its new one before the file is replaced.
        """
        with self._lock:
            rest = dict(self._places)
            ordered = [rest.pop(name) for name in names if name in rest]
            old = self.end
            lines = self._last_lines([*ordered, *rest.values()])
            write_lines(self._path, lines, lambda: announce(old, self.end))
            return len(rest)

    def _last_lines(self, places: Iterable[tuple[int, int]]) -> Iterator[str]:
        self.end = CHAIN_START
        for place in places:
            line, self.end = chained_line(parse_record(self._line(place)), self.end)
            yield line
        self._file.close()  # Windows replaces no file that is open

    def close(self) -> None:
        self._file.close()


# --- Whose folder it is ---------------------------------------------------------------------


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second scan out; the lock dies with the process, so a crash leaves none behind."""
    with _as_output_error(out):
        lock = (out / RUN_FOLDER / "lock").open("w")
    with lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(
                    f"{out}: another scan is writing there; wait for it, or choose another --out"
                ) from error
            except OSError:  # some network file systems know no locks; the scan works without
                pass
        yield


def _clear_temporaries(folders: Iterable[Path]) -> None:
    """Delete what a killed scan had half written; names that only fasa gives."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if TEMPORARY.fullmatch(entry.name):
                    os.unlink(entry.path)


def _refuse_foreign_file(path: Path) -> None:
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: exists, and not from a scan; "
            "choose another --out, or --overwrite to replace it"
        )


def _refuse_other_run(out: Path, identity: Mapping[str, Any]) -> None:
    run = _read_run(out)
    if run is None:
        return
    then = _flat({key: run.get(key) for key in identity})
    now = _flat(identity)
    different = [
        f"{key} was {then.get(key)}, is {now[key]}"
        for key in sorted(now)
        if then.get(key) != now[key]
    ]
    if different:
        shown = "; ".join(different[:4]) + ("; ..." if len(different) > 4 else "")
        raise OutputError(f"{out}: holds a scan with other settings ({shown}); {_OTHER_OUT}")


def _refuse_other_signature(out: Path, key: Ed25519PrivateKey | None) -> None:
    run = out / RUN_FOLDER / "run.json"
    signature = out / RUN_FOLDER / _SIGNATURE
    if not signature.exists():
        return
    if key is None:
        raise OutputError(
            f"{out}: holds a signed scan; --sign KEY signs it anew, or choose another --out"
        )
    with _as_output_error(run):
        ours = is_signed_by(key.public_key(), run.read_bytes(), signature.read_bytes())
    if not ours:
        raise OutputError(
            f"{signature}: is no signature of {run.name} with this key, so the scan does not "
            f"resume on it; {_OTHER_OUT}"
        )


def _read_run(out: Path) -> dict[str, Any] | None:
    path = out / RUN_FOLDER / "run.json"
    try:
        run = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        journal = path.with_name("results.jsonl")
        if not journal.exists() or journal.stat().st_size == 0:
            return None
        raise OutputError(f"{path}: missing beside {journal.name}; {_OTHER_OUT}") from error
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); {_OTHER_OUT}") from error
    if not isinstance(run, dict):
        raise OutputError(f"{path}: does not describe a scan; {_OTHER_OUT}")
    return run


class _Others:
    """What a folder holds of files that a scan into it does not cover.

    A record is covered by an image of its name that is the same file, or whose file has moved;
    failures and skipped files by their path. Paths are seen from where any command was started.
    """

    def __init__(self, run: RunFolder, discovery: Discovery, folders: Iterable[str]) -> None:
        self._out = run.out
        self._folders = list(folders)
        own = {source.name: os.path.abspath(source.path) for source in discovery.sources}
        met = {os.path.abspath(failure.path) for failure in discovery.failures}
        met |= {os.path.abspath(skipped.path) for skipped in discovery.skipped}
        met |= set(own.values())
        self.names: dict[str, str] = {}  # of images on record, by absolute path
        self.records: list[str] = []  # paths
        for record in run._journal.all():
            places = self._places(record.path)
            there = [place for place in places if os.path.lexists(place)]
            self.names |= dict.fromkeys(there, record.name)
            mine = own.get(record.name)
            if mine is None or (there and mine not in places):
                self.records.append(record.path)
        errors, skipped_file = run.folder / "errors.jsonl", run.folder / "skipped.jsonl"
        failures = read_failures(errors) if errors.exists() else ()
        skipped_before = read_skipped(skipped_file) if skipped_file.exists() else ()
        self.failures = [one for one in failures if met.isdisjoint(self._places(one.path))]
        self.skipped = [one for one in skipped_before if met.isdisjoint(self._places(one.path))]

    def _places(self, path: str) -> list[str]:
        return [os.path.abspath(os.path.join(folder, path)) for folder in self._folders]

    def _is_there(self, path: str) -> bool:
        return any(map(os.path.lexists, self._places(path)))

    def refuse(self) -> None:
        """
        Raises:
            OutputError: there are such files.
        """
        others = [
            *self.records,
            *(failure.path for failure in self.failures if self._is_there(failure.path)),
            *(skipped.path for skipped in self.skipped if self._is_there(skipped.path)),
        ]
        if others:
            raise OutputError(
                f"{self._out}: holds a scan of other files, {len(others)} of which are not among "
                f"these inputs (such as {others[0]}); choose another --out, --add to keep both "
                "in one, or --overwrite to start anew"
            )


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """{"config": {"threshold": 0.5}} -> {"config.threshold": 0.5}."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    return {
        name: leaf
        for key, value in values.items()
        for name, leaf in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _delete_run(out: Path) -> None:
    folder = out / RUN_FOLDER
    with _as_output_error(folder):
        with suppress(FileNotFoundError), (folder / "results.jsonl").open("rb") as lines:
            for line in lines:
                with suppress(ValueError):
                    _delete_outputs(out, parse_record(line))
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)


def _delete_outputs(out: Path, record: ScanRecord) -> None:
    for path in map(Path, record.outputs.values()):
        # The journal is a file that anyone can edit; it must not reach outside its folder.
        if not path.is_absolute() and ".." not in path.parts:
            with _as_output_error(out / path):
                (out / path).unlink(missing_ok=True)


# --- Files ----------------------------------------------------------------------------------


def _make_folder(folder: Path) -> None:
    with _as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason}); check the folder") from error


def _write_all(file: FileIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take less at a time."""
    while data:
        data = data[file.write(data) :]

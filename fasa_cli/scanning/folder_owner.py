"""Whose output folder it is: locks, and refusals of what another scan left there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasa_cli.errors import OutputError
from fasa_cli.files import TEMPORARY, lock_held
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.discovery import RUN_FOLDER, Discovery
from fasa_cli.scanning.records import (
    parse_record,
    read_failures,
    read_skipped,
)
from fasa_cli.scanning.saved_run import REPORT_FILE
from fasa_cli.scanning.signing import SUFFIX, is_signed_by

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE = f"run.json{SUFFIX}"
_FILES = (
    "results.jsonl",
    "results.csv",
    "errors.jsonl",
    "skipped.jsonl",
    REPORT_FILE,
    SIGNATURE,
    "run.json",
)
_OTHER_OUT = "choose another --out, or --overwrite to start anew"


def locked(out: Path) -> AbstractContextManager[None]:
    """Keep a second scan out of a scan's folder."""
    held = f"{out}: another scan is writing there; wait for it, or choose another --out"
    return lock_held(out / RUN_FOLDER / "lock", held)


def clear_temporaries(folders: Iterable[Path]) -> None:
    """Delete what a killed scan had half written; names that only fasa gives."""
    for folder in folders:
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if TEMPORARY.fullmatch(entry.name):
                    os.unlink(entry.path)


def refuse_foreign_file(path: Path) -> None:
    """
    Raises:
        OutputError: something lies there already.
    """
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: exists, and not from a scan; "
            "choose another --out, or --overwrite to replace it"
        )


def refuse_other_run(out: Path, identity: Mapping[str, Any]) -> None:
    """
    Raises:
        OutputError: the folder holds a scan with other weights or settings.
    """
    run = read_run(out)
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


def refuse_other_signature(out: Path, key: Ed25519PrivateKey | None) -> None:
    """
    Raises:
        OutputError: the folder holds a signed scan, and `key` did not sign it.
    """
    run = out / RUN_FOLDER / "run.json"
    signature = out / RUN_FOLDER / SIGNATURE
    if not signature.exists():
        return
    if key is None:
        raise OutputError(
            f"{out}: holds a signed scan; --sign KEY signs it anew, or choose another --out"
        )
    with as_output_error(run):
        ours = is_signed_by(key.public_key(), run.read_bytes(), signature.read_bytes())
    if not ours:
        raise OutputError(
            f"{signature}: is no signature of {run.name} with this key, so the scan does not "
            f"resume on it; {_OTHER_OUT}"
        )


def read_run(out: Path) -> dict[str, Any] | None:
    """What `run.json` says; None where no scan has begun.

    Raises:
        OutputError: it cannot be read, or is missing beside records.
    """
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


class OtherFiles:
    """What a folder holds of files that a scan into it does not cover.

    A record is covered by an image of its name that is the same file, or whose file has moved;
    failures and skipped files by their path. Paths are seen from where any command was started.
    """

    def __init__(
        self,
        out: Path,
        records: Iterable[ScanRecord],
        discovery: Discovery,
        folders: Iterable[str],
    ) -> None:
        self._out = out
        self._folders = list(folders)
        own = {source.name: os.path.abspath(source.path) for source in discovery.sources}
        met = {os.path.abspath(failure.path) for failure in discovery.failures}
        met |= {os.path.abspath(skipped.path) for skipped in discovery.skipped}
        met |= set(own.values())
        self.names: dict[str, str] = {}  # of images on record, by absolute path
        self.records: list[str] = []  # paths
        for record in records:
            places = self._places(record.path)
            there = [place for place in places if os.path.lexists(place)]
            if record.page in (None, 1):
                self.names |= dict.fromkeys(there, record.name)
            mine = own.get(record.name)
            if mine is None or (there and mine not in places):
                self.records.append(record.path)
        errors, skipped_file = out / RUN_FOLDER / "errors.jsonl", out / RUN_FOLDER / "skipped.jsonl"
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


def delete_run(out: Path) -> None:
    """Delete a scan: its outputs and its records, and nothing else."""
    folder = out / RUN_FOLDER
    with as_output_error(folder):
        with suppress(FileNotFoundError), (folder / "results.jsonl").open("rb") as lines:
            for line in lines:
                with suppress(ValueError):
                    delete_outputs(out, parse_record(line))
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)


def delete_outputs(out: Path, record: ScanRecord) -> None:
    """Delete the outputs of one record, as far as they lie in the folder."""
    for path in map(Path, record.outputs.values()):
        # The journal is a file that anyone can edit; it must not reach outside its folder.
        if not path.is_absolute() and ".." not in path.parts:
            with as_output_error(out / path):
                (out / path).unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """
    Raises:
        OutputError: it cannot be made.
    """
    with as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def as_output_error(path: Path) -> Iterator[None]:
    """What the system says of a file becomes an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason}); check the folder") from error

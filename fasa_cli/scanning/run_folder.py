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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasa_cli.files import json_line, sha256_if_readable, write_atomically, write_lines
from fasa_cli.results import Failure, ScanRecord, Skipped
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES, RUN_FOLDER, Discovery, Source
from fasa_cli.scanning.folder_owner import (
    SIGNATURE,
    OtherFiles,
    as_output_error,
    clear_temporaries,
    delete_outputs,
    delete_run,
    locked,
    make_folder,
    read_run,
    refuse_foreign_file,
    refuse_other_run,
    refuse_other_signature,
)
from fasa_cli.scanning.journal import Journal, write_all
from fasa_cli.scanning.records import (
    csv_lines,
    read_results,
    run_digest,
)
from fasa_cli.scanning.saved_run import folders_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@contextmanager
def open_run(
    out: Path,
    identity: Mapping[str, Any],
    discovery: Discovery,
    kinds: Iterable[str],
    *,
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
                refuse_foreign_file(out / target)
    make_folder(out / RUN_FOLDER)
    with locked(out):
        clear_temporaries(out / folder for folder in folders)
        if overwrite:
            delete_run(out)
        refuse_other_run(out, identity)
        refuse_other_signature(out, key)
        run = RunFolder(out, discovery, add=add, key=key)
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
        *,
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
        before = read_run(out) or {}
        self._commands = list(before.get("commands", ()))
        self._key = key
        with as_output_error(self.folder):
            # The ends that the chain of records may have had when `run.json` was written.
            self._journal = Journal(self.folder / "results.jsonl", before.get("chain", ()))
            self._add = add
            others = OtherFiles(out, self._journal.all(), discovery, folders_of(before))
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

        Where the folder keeps another image of that name, a part of the hash is added to the name.
        """
        if not self._add:
            return source.name
        is_further = bool(source.page)
        place = os.path.abspath(source.path)
        name = source.name if is_further else self._names.get(place, source.name)
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
        make_folder(target.parent)
        write_atomically(target, data)
        return hashlib.sha256(data).hexdigest()

    def add(self, record: ScanRecord) -> None:
        """Put a record into the journal, after its outputs were written."""
        with as_output_error(self.folder):
            self._journal.append(record)

    def add_failure(self, failure: Failure) -> None:
        """Put a failure into `errors.jsonl`, after those of other files that are kept."""
        with as_output_error(self.folder):
            write_all(self._errors, json_line(failure).encode("ascii"))

    def forget(self, name: str) -> None:
        """Drop an image that is no longer what was analysed, and its outputs."""
        if record := self._journal.get(name):
            self._journal.forget(name)
            delete_outputs(self.out, record)

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
        signature = self.folder / SIGNATURE
        with as_output_error(signature):
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
        with as_output_error(self.folder):
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

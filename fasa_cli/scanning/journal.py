"""The journal of a scan, `results.jsonl`: chained lines, appended as photos are analysed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from io import FileIO
from pathlib import Path

from fasa_cli.errors import OutputError
from fasa_cli.files import write_lines
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.folder_owner import _OTHER_OUT
from fasa_cli.scanning.records import (
    CHAIN_START,
    chained_line,
    check_chain,
    parse_record,
)


class Journal:
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
                write_all(self._file, line)
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


def write_all(file: FileIO, data: bytes) -> None:
    """Write to an unbuffered file, which may take less at a time."""
    while data:
        data = data[file.write(data) :]

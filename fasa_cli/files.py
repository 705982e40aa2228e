"""Files written whole or not at all, lines of JSON and CSV, hashes of files, the time in UTC."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fasa_cli.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Names under which files are written until they are whole.
TEMPORARY = re.compile(r"\.fasa-[0-9a-f]{32}\.tmp")
PIECE = 1 << 20  # bytes that are hashed or copied at a time
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


# --- Writing --------------------------------------------------------------------------------


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename: all of it or nothing.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    with renamed_when_done(path) as temporary:
        temporary.write_bytes(data)


def write_lines(
    path: Path, lines: Iterable[str], before_renaming: Callable[[], None] = lambda: None
) -> None:
    """Write text line by line under a temporary name, then rename: all of it or nothing.

    UTF-8; what is no text in a file name (stray bytes) is written as an escape. `before_renaming`
    is called when all lines lie on the disk.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    with renamed_when_done(path) as temporary:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        before_renaming()


@contextmanager
def renamed_when_done(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path` to write under; it becomes `path` unless writing fails.

    Raises:
        OutputError: the folder is missing, not writable, or full.
    """
    target = Path(path)
    # The name does not grow with the target's, which may be as long as the file system allows.
    temporary = target.with_name(f".fasa-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # a rename must not outlive the contents in a power cut
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{target}: cannot be written ({reason}); check the folder") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


# --- Lines of JSON and CSV ------------------------------------------------------------------


def json_line(record: DataclassInstance | Mapping[str, Any]) -> str:
    """One line of JSON Lines, newline included; ASCII only, so that any file name survives."""
    values = record if isinstance(record, Mapping) else asdict(record)
    return json.dumps(values, ensure_ascii=True, allow_nan=False) + "\n"


def canonical_json(values: Any) -> bytes:
    """The one JSON text of plain values: keys sorted, no blanks, ASCII."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def csv_table(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A header and one line per row, newlines included; the first row's keys are the columns.

    Numbers have six decimals at most: more says nothing, and a perfect F1 would read
    0.9999999999988571 for its epsilon.
    """
    for number, row in enumerate(rows):
        if number == 0:
            yield csv_line(row)
        yield csv_line(_short(value) for value in row.values())


def csv_line(cells: Iterable[Any]) -> str:
    """One line of CSV, newline included, in which no spreadsheet finds a formula to run."""
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\r\n")  # so that it quotes either of them
    writer.writerow(map(_defused, cells))
    return line.getvalue().removesuffix("\r\n") + "\n"


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _defused(value: Any) -> Any:
    """Keep a spreadsheet from running a file name such as `=cmd()` as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


# --- Hashes ---------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return sha256_of_stream(file)


def sha256_of_stream(file: IO[bytes]) -> str:
    """The sha256 of what is left in an open file, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def sha256_if_readable(path: Path) -> str | None:
    """The sha256 of a file, in hexadecimal; None where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def sha256_of_files(files: Iterable[Path]) -> str:
    """One hash over the bytes of several files, in their order; names do not count.

    Raises:
        OSError: a file cannot be read.
    """
    total = hashlib.sha256()
    for path in files:
        total.update(bytes.fromhex(sha256_of(path)))
    return total.hexdigest()


@contextmanager
def lock_held(path: Path, message: str) -> Iterator[None]:
    """Hold the lock file `path`; it dies with the process, so that a crash leaves none behind.

    Raises:
        OutputError: it cannot be written; with `message` where another process holds it.
    """
    from filelock import FileLock, Timeout

    try:
        path.touch()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{path}: cannot be written ({reason}); check the folder") from error
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(message) from error
    except (OSError, NotImplementedError):
        pass  # some network file systems know no locks; the work is done without
    try:
        yield
    finally:
        lock.release()

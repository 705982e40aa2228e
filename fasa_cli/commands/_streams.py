"""stdout and stderr that may be closed or full: one line, the right exit code, nothing lost.

What goes to stdout is the answer, so failing to write it is an error. What goes to stderr is for
whoever watches; when nobody can, the work continues.
"""

from __future__ import annotations

import io
import os
import sys

from fasa_cli.errors import OutputError


class StdoutError(OutputError):
    """stdout cannot be written."""


class _Answer(io.FileIO):
    """stdout, whose errors can be distinguished from those of other files."""

    def write(self, data):  # type: ignore[no-untyped-def]
        try:
            return super().write(data)
        except BrokenPipeError:  # whoever read it has gone
            raise
        except OSError as error:
            raise StdoutError(
                f"stdout cannot be written ({error.strerror}); what was recorded in a folder is "
                "kept. Run the command again with stdout to a file or pipe that can be written"
            ) from error


class _Commentary(io.FileIO):
    """stderr, whose errors are nobody's concern."""

    def write(self, data):  # type: ignore[no-untyped-def]
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr` for the rest of the process.

    A closed one leaves its number to the next file that is opened, which would then be written
    into; so closed numbers are taken first.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        # Read-only, so that writing fails as it does where it is closed.
        os.dup2(os.open(os.devnull, os.O_RDONLY), number)
    for name, number, kind in (("stdout", 1, _Answer), ("stderr", 2, _Commentary)):
        stream = getattr(sys, name)
        if number not in closed and not _is_own(stream, number):
            continue  # somebody has put another in its place
        encoding = getattr(stream, "encoding", None) or "utf-8"
        buffer = io.BufferedWriter(kind(number, "w", closefd=False))
        # A name that the terminal cannot spell must not stop us.
        text = io.TextIOWrapper(
            buffer, encoding, errors="backslashreplace", line_buffering=name == "stderr"
        )
        setattr(sys, name, text)


def flush_stdout() -> None:
    """Write what is left to write.

    Raises:
        StdoutError: it cannot be written.
    """
    sys.stdout.flush()


def silence_stdout() -> None:
    """Let what is still to be written to stdout go nowhere, so that the exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _is_own(stream: object, number: int) -> bool:
    try:
        return stream.fileno() == number  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False

"""What a report leaves out on request: absolute paths, user names in them, positions."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fasa_cli.errors import ConfigError
from fasa_cli.results import Failure, ScanRecord
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.text import printable

REDACTIONS = ("paths", "gps")


def parse_redactions(text: str) -> frozenset[str]:
    """Read `paths,gps`, one of the two, or `none`.

    Raises:
        ConfigError: another word is in it.
    """
    words = {word.strip() for word in text.split(",")} - {"", "none"}
    if unknown := words - set(REDACTIONS):
        raise ConfigError(f"--redact {', '.join(sorted(unknown))}: write paths, gps, or none")
    return frozenset(words)


# An absolute path on any system, up to its last separator; what may stand before one in a text.
_FOLDERS = re.compile(r"(?<![^\s'\"=(,:;])(?:[A-Za-z]:[\\/]|\\\\|~?/)(?:[^\\/\n'\"]*[\\/])*")


class ShownText:
    """Text of the run as it is shown: printable, and without absolute paths when asked."""

    def __init__(self, redact: bool, run: SavedRun) -> None:
        self._hides = redact
        folder = str(run.description.get("folder") or "")
        known = {folder, str(Path(run.out).absolute()), str(Path.home()), os.getcwd()}
        self._known = sorted((path for path in known if len(path) > 1), key=len, reverse=True)

    def path(self, path: str, instead: str) -> str:
        """A path, or `instead` of one that says where on the machine something lies."""
        return printable(instead if self._hides and _leads_out(path) else path)

    def text(self, text: str, about: ScanRecord | Failure | None = None) -> str:
        """A message; `about` gives the path that it may name."""
        if self._hides:
            if about is not None and _leads_out(about.path):
                text = text.replace(about.path, os.path.basename(about.path))
            for path in self._known:
                text = text.replace(path, "…")
            text = _FOLDERS.sub("…/", text)
        return printable(text)

    def command(self, argv: Sequence[Any]) -> str:
        """A command line, absolute paths in it cut to their last part."""
        words = [str(word) for word in argv]
        if self._hides:
            words = [self._word(word) for word in words]
        return printable(" ".join(word if "…" in word else shlex.quote(word) for word in words))

    def _word(self, word: str) -> str:
        option, equals, value = word.partition("=")
        is_option = option.startswith("-") and equals
        path = value if is_option else word
        if not _leads_out(path):
            return word
        last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
        return f"{option}=…/{last}" if is_option else f"…/{last}"


def _leads_out(path: str) -> bool:
    """Whether a path is absolute on any system, or goes up from where the scan was started."""
    parts = re.split(r"[/\\]", path)
    return path.startswith(("/", "\\", "~")) or path[1:2] == ":" or ".." in parts

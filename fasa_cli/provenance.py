"""What makes a number traceable: when it was measured, and on which bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

_BLOCK = 1 << 20  # bytes


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def sha256_of_files(files: Iterable[Path]) -> str:
    """One hash over the bytes of several files, in their order; names do not count.

    Raises:
        OSError: a file cannot be read.
    """
    total = hashlib.sha256()
    for path in files:
        own = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                own.update(block)
        total.update(own.digest())
    return total.hexdigest()

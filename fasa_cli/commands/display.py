"""What commands show on stderr; stdout is for data only."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from fasa_cli.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from fasa_cli.results import ScanRecord

_SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """Write one line to stderr."""
    print(printable(text), file=sys.stderr, flush=True)


class Progress:
    """Counts on stderr: a bar in a terminal, a line every ten seconds anywhere else."""

    def __init__(self, total: int, what: str) -> None:
        """`what` names the things that are counted, as in "images"."""
        self._total, self._what = total, what
        self._done = 0
        self._said = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
            self._bar = Progress(
                *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
            )
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self) -> None:
        """Count one more."""
        self._done += 1
        if self._bar:
            self._bar.advance(self._bar.task_ids[0])
        elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            say(f"{self._done} of {self._total} {self._what}")

    def note(self, text: str) -> None:
        """Say a line without tearing the bar."""
        if self._bar:
            self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)


class Ranking:
    """The records of the `size` highest scores; of equal ones those that came first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self._heap: list[tuple[float, int, ScanRecord]] = []

    def add(self, record: ScanRecord) -> None:
        self._seen += 1
        heapq.heappush(self._heap, (record.score_max, -self._seen, record))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)

    def show(self) -> None:
        """Print the table to stderr, highest score first; nothing when it is empty."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if not self._heap:
            return
        table = Table("score", "area", "regions", "image")
        for score, _, record in sorted(self._heap, reverse=True):
            area, regions = f"{record.area_fraction:.2%}", str(record.region_count)
            table.add_row(f"{score:.4f}", area, regions, Text(printable(record.path)))
        Console(stderr=True).print(table)


def by_kind(counts: dict[str, int]) -> str:
    """{"missing": 2} -> " (2 missing)"; nothing for an empty one."""
    shown: Iterable[str] = (f"{number} {kind}" for kind, number in sorted(counts.items()))
    return f" ({', '.join(shown)})" if counts else ""

"""What commands show on stderr; stdout is for data only."""

from __future__ import annotations

import heapq
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, NoReturn

from fasa_cli.text import counted, one_in, printable, score_text

if TYPE_CHECKING:
    from rich.console import Console
    from tqdm import tqdm

    from fasa_cli.evaluation.tables import Mark, Table
    from fasa_cli.results import ScanRecord

NOT_A_VERDICT = (
    "A score says how strongly the model reacts to a region; it is not a verdict on the photo."
)

_SECONDS_BETWEEN_LINES = 10.0
_BAR = 10  # characters
_SLOW = 1.2  # times as long in bfloat16 as in float32: worth a warning
_WIDE = 100  # columns of a screen that has room for bars
_FOUND = 16  # characters: "2 copy-move pairs," less a word
_NOTABLE = 1e-4  # of a photo's pixels, marks of which hysteresis took away
_SHOWN_REGIONS = 10  # of one photo
_SPEAKS = {"for": "for the mark:", "against": "against it:", "neither": "note:"}
_WIDTH_ELSEWHERE = 180  # columns, where there is no terminal


def warn_of_slow_bfloat16(precision: str, device: str) -> None:
    """Say so where a CPU is slower in bfloat16 than in float32."""
    if precision != "bfloat16" or device != "cpu":
        return
    from fasa_cli.environment import bfloat16_slowdown

    if (factor := bfloat16_slowdown()) > _SLOW:
        say(
            f"warning: this processor takes {factor:.1f} times as long in bfloat16 as in float32; "
            "leave the precision at float32"
        )


def say(text: str) -> None:
    """Write one line to stderr; on a screen it is broken between words."""
    print(_for_screen(printable(text)), file=sys.stderr, flush=True)


def _for_screen(text: str) -> str:
    if not is_screen(sys.stderr):
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def is_screen(stream: IO[str]) -> bool:
    """Whether lines end somewhere: in a terminal, or where COLUMNS says so."""
    return stream.isatty() or "COLUMNS" in os.environ


class Progress:
    """Counts on stderr: in a terminal a bar with rate and time left, elsewhere a line at times."""

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        """`what` names the things that are counted, as in "images"; `done` of them were before."""
        self._total, self._what = total, what
        self._done = done
        self._said = time.monotonic()
        self._bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                desc=self._what,
                unit=f" {self._what}",
                file=sys.stderr,
                dynamic_ncols=True,
                leave=False,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def is_bar(self) -> bool:
        """Whether a terminal shows every count."""
        return self._bar is not None

    def advance(self, number: int = 1, **values: str) -> None:
        """Count one more, or several; a bar shows the `values` beside it."""
        self._done += number
        if self._bar is not None:
            if values:
                self._bar.set_postfix(values, refresh=False)
            self._bar.update(number)
        elif time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            say(f"{self._done} of {self._total} {self._what}")

    def note(self, text: str) -> None:
        """Say a line without tearing the bar."""
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            say(text)


class Ranking:
    """The `size` records to look at first: by false alarm rate, else by score, then by area."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self._heap: list[tuple[tuple[float, ...], int, ScanRecord]] = []

    def add(self, record: ScanRecord) -> None:
        self._seen += 1
        heapq.heappush(self._heap, (record.rank, -self._seen, record))
        if len(self._heap) > self._size:
            heapq.heappop(self._heap)

    def show(self, screen: Console | None = None) -> None:
        """Print what was found, first what to look at first, on stderr or `screen`; of a single
        photo its regions and the reasons for them. The same file twice is one row."""
        from rich.table import Table
        from rich.text import Text

        if not self._heap:
            return
        screen = screen or console()
        ranked = [entry[-1] for entry in sorted(self._heap, reverse=True)]
        if self._seen == 1:
            _show_photo(ranked[0], screen)
            return
        groups: dict[str, list[ScanRecord]] = {}
        for record in ranked:
            groups.setdefault(record.sha256, []).append(record)
        calibrated = any(record.false_alarm_rate is not None for record in ranked)
        has_bars = screen.width >= _WIDE and not calibrated
        table = Table()
        headings = ("band", "untouched") if calibrated else ("score", "")[: 1 + has_bars]
        for heading in headings:
            table.add_column(heading, no_wrap=True)
        table.add_column("marked", justify="right", no_wrap=True)
        table.add_column("found", min_width=_FOUND, max_width=3 * _FOUND)
        table.add_column("photo", overflow="fold")
        for record, *same in groups.values():
            score = [score_text(record.score_max), bar(record.score_max)][: 1 + has_bars]
            if calibrated:
                rate = record.false_alarm_rate
                score = [record.band or "-", "-" if rate is None else one_in(rate)]
            found = Text(", ".join(_findings(record)))
            name = record.name + (f" and {counted(len(same), 'copy', 'copies')}" if same else "")
            table.add_row(*score, _share(record.area_fraction), found, Text(printable(name)))
        screen.print(table)
        notes = []
        if calibrated:
            notes.append("untouched: how many untouched photos of the same kind score as high.")
        if self._seen > len(ranked):
            notes.append(f"The first {len(ranked)} of {self._seen} photos; all are in results.csv.")
        for note in notes:
            screen.print(Text(note), soft_wrap=not is_screen(screen.file))


def _share(share: float) -> str:
    return "<0.01%" if 0 < share < 0.00005 else f"{share:.2%}"


def _findings(record: ScanRecord) -> list[str]:
    """What a record says, in a few words."""
    pairs = len(record.copy_move)
    found = [counted(record.region_count, "region")] if record.region_count else []
    found += [counted(pairs, "copy-move pair")] if pairs else []
    if record.damaged:
        found.append(f"{_share(record.damaged_fraction)} damaged, not judged")
    if (record.lowered_fraction or 0) >= _NOTABLE:
        found.append(f"weak marks lowered on {_share(record.lowered_fraction or 0)}")
    found = found or ["nothing"]
    return [*found, *([counted(len(record.warnings), "warning")] if record.warnings else [])]


def _show_photo(record: ScanRecord, screen: Console) -> None:
    """All that was found in one photo: regions, copy-move pairs, and what weakens the result."""
    from rich.table import Table
    from rich.text import Text

    def line(text: str) -> None:
        screen.print(Text(printable(text)), soft_wrap=not is_screen(screen.file))

    from fasa_cli.scanning.sentences import (
        meaning,
        region_meaning,
        sorted_findings,
        unjudgeable_sentence,
    )

    band = f"{record.band}, " if record.band else ""
    line(
        f"{record.path}: {band}{_share(record.area_fraction)} of its pixels marked, "
        f"highest score {score_text(record.score_max)}"
    )
    for sentence in (*meaning(record), unjudgeable_sentence(record)):
        if sentence:
            line(sentence)
    if record.score_network is not None:
        parts = [f"network {score_text(record.score_network)}"]
        if record.copy_move:
            parts.append(f"copy-move {score_text(record.score_copy_move or 0.0)}")
        if record.lowered_fraction:
            parts.append(f"hysteresis took away {_share(record.lowered_fraction)} of the pixels")
        line(f"Apart: {', '.join(parts)}.")
    if record.regions:
        table = Table()
        for heading in ("region", "at x, y", "size", "pixels", "mean score", "highest"):
            table.add_column(heading, justify="right", no_wrap=True)
        for number, region in enumerate(record.regions[:_SHOWN_REGIONS], start=1):
            x, y, width, height = region.box
            scores = (score_text(region.mean_score), score_text(region.peak_score))
            place = (f"{x}, {y}", f"{width} x {height}", str(region.area))
            table.add_row(str(number), *place, *scores)
        screen.print(table)
    if (more := record.region_count - _SHOWN_REGIONS) > 0:
        line(f"{counted(more, 'smaller region')} not shown.")
    for number, region in enumerate(record.regions[:_SHOWN_REGIONS], start=1):
        if said := region_meaning(region):
            line(f"region {number}: {said}.")
        for speaks, finding in sorted_findings(region):
            line(f"  {_SPEAKS[speaks]} {finding.text}")
    for pair in record.copy_move:
        (x, y, width, height), (to_x, to_y, *to_size) = pair.boxes
        line(
            f"Duplicated regions (copy-move): {width} x {height} pixels at {x}, {y} and "
            f"{to_size[0]} x {to_size[1]} at {to_x}, {to_y}; probability "
            f"{score_text(pair.probability)}"
        )
    for warning in record.warnings:
        line(f"warning: {warning}")


def bar(share: float) -> str:
    """A bar of ten characters, filled to `share`, which is in [0, 1]; never empty above 0."""
    full, empty = "█", "·"
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        (full + empty).encode(encoding)
    except UnicodeEncodeError:
        full, empty = "#", "."
    length = 0 if share <= 0 else max(1, round(share * _BAR))
    return full * length + empty * (_BAR - length)


def console(stderr: bool = True) -> Console:
    """A console on stderr or stdout, as wide as COLUMNS says, else as the terminal.

    Into a file or a pipe it writes lines of ample width.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if is_screen(stream) else _WIDTH_ELSEWHERE
    return Console(stderr=stderr, width=width, highlight=False)


def show_tables(tables: Sequence[Table], console: Console, intervals: bool = True) -> None:
    """Print tables of metrics; notes that several in a row share stand below the last of them."""
    from rich.text import Text

    for number, table in enumerate(tables, start=1):
        _show_table(table, console, intervals)
        if number == len(tables) or tables[number].notes != table.notes:
            for note in table.all_notes():
                console.print(Text(printable(note)), soft_wrap=not is_screen(console.file))


def _show_table(table: Table, console: Console, intervals: bool) -> None:
    """Each block under its title, and what is too wide in parts."""
    from rich.table import Table as RichTable
    from rich.text import Text

    def style(text: str, mark: Mark | None) -> str:
        styles = {"best": f"[bold]{text}[/]", "second": f"[underline]{text}[/]"}
        return styles[mark] if mark else text

    console.print(Text(printable(table.title), style="bold"))
    for block in table.blocks:
        rows = list(table.texts(block, style, intervals))
        names, widths = _widths(table, console.width, intervals)
        console.print(Text(printable(block.title), style="italic"))
        for start, end in _parts(table, console.width, names, widths):
            drawn = RichTable()
            drawn.add_column(Text(printable(table.corner)), width=names, overflow="fold")
            for column, width in zip(table.columns[start:end], widths[start:end], strict=True):
                heading = "\n".join(map(printable, filter(None, (column.group, column.heading))))
                drawn.add_column(Text(heading), justify="right", width=width, overflow="fold")
            for name, *cells in rows:
                marked = (Text.from_markup(cell) for cell in cells[start:end])
                drawn.add_row(Text(printable(name)), *marked)
            console.print(drawn)


_FRAME = 3  # columns of the screen that a column of a table takes beside its text
_LONGEST_HEADING = 24  # characters on a line


def _widths(table: Table, available: int, intervals: bool) -> tuple[int, list[int]]:
    """How wide the names of rows are, and each column: no value is ever broken, names may be."""
    plain = [row for block in table.blocks for row in table.texts(block, lambda t, _: t, intervals)]
    widths = []
    for index, column in enumerate(table.columns, start=1):
        heading = min(max(len(column.group), len(column.heading)), _LONGEST_HEADING)
        widths.append(max([heading, *(len(row[index]) for row in plain)]))
    names = max([len(table.corner), *(len(printable(row[0])) for row in plain)])
    left = available - 1 - _FRAME - max(widths, default=0) - _FRAME
    return min(names, max(8, left)), widths


def _parts(
    table: Table, available: int, names: int, widths: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Columns from where to where fit side by side; groups stay together where they can."""
    room = available - 1 - names - _FRAME
    start = end = used = 0
    for _, span in table.groups():
        own = sum(widths[end : end + span]) + span * _FRAME
        if end > start and used + own > room:
            yield start, end
            start, used = end, 0
        for index in range(end, end + span):  # a group that is too wide by itself
            if index > start and used + widths[index] + _FRAME > room:
                yield start, index
                start, used = index, 0
            used += widths[index] + _FRAME
        end += span
    if end > start:
        yield start, end


def by_kind(counts: dict[str, int]) -> str:
    """{"missing": 2} -> " (2 missing)"; nothing for an empty one."""
    shown: Iterable[str] = (f"{number} {kind}" for kind, number in sorted(counts.items()))
    return f" ({', '.join(shown)})" if counts else ""

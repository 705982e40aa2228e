"""Tables of metrics, and how they are written: Markdown, CSV, LaTeX and HTML.

A table has blocks of rows. Within a block the best value of a column is bold and the second
underlined; measured and published figures stand in blocks of their own, never in one.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fasa_cli.files import csv_table

Mark = Literal["best", "second"]

# As in table headings, and in full.
METRIC_NAMES: dict[str, tuple[str, str]] = {
    "pixel_f1": ("F1", "pixel F1"),
    "pixel_iou": ("IoU", "pixel IoU"),
    "pixel_auc": ("AUC", "pixel AUC"),
    "pixel_f1_best": ("best F1", "pixel F1 at the best threshold"),
    "pixel_f1_permuted": ("perm. F1", "pixel F1, permuted"),
    "image_f1": ("image F1", "image F1"),
    "image_accuracy": ("image Acc", "image accuracy"),
    "image_auc": ("image AUC", "image AUC"),
    "false_alarm_share": ("alarms", "false alarms: share with any pixel marked"),
    "false_alarm_large_share": ("alarms > 1 %", "false alarms: share with over 1 % marked"),
    "false_alarm_area": ("alarm area", "false alarms: mean area marked"),
    "cllr": ("Cllr", "cost of the likelihood ratios, Cllr"),
    "cllr_min": ("Cllr min", "Cllr with the best calibration"),
    "equal_error_rate": ("EER", "equal error rate of images"),
}
LOWER_IS_BETTER = frozenset(
    name
    for name in METRIC_NAMES
    if name.startswith("false_alarm") or name in ("cllr", "cllr_min", "equal_error_rate")
)
DIGITS = 4  # as the paper prints them
INTERVALS = (
    "Intervals are 95 %, by bootstrap over images, manipulated and authentic ones apart; one "
    "without width says that the images of each kind have one result, not that others would."
)


@dataclass(frozen=True)
class Column:
    """`metric` is a name of `Scores`; `group` is what columns belong together by: a data set."""

    group: str
    metric: str
    heading: str

    @property
    def full(self) -> str:
        """Group and heading in one."""
        return f"{self.group} {self.heading}".strip()


@dataclass(frozen=True)
class Cell:
    """A value, None where it is not defined; its 95 % interval, and on how many images it rests."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    images: int | None = None
    skipped: int | None = None


@dataclass(frozen=True)
class Row:
    """One method's cells, one per column."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Rows that may be compared: of one source, one protocol and one threshold."""

    source: Literal["measured", "published"]
    rows: tuple[Row, ...]
    protocol: str
    threshold: float
    citation: str = ""

    @property
    def title(self) -> str:
        """What the rows are, in words."""
        origin = f" ({self.citation})" if self.citation else ""
        return f"{self.source}{origin}: protocol {self.protocol}, threshold {self.threshold:g}"

    def marks(self, index: int, column: Column) -> dict[int, Mark]:
        """Which rows hold the best and the second value of a column, as they are printed."""
        return _marks([row.cells[index] for row in self.rows], column.metric)


@dataclass(frozen=True)
class Table:
    """Blocks over common columns; `notes` say what a reader of the numbers must know."""

    title: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...] = ()
    corner: str = "Method"  # what the names of rows are
    methods_in: Literal["rows", "columns"] = "rows"  # the best of them is marked

    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group: its name and how many they are."""
        groups: list[tuple[str, int]] = []
        for column in self.columns:
            if groups and groups[-1][0] == column.group:
                groups[-1] = (column.group, groups[-1][1] + 1)
            else:
                groups.append((column.group, 1))
        return groups

    def all_notes(self) -> tuple[str, ...]:
        """The notes, and what marks and brackets mean."""
        cells = [cell for block in self.blocks for row in block.rows for cell in row.cells]
        of = "block" if self.methods_in == "rows" else "row"
        is_marked = any(any(marks) for block in self.blocks for marks in self._marks(block))
        legend = (f"Best of a {of} in bold, second underlined.",) if is_marked else ()
        intervals = (INTERVALS,) if any(cell.interval for cell in cells) else ()
        return (*self.notes, *legend, *intervals)

    def _marks(self, block: Block) -> list[list[Mark | None]]:
        """The marks of a block's cells, row by row."""
        if self.methods_in == "columns":
            metric = self.columns[0].metric  # that of all columns
            found = [_marks(row.cells, metric) for row in block.rows]
            return [[marks.get(index) for index in range(len(self.columns))] for marks in found]
        by_column = [block.marks(index, column) for index, column in enumerate(self.columns)]
        return [[marks.get(number) for marks in by_column] for number in range(len(block.rows))]

    def texts(
        self, block: Block, style: Callable[[str, Mark | None], str], intervals: bool = True
    ) -> Iterator[list[str]]:
        """A block's rows as text, the name first; `style` makes a marked value stand out."""
        for row, marks in zip(block.rows, self._marks(block), strict=True):
            cells = zip(row.cells, marks, strict=True)
            yield [
                row.name,
                *(
                    cell_text(cell, style=style, mark=mark, intervals=intervals)
                    for cell, mark in cells
                ),
            ]


def _marks(cells: Sequence[Cell], metric: str) -> dict[int, Mark]:
    """Which of the cells hold the best and the second value, as they are printed.

    Equal values share a mark; nothing is marked among fewer than two, nor second of two.
    """
    values = {
        number: round(cell.value, DIGITS)
        for number, cell in enumerate(cells)
        if cell.value is not None
    }
    ranking = sorted(set(values.values()), reverse=metric not in LOWER_IS_BETTER)
    marks: dict[int, Mark] = {}
    for number, value in values.items():
        if len(ranking) > 1 and value == ranking[0]:
            marks[number] = "best"
        if len(ranking) > 2 and value == ranking[1]:
            marks[number] = "second"
    return marks


def cell_text(
    cell: Cell,
    *,
    style: Callable[[str, Mark | None], str] = lambda text, mark: text,
    mark: Mark | None = None,
    intervals: bool = True,
) -> str:
    """`0.5783`, with its interval `0.5783 (0.541-0.618)`; `-` where there is no value."""
    if cell.value is None:
        return "-"
    text = style(f"{cell.value:.{DIGITS}f}", mark)
    if not intervals or cell.interval is None:
        return text
    low, high = cell.interval
    # A range's dash would read as a minus between differences.
    dash = "-" if low >= 0 else " to "
    return f"{text} ({low:.3f}{dash}{high:.3f})"


# --- Formats ----------------------------------------------------------------------------------


def to_markdown(table: Table, intervals: bool = True) -> str:
    """One Markdown table per block, under its title, and the notes below."""

    def style(text: str, mark: Mark | None) -> str:
        marked = {"best": f"**{text}**", "second": f"<u>{text}</u>"}
        return marked[mark] if mark else text

    parts = [f"**{_md(table.title)}**\n"]
    for block in table.blocks:
        headings = [_md(table.corner), *(_md(column.full) for column in table.columns)]
        lines = [f"{_md(block.title)}\n", _md_row(headings)]
        lines.append(_md_row(["---"] + ["---:"] * len(table.columns)))
        for name, *cells in table.texts(block, style, intervals):
            lines.append(_md_row([_md(name), *cells]))
        parts.append("\n".join(lines) + "\n")
    parts.append("\n".join(f"- {_md(note)}" for note in table.all_notes()) + "\n")
    return "\n".join(parts)


def to_csv(table: Table) -> str:
    """A line per row; a value's interval stands in columns after it, and so do the numbers of
    images counted and skipped of each group.

    `source` is "measured" or "published" in every line; published figures leave empty what is not
    known of them.
    """

    def rows() -> Iterator[Mapping[str, object]]:
        for block in table.blocks:
            for row in block.rows:
                line: dict[str, object] = {
                    "source": block.source,
                    "citation": block.citation,
                    "method": row.name,
                    "protocol": block.protocol,
                    "threshold": block.threshold,
                }
                for column, cell in zip(table.columns, row.cells, strict=True):
                    key = f"{column.group} {column.metric}".strip()
                    low, high = cell.interval or (None, None)
                    line |= {key: cell.value, f"{key} low": low, f"{key} high": high}
                    counts = {"images": cell.images, "skipped": cell.skipped}
                    line |= {f"{column.group} {name}".strip(): n for name, n in counts.items()}
                yield line

    return "".join(csv_table(rows()))


def to_latex(table: Table, intervals: bool = True) -> str:
    """A `table` with booktabs (`\\usepackage{booktabs}`), a group of columns per data set."""

    def style(text: str, mark: Mark | None) -> str:
        marked = {"best": f"\\textbf{{{text}}}", "second": f"\\underline{{{text}}}"}
        return marked[mark] if mark else text

    width = len(table.columns) + 1
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_tex(table.title)}. {_tex(' '.join(_sentences(table)))}}}",
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        "\\toprule",
    ]
    grouped = [(group, span) for group, span in table.groups()]
    if any(group for group, _ in grouped):
        heads = [f"\\multicolumn{{{span}}}{{c}}{{{_tex(group)}}}" for group, span in grouped]
        lines.append(" & ".join(["", *heads]) + " \\\\")
        start = 2
        for group, span in grouped:
            if group:
                lines.append(f"\\cmidrule(lr){{{start}-{start + span - 1}}}")
            start += span
    headings = [_tex(table.corner), *(_tex(column.heading) for column in table.columns)]
    lines.append(" & ".join(headings) + " \\\\")
    for block in table.blocks:
        lines.append("\\midrule")
        lines.append(f"\\multicolumn{{{width}}}{{l}}{{\\emph{{{_tex(block.title)}}}}} \\\\")
        for name, *cells in table.texts(block, style, intervals):
            lines.append(
                " & ".join([_tex(name), *(cell.replace("-", "--") for cell in cells)]) + " \\\\"
            )
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def to_html(tables: Sequence[Table], intervals: bool = True) -> str:
    """A page that needs no other file: per table a body of rows per block, and the notes below."""
    return _PAGE.format(
        title=html.escape(tables[0].title),
        style=_STYLE,
        tables="\n".join(_html_table(table, intervals) for table in tables),
    )


def _html_table(table: Table, intervals: bool) -> str:
    def style(text: str, mark: Mark | None) -> str:
        marked = {"best": f"<b>{text}</b>", "second": f"<u>{text}</u>"}
        return marked[mark] if mark else text

    escape = html.escape
    groups = "".join(
        f'<th colspan="{span}" scope="colgroup">{escape(group)}</th>'
        for group, span in table.groups()
    )
    headings = "".join(f'<th scope="col">{escape(column.heading)}</th>' for column in table.columns)
    lines = [
        f"<h1>{escape(table.title)}</h1>",
        "<table>",
        f"<thead>\n<tr><th></th>{groups}</tr>",
        f'<tr><th scope="col">{escape(table.corner)}</th>{headings}</tr>\n</thead>',
    ]
    for block in table.blocks:
        span = len(table.columns) + 1
        lines.append(f'<tbody class="{block.source}">')
        lines.append(f'<tr class="block"><th colspan="{span}">{escape(block.title)}</th></tr>')
        for name, *cells in table.texts(block, style, intervals):
            values = "".join(f"<td>{cell}</td>" for cell in cells)
            lines.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
        lines.append("</tbody>")
    notes = [f"<li>{escape(note)}</li>" for note in table.all_notes()]
    return "\n".join([*lines, "</table>", "<ul>", *notes, "</ul>"])


_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap; }
thead th { border-bottom: 1px solid; } thead tr:first-child th { text-align: center; }
tbody th, thead tr:last-child th:first-child { text-align: left; font-weight: normal; }
.block th { border-top: 1px solid; font-style: italic; }
.published { background: #f3f3f3; }
ul { padding-left: 1.2rem; color: #444; }
""".strip()

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
{tables}
</body>
</html>
"""


def _sentences(table: Table) -> Iterator[str]:
    for note in table.all_notes():
        yield note if note.endswith(".") else f"{note}."


def _md_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md(text: str) -> str:
    for character in "\\|*_<`":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _tex(text: str) -> str:
    special = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    special |= {"<": "\\textless{}", ">": "\\textgreater{}"}
    return " ".join("".join(special.get(character, character) for character in text).split())

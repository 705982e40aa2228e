"""Tables of saved evaluations in the shape of the paper's Tables 1-4, published figures beside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from fasa_cli.errors import ConfigError, OutputError
from fasa_cli.evaluation.evidence import EVIDENCE_METRICS
from fasa_cli.evaluation.metrics import mean
from fasa_cli.evaluation.published import AVERAGE, PublishedTable, published_tables
from fasa_cli.evaluation.runs import EvaluationRun
from fasa_cli.evaluation.tables import METRIC_NAMES, Block, Cell, Column, Row, Table
from fasa_cli.text import counted

DEFAULT_METRICS = ("pixel_f1", "pixel_iou", "pixel_auc")
ABLATION = 4  # the table that gives averages only
# What data sets of the paper are called elsewhere, as letters and digits.
_ALIASES = {"casia1": "casiav1", "casia10": "casiav1", "flux1dev": "flux1", "flux": "flux1"}

Key = tuple[str, float]  # protocol and threshold: rows of one key may be compared


def evaluation_table(
    runs: Sequence[EvaluationRun],
    *,
    number: int | None = None,
    metrics: Sequence[str] | None = None,
    with_published: bool = False,
) -> Table:
    """Methods by row, data sets by column, with their average.

    `number` gives the columns of one of the paper's tables, `metrics` others. With published
    figures the average is over the paper's sets, so that it may be laid beside theirs.

    Raises:
        ConfigError: there is no such table or metric, or published figures are asked for without
            saying of which table.
        OutputError: two runs are of the same method and set, or call different data one name.
    """
    paper = _paper(number)
    if with_published and paper is None:
        raise ConfigError("--published: say of which of the paper's tables, with --table 1 to 4")
    chosen = tuple(metrics or (paper.metrics if paper else DEFAULT_METRICS))
    if unknown := [name for name in chosen if name not in METRIC_NAMES]:
        raise ConfigError(f"no metric {unknown[0]!r}; there are {', '.join(METRIC_NAMES)}")
    published = paper if with_published and paper else None
    cells = _by_place(runs, paper)
    datasets = _datasets(cells, paper, published)
    averaged = published.datasets if published and published.datasets else tuple(datasets)
    shown = [] if number == ABLATION else datasets
    has_average = number is not None or len(datasets) > 1
    columns = [Column(each, name, METRIC_NAMES[name][0]) for each in shown for name in chosen]
    if has_average:
        columns += [Column(AVERAGE, name, METRIC_NAMES[name][0]) for name in chosen]
    blocks = [
        Block("measured", _rows(rows, columns, averaged), protocol, threshold)
        for (protocol, threshold), rows in cells.items()
    ]
    notes = list(_count_notes(cells))
    if has_average and cells:
        notes.append(f"Average of the measured: over {', '.join(averaged)}, where all are there.")
    if published:
        blocks.append(_published_block(published, columns))
        notes += _published_notes(published, cells)
    of_paper = paper is not None and datasets and set(datasets) <= set(paper.datasets)
    title = paper.title if paper and (published or of_paper) else "Evaluation"
    return Table(title, tuple(columns), tuple(blocks), tuple(notes))


def _paper(number: int | None) -> PublishedTable | None:
    if number is None:
        return None
    tables = published_tables()
    if number not in tables:
        raise ConfigError(f"--table {number}: the paper has tables 1 to {max(tables)}")
    return tables[number]


Rows = dict[str, dict[str, EvaluationRun]]  # method -> data set -> run


def _by_place(runs: Iterable[EvaluationRun], paper: PublishedTable | None) -> dict[Key, Rows]:
    places: dict[Key, Rows] = {}
    data: dict[str, EvaluationRun] = {}
    for run in runs:
        name = _dataset_name(run.data_name, paper)
        other = data.setdefault(name, run)
        if other.about["data"]["sha256"] != run.about["data"]["sha256"]:
            raise OutputError(
                f"{other.folder} and {run.folder}: different data, both called {name}"
            )
        rows = places.setdefault((run.scores.protocol, run.scores.threshold), {})
        row = rows.setdefault(_row_name(run), {})
        if name in row:
            raise OutputError(
                f"{row[name].folder} and {run.folder}: both are {_row_name(run)} on {name}; leave "
                "one out, or evaluate with another --name"
            )
        row[name] = run
    return places


def _row_name(run: EvaluationRun) -> str:
    return run.name if run.degradation.is_clean else f"{run.name}, {run.degradation.name}"


def _dataset_name(name: str, paper: PublishedTable | None) -> str:
    """The paper's own spelling for one of its data sets."""
    bare = _bare(name)
    known = {_bare(each): each for each in paper.datasets} if paper else {}
    return known.get(_ALIASES.get(bare, bare), name)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _datasets(
    cells: Mapping[Key, Rows], paper: PublishedTable | None, published: PublishedTable | None
) -> list[str]:
    """Those of the paper in its order, then the others as they come."""
    met = {name: None for rows in cells.values() for row in rows.values() for name in row}
    first = [name for name in paper.datasets if published or name in met] if paper else []
    return [*first, *(name for name in met if name not in first)]


def _rows(rows: Rows, columns: Sequence[Column], averaged: Sequence[str]) -> tuple[Row, ...]:
    def cell(row: Mapping[str, EvaluationRun], column: Column) -> Cell:
        if column.group != AVERAGE:
            return _cell(row.get(column.group), column.metric)
        values = [_cell(row.get(name), column.metric).value for name in averaged]
        complete = values and None not in values
        runs = [row[name] for name in averaged if name in row]
        return (
            Cell(
                mean(values),
                images=sum(run.scores.images for run in runs),
                skipped=sum(run.scores.skipped for run in runs),
            )
            if complete
            else Cell()
        )

    return tuple(
        Row(name, tuple(cell(row, column) for column in columns)) for name, row in rows.items()
    )


def _cell(run: EvaluationRun | None, metric: str) -> Cell:
    if run is None:
        return Cell()
    scores = run.scores
    if metric in EVIDENCE_METRICS:
        found = run.evidence or {}
        interval = found.get(f"{metric}_interval")
        return Cell(found.get(metric), interval and tuple(interval), scores.images, scores.skipped)
    return Cell(getattr(scores, metric), run.intervals.get(metric), scores.images, scores.skipped)


def _published_block(table: PublishedTable, columns: Sequence[Column]) -> Block:
    def cell(values: Mapping[str, tuple[float, ...]], column: Column) -> Cell:
        if column.group not in values or column.metric not in table.metrics:
            return Cell()
        return Cell(values[column.group][table.metrics.index(column.metric)])

    rows = tuple(
        Row(name, tuple(cell(values, column) for column in columns))
        for name, values in table.rows.items()
    )
    return Block("published", rows, table.protocol, table.threshold, table.citation)


def _published_notes(table: PublishedTable, cells: Mapping[Key, Rows]) -> list[str]:
    notes = [
        f"Published: as printed in {table.citation}, averages included; not measured by fasa, "
        "numbers of images not stated there."
    ]
    if any(key != (table.protocol, table.threshold) for key in cells):
        notes.append(
            f"Published figures follow protocol {table.protocol} at threshold "
            f"{table.threshold:g}; measured rows of another one cannot be compared with them."
        )
    return notes


def _count_notes(cells: Mapping[Key, Rows]) -> list[str]:
    """How many images each number rests on: once per data set where all rows agree."""
    counts: dict[str, dict[str, list[str]]] = {}
    for (protocol, threshold), rows in cells.items():
        for method, row in rows.items():
            for dataset, run in row.items():
                who = f"{method} ({protocol}, > {threshold:g})"
                counts.setdefault(dataset, {}).setdefault(count_text(run), []).append(who)
    notes = []
    for dataset, texts in counts.items():
        for text, methods in texts.items():
            whose = f" ({'; '.join(methods)})" if len(texts) > 1 else ""
            notes.append(f"{dataset}{whose}: {text}.")
    return notes


def count_text(run: EvaluationRun) -> str:
    """`190 images (150 manipulated), 0 skipped`, and what pixel metrics rest on if on fewer."""
    scores = run.scores
    images = counted(scores.images, "image")
    text = f"{images} ({scores.manipulated} manipulated), {scores.skipped} skipped"
    if scores.pixel_images != scores.manipulated:
        text += f", pixel metrics over {scores.pixel_images}"
    return text

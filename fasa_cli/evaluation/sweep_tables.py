"""A robustness sweep as tables and as curves."""

from __future__ import annotations

from pathlib import Path

from fasa_cli.evaluation.curves import Line, Panel, draw_curves
from fasa_cli.evaluation.result_tables import count_text
from fasa_cli.evaluation.runs import (
    EvaluationRun,
)
from fasa_cli.evaluation.sweeps import CURVES, Sweep
from fasa_cli.evaluation.tables import METRIC_NAMES, Block, Cell, Column, Row, Table
from fasa_cli.files import write_atomically
from fasa_cli.imaging.degradations import Degradation

TITLES = {
    "jpeg": ("JPEG compression", "quality"),
    "blur": ("Gaussian blur", "kernel (pixels)"),
    "noise": ("Gaussian noise", "variance (squared grey levels)"),
    "resize": ("Resizing", "size of the sides (%)"),
}


def sweep_tables(sweep: Sweep, metric: str = "pixel_f1") -> list[Table]:
    """A table per degradation: severities by row, from clean on, and methods by column."""
    tables = []
    methods = sweep.methods()
    for kind in sweep.kinds:
        title, axis = TITLES[kind]
        columns = tuple(Column("", metric, name) for name in methods)
        rows = tuple(
            Row(_tick(point), tuple(_cell(runs[point.name], metric) for runs in methods.values()))
            for point in sweep.severities(kind)
        )
        block = Block("measured", rows, sweep.about["protocol"], sweep.about["threshold"])
        heading = f"{sweep.about['data']['name']}: {METRIC_NAMES[metric][1]}, {title}"
        tables.append(Table(heading, columns, (block,), _notes(sweep), axis, "columns"))
    return tables


def write_curves(sweep: Sweep, metric: str = "pixel_f1") -> list[Path]:
    """Draw `robustness.png` and `robustness.svg`, in the form of the paper's Figure 5.

    Raises:
        OutputError: they cannot be written.
    """
    panels = []
    for kind in sweep.kinds:
        title, axis = TITLES[kind]
        severities = sweep.severities(kind)
        lines = []
        for name, runs in sweep.methods().items():
            cells = [_cell(runs[point.name], metric) for point in severities]
            values = tuple(cell.value for cell in cells)
            lines.append(Line(name, values, tuple(cell.interval for cell in cells)))
        ticks = tuple(_tick(point) for point in severities)
        panels.append(Panel(title, axis, ticks, tuple(lines)))
    title = (
        f"{sweep.about['data']['name']}: {'; '.join(_counts(sweep))}\n"
        f"protocol {sweep.about['protocol']}, threshold {sweep.about['threshold']:g}"
    )
    paths = []
    for kind, data in draw_curves(panels, title, METRIC_NAMES[metric][1]).items():
        paths.append(sweep.folder / f"{CURVES}.{kind}")
        write_atomically(paths[-1], data)
    return paths


def _cell(run: EvaluationRun, metric: str) -> Cell:
    scores = run.scores
    value = getattr(scores, metric)
    return Cell(value, run.intervals.get(metric), scores.images, scores.skipped)


def _tick(point: Degradation) -> str:
    return "clean" if point.is_clean else str(point.severity)


def _notes(sweep: Sweep) -> tuple[str, ...]:
    notes = dict.fromkeys(note for run in sweep.runs for note in run.notes)
    return (*(f"{text}." for text in _counts(sweep)), *notes)


def _counts(sweep: Sweep) -> list[str]:
    """On how many images the numbers rest; by method and severity where they differ."""
    counts: dict[str, list[str]] = {}
    for run in sweep.runs:
        counts.setdefault(count_text(run), []).append(f"{run.name} {run.degradation.name}")
    if len(counts) == 1:
        return list(counts)
    return [f"{', '.join(who)}: {text}" for text, who in counts.items()]

"""`fasa report`: tables of saved evaluations and sweeps, and the summary of a scan."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands.display import (
    NOT_A_VERDICT,
    Ranking,
    bar,
    by_kind,
    console,
    is_screen,
    say,
    show_tables,
)
from fasa_cli.commands.html import check_report, write_report
from fasa_cli.commands.options import Case, Examiner, Note, OriginalsAt, Redact
from fasa_cli.errors import OutputError
from fasa_cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from fasa_cli.evaluation.tables import Table
    from fasa_cli.scanning.saved_run import SavedRun

FORMATS = ("terminal", "markdown", "csv", "latex", "html")
_SUFFIXES = {".md": "markdown", ".csv": "csv", ".tex": "latex", ".html": "html", ".htm": "html"}
_SHOWN = 10  # failures; the record has them all
_BINS = 10  # of scores
_WHAT = "name a folder that fasa scan, evaluate or robustness wrote"


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN...",
            help="Folders of evaluations (or with evaluations below), of a sweep, or of one scan.",
        ),
    ] = None,
    table: Annotated[
        int | None,
        typer.Option(min=1, max=4, metavar="1-4", help="In the shape of this table of the paper."),
    ] = None,
    published: Annotated[
        bool,
        typer.Option("--published", help="With the paper's own figures, in a block of their own."),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC,...",
            help="Other columns: pixel_f1, pixel_iou, pixel_auc, pixel_f1_best, "
            "pixel_f1_permuted, image_f1, image_accuracy, image_auc, false_alarm_share ...",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="How tables are written.",
            show_default="terminal, or after the suffix of --out",
        ),
    ] = None,
    intervals: Annotated[
        bool, typer.Option("--intervals/--no-intervals", help="With 95 % intervals.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write here, not to stdout.")
    ] = None,
    top: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Of a scan: how many images, first what to look at."),
    ] = 10,
    redact: Redact = "paths,gps",
    originals_at: OriginalsAt = None,
    case: Case = None,
    examiner: Examiner = None,
    note: Note = None,
) -> None:
    """Show saved results: evaluations and sweeps as tables, a scan as a summary.

    A scan with --out FILE.html becomes one page with its photos, for a browser.

    Measured and published figures are never mixed: each block says what it holds.
    """
    runs = runs or []
    for run in runs:
        _check_place(run)
    format = _format(format, out)
    chosen = metrics.split(",") if metrics else None
    if scans := [run for run in runs if _holds(run, "_fasa/run.json")]:
        if len(runs) > 1:
            raise typer.BadParameter(f"{scans[0]} is a scan; report on it alone")
        about = {"Case": case, "Examiner": examiner, "Note": note}
        _report_scan(scans[0], top, format, redact, out, about, originals_at)
    elif sweeps := [run for run in runs if _holds(run, "robustness.json")]:
        if len(runs) > 1 or table or published:
            raise typer.BadParameter(f"{sweeps[0]} is a sweep; report on it alone, as it is")
        _report_sweep(sweeps[0], chosen, format, intervals, out)
    else:
        tables = [_evaluation_table(runs, table, chosen, published)]
        _write_tables(tables, format, intervals, out)


def _check_place(run: Path) -> None:
    """
    Raises:
        OutputError: there is no folder, or none of what is reported on is in it or below it.
    """
    if not run.is_dir():
        reason = "is a file, no folder of results" if run.exists() else "no such folder"
        raise OutputError(f"{run}: {reason}; {_WHAT}")
    names = ("_fasa/run.json", "robustness.json", "evaluation.json")
    if not any(_holds(run, name) for name in names) and not any(run.rglob("evaluation.json")):
        raise OutputError(f"{run}: holds no scan, no evaluation and no sweep; {_WHAT}")


def _format(format: str | None, out: Path | None) -> str:
    if format is None:
        format = _SUFFIXES.get(out.suffix.lower()) if out else "terminal"
    if format not in FORMATS or (out and format == "terminal"):
        written = ", ".join(_SUFFIXES)
        raise typer.BadParameter(f"--format is {', '.join(FORMATS)}; --out ends in {written}")
    return format


def _holds(run: Path, name: str) -> bool:
    return (run / name).is_file()


def _evaluation_table(
    runs: Sequence[Path], number: int | None, metrics: list[str] | None, published: bool
) -> Table:
    from fasa_cli.evaluation.result_tables import evaluation_table
    from fasa_cli.evaluation.runs import find_evaluations

    if not runs and not published:
        raise typer.BadParameter("name the folder of an evaluation, a sweep or a scan")
    found = [each for run in runs for each in find_evaluations(run)]
    return evaluation_table(found, number=number, metrics=metrics, with_published=published)


def _report_sweep(
    run: Path, metrics: list[str] | None, format: str, intervals: bool, out: Path | None
) -> None:
    from fasa_cli.evaluation.metrics import METRICS
    from fasa_cli.evaluation.sweep_tables import sweep_tables
    from fasa_cli.evaluation.sweeps import read_sweep, sweep_csv

    sweep = read_sweep(run)
    names = metrics or ["pixel_f1"]
    if unknown := [name for name in names if name not in METRICS]:
        raise typer.BadParameter(f"no metric {unknown[0]!r}; there are {', '.join(METRICS)}")
    if format == "csv":  # a line per severity, with every metric
        _write("".join(sweep_csv(sweep.runs)), format, out)
    else:
        tables = [table for name in names for table in sweep_tables(sweep, name)]
        _write_tables(tables, format, intervals, out)


def _write_tables(tables: Sequence[Table], format: str, intervals: bool, out: Path | None) -> None:
    from fasa_cli.evaluation.tables import to_csv, to_html, to_latex, to_markdown

    if format == "terminal":
        show_tables(tables, console(stderr=False), intervals)
    elif format == "html":
        _write(to_html(tables, intervals), format, out)
    elif format == "csv":
        _write("".join(map(to_csv, tables)), format, out)
    else:
        written = to_markdown if format == "markdown" else to_latex
        _write("\n".join(written(table, intervals) for table in tables), format, out)


def _write(text: str, format: str, out: Path | None) -> None:
    from fasa_cli.files import write_atomically

    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode("utf-8", "backslashreplace"))
        say(f"{format} in {out}")


# --- A scan -----------------------------------------------------------------------------------


def _report_scan(
    run: Path,
    top: int,
    format: str,
    redact: str,
    out: Path | None,
    about: dict[str, str | None],
    originals_at: Path | None,
) -> None:
    from fasa_cli.scanning.saved_run import SavedRun

    if format == "terminal":
        _show_scan(SavedRun(run), top)
    elif format == "html" and out:
        check_report(out, redact)
        write_report(run, out, redact, about, originals_at)
    else:
        raise typer.BadParameter("a scan is shown here, or as a page with --out FILE.html")


def _show_scan(run: SavedRun, top: int) -> None:
    from collections import Counter
    from itertools import islice

    from fasa_cli.scanning.sentences import BandCounts

    about = run.description
    screen = console(stderr=False)
    ranking = Ranking(top)
    bands = BandCounts()
    histogram = [0] * _BINS
    for record in run.records():
        ranking.add(record)
        bands.add(record)
        histogram[min(int(record.score_max * _BINS), _BINS - 1)] += 1
    failures = list(run.failures())
    skipped = Counter(each.kind for each in run.skipped())
    weights = about["weights"]
    lines = [
        f"{run.out}: scan of {about['started']}, {about['status']}; fasa {about['version']}",
        f"weights {weights['preset']} {weights['sha256'][:12]}, threshold {run.threshold:g}, "
        f"on {about['device']}",
        f"{sum(histogram)} analysed, "
        f"{len(failures)} failed{by_kind(Counter(each.kind for each in failures))}, "
        f"{skipped.total()} skipped{by_kind(skipped)}",
    ]
    if about["status"] != "complete":
        lines.append("the scan did not end; the same command resumes it")
    for line in lines:
        _line(screen, line)
    _line(screen, "\nImages by score:")
    for index, number in enumerate(histogram):
        low, high = index / _BINS, (index + 1) / _BINS
        share = number / max(histogram) if number else 0.0
        _line(screen, f"  {low:.1f}-{high:.1f}  {bar(share)} {number}")
    for band, reached, expected in bands.rows():
        _line(screen, f"{band} or stronger: {reached}; expected if none was changed: {expected}")
    ranking.show(screen)
    if failures:
        _line(screen, "Not analysed:")
    for failure in islice(failures, _SHOWN):
        _line(screen, f"  {failure.path}: {failure.reason}")
    if len(failures) > _SHOWN:
        where = run.out / "_fasa" / "errors.jsonl"
        _line(screen, f"  and {len(failures) - _SHOWN} more, in {where}")
    _line(screen, NOT_A_VERDICT)


def _line(screen: Console, text: str) -> None:
    from rich.text import Text

    shown = Text("\n".join(map(printable, text.split("\n"))))
    screen.print(shown, soft_wrap=not is_screen(screen.file))

"""`fasa data`: check a data set before it is used, and show samples of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import Progress, say
from fasa_cli.commands.options import Layout, Root
from fasa_cli.text import counted

if TYPE_CHECKING:
    from fasa_cli.data.checking import Report
    from fasa_cli.data.samples import Dataset

_SHOWN = 5  # problems of a kind; --json has them all

app = typer.Typer(
    no_args_is_help=True, help="Check data sets and show samples of them, in any known layout."
)

DatasetPath = Annotated[
    Path, typer.Argument(metavar="DATASET", help="A folder, a .json or .txt list, or parquet.")
]


@app.command("check")
def check(
    dataset: DatasetPath,
    layout: Layout = None,
    root: Root = None,
    against: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="A data set to share no picture with.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The report on stdout as JSON.")] = False,
) -> None:
    """Read every image and mask and say what is wrong: files without a partner, sizes that do not
    fit, damage, masks that mark nothing, duplicate pictures, and pictures that are in OTHER too.

    Exit codes: 0 nothing is wrong; 1 stopped by an error; 2 usage; 3 problems were found.
    """
    from fasa_cli.data import checking

    chosen = _open(dataset, layout, root)
    other = _open(against) if against else None
    total = checking.count(chosen) + checking.count(other)
    with Progress(total, "images") as progress:
        report = checking.check(chosen, other, progress.advance)
    if json:
        _write(report)
    _show(report)
    raise typer.Exit(ExitCode.PROBLEMS if report.problems else ExitCode.DONE)


@app.command("show")
def show(
    dataset: DatasetPath,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The picture: .png or .jpg.")
    ],
    layout: Layout = None,
    root: Root = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="How many samples.")] = 12,
) -> None:
    """Draw a contact sheet: images, what their masks mark, and names, spread over the data set."""
    from fasa_cli.data.contact_sheet import contact_sheet, spread
    from fasa_cli.files import write_atomically
    from fasa_cli.imaging.encode import encode_jpeg, encode_png

    encoders = {".png": encode_png, ".jpg": encode_jpeg, ".jpeg": encode_jpeg}
    if out.suffix.lower() not in encoders:
        raise typer.BadParameter(f"{out}: write a name that ends in .png or .jpg")
    samples = spread(_open(dataset, layout, root), count)
    write_atomically(out, encoders[out.suffix.lower()](contact_sheet(samples)))
    say(f"{len(samples)} samples in {out}")


def _open(path: Path, layout: str | None = None, root: Path | None = None) -> Dataset:
    from fasa_cli.data.datasets import read_dataset

    return read_dataset(path, layout=layout, root=root, lenient=True)


def _write(report: Report) -> None:
    from dataclasses import asdict

    from fasa_cli.files import json_line

    sys.stdout.write(json_line({"schema_version": 1, **asdict(report)}))


def _show(report: Report) -> None:
    say(
        f"{report.name}: {counted(report.images, 'image')}: {report.manipulated} manipulated, "
        f"{report.authentic} authentic"
    )
    if report.shares:
        low, middle, high = report.shares
        say(f"share marked: {low:.2%} to {high:.2%}, median {middle:.2%}")
    if report.fully_marked:
        say(f"{report.fully_marked} images are marked as a whole")
    for note in report.notes:
        say(f"note: {note}")
    for kind, number in sorted(report.kinds.items()):
        say(f"{kind}: {number}")
        wheres = [problem.where for problem in report.problems if problem.kind == kind]
        for where in wheres[:_SHOWN]:
            say(f"  {where}")
        if number > _SHOWN:
            say(f"  and {number - _SHOWN} more; --json lists them all")
    if not report.problems:
        say("nothing is wrong")

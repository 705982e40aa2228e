"""`fasa robustness`: how scores fall as images are compressed, blurred, made noisy or resized."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import Progress, console, say, show_tables
from fasa_cli.commands.options import (
    Device,
    EncoderWeights,
    Layout,
    Protocol,
    Root,
    Threshold,
    parse_range,
)

if TYPE_CHECKING:
    from fasa_cli.evaluation.sweeps import Answering, Method
    from fasa_cli.imaging.degradations import Degradation

# What a range without a step goes through (section 4.3 and IMDL-BenCo's sweeps).
DEFAULTS: dict[str, int | Sequence[int]] = {
    "jpeg": 10,
    "blur": (0, *range(3, 200, 4)),  # 0, 3, 7, ..., 23
    "noise": (0, *range(3, 10_000, 4)),
    "resize": 10,
}


def _range_option(kind: str, example: str, text: str) -> typer.models.OptionInfo:
    def check(value: str | None) -> str | None:
        if value is not None:
            parse_range(value, DEFAULTS[kind])
        return value

    option: typer.models.OptionInfo = typer.Option(
        metavar="RANGE", callback=check, help=f"{text}: {example}."
    )
    return option


def robustness(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A data set.", show_default="the examples"),
    ] = None,
    jpeg: Annotated[
        str | None,
        _range_option("jpeg", "50..100 (every 10), 50..100:5, or 50,75,90", "JPEG qualities"),
    ] = None,
    blur: Annotated[
        str | None,
        _range_option("blur", "0..23 (0, 3, 7, ... 23), or 3,9", "Gaussian blur, odd kernels"),
    ] = None,
    noise: Annotated[
        str | None,
        _range_option("noise", "3..23 (3, 7, ... 23), or 25,100", "Gaussian noise, variances"),
    ] = None,
    resize: Annotated[
        str | None,
        _range_option("resize", "50..100 (every 10), or 25,50,200", "Sizes of the sides in %"),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Weights file; several, one --weights each.",
            show_default="the one that comes with fasa",
        ),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Another method's masks or maps of the degraded images, in a folder per "
            "severity: DIR/clean, DIR/jpeg-50, DIR/blur-3 ...; several as with --weights.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="What to call them: one --name each, weights first, then predictions.",
        ),
    ] = None,
    protocol: Protocol = "native",
    threshold: Threshold = 0.5,
    metric: Annotated[
        str, typer.Option(metavar="METRIC", help="What the table and the curves show.")
    ] = "pixel_f1",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="The folder for the results.",
            show_default="one in runs/robustness, after data and degradations",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Only write the degraded images, as data sets DIR/clean, DIR/jpeg-50 ..., for "
            "other methods to predict.",
        ),
    ] = None,
    layout: Layout = None,
    root: Root = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="The sweep on stdout as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what RUN holds.")] = False,
) -> None:
    """Score weights files, or any method's masks, on a data set at rising severities.

    Images are degraded at their own size, and masks follow; clean is always there. The same
    command again resumes a sweep that stopped; another range adds its points to it. Without DATA
    it runs on the example photos.
    """
    from fasa_cli.assets import shipped_examples, shipped_weights
    from fasa_cli.data.datasets import read_dataset
    from fasa_cli.evaluation.metrics import METRICS
    from fasa_cli.evaluation.runs import Data, folder_name, method_name
    from fasa_cli.evaluation.sweep_tables import sweep_tables, write_curves
    from fasa_cli.evaluation.sweeps import (
        export_points,
        own_folder,
        points_of,
        sweep,
        with_earlier_points,
    )
    from fasa_cli.files import json_line

    given = {"jpeg": jpeg, "blur": blur, "noise": noise, "resize": resize}
    ranges = {kind: parse_range(text, DEFAULTS[kind]) for kind, text in given.items() if text}
    if not ranges:
        raise typer.BadParameter("give at least one of --jpeg, --blur, --noise, --resize")
    if metric not in METRICS:
        raise typer.BadParameter(f"no metric {metric!r}; there are {', '.join(METRICS)}")
    try:
        points = points_of(ranges)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    path = data or shipped_examples()
    dataset = read_dataset(path, layout=layout, root=root)
    if export:
        with Progress(len(dataset) * len(points), "images") as progress:
            skipped = export_points(dataset, points, export, advance=progress.advance)
        for reason in skipped:
            say(f"skipped: {reason}")
        say(f"{len(points)} data sets in {export}: {', '.join(point.name for point in points)}")
        raise typer.Exit(ExitCode.INCOMPLETE if skipped else ExitCode.DONE)

    files = list(weights or ([] if predictions else [shipped_weights()]))
    folders = list(predictions or [])
    names = list(name or map(method_name, [*files, *folders]))
    if len(names) != len(files) + len(folders) or len(set(names)) != len(names):
        raise typer.BadParameter(
            f"{len(files) + len(folders)} methods are called {', '.join(names)}; give each a name "
            "of its own, one --name each"
        )
    measured = Data.of(dataset, path)
    if out is None:
        usual = folder_name(f"{measured.name}-{'-'.join(ranges)}-{protocol}")
        out = Path("runs/robustness", usual)
        out = out if overwrite else own_folder(out, measured, names, threshold)
    if not overwrite:
        points = with_earlier_points(points, out)
    methods = _methods(names, files, folders, points, device, encoder_weights)
    with Progress(len(dataset) * len(points) * len(methods), "images") as progress:
        result = sweep(
            methods,
            measured,
            points,
            out,
            protocol=protocol,
            threshold=threshold,
            overwrite=overwrite,
            argv=sys.argv,
            advance=progress.advance,
        )
    show_tables(sweep_tables(result, metric), console())
    curves = write_curves(result, metric)
    if json:
        sys.stdout.write(json_line({**result.about, "run": str(out)}))
    shown = ", ".join(each.name for each in curves)
    say(f"table, numbers and curves are in {out}: robustness.csv, robustness.json, {shown}")
    is_whole = not any(run.skipped for run in result.runs)
    raise typer.Exit(ExitCode.DONE if is_whole else ExitCode.INCOMPLETE)


def _methods(
    names: Sequence[str],
    files: Sequence[Path],
    folders: Sequence[Path],
    points: Sequence[Degradation],
    device: str,
    encoder_weights: str | None,
) -> list[Method]:
    from fasa_cli.evaluation.localizers import ModelLocalizer
    from fasa_cli.evaluation.sweeps import Method, predictions_per_severity
    from fasa_cli.predictor import Predictor

    def opener(path: Path) -> Callable[[], Answering]:
        def open() -> Answering:
            model = ModelLocalizer(
                Predictor.from_checkpoint(path, device, encoder_weights=encoder_weights)
            )
            return lambda point: model

        return open

    def laid_out(folder: Path) -> Callable[[], Answering]:
        answering = predictions_per_severity(folder, points)  # refused before anything runs
        return lambda: answering

    openers = [*map(opener, files), *map(laid_out, folders)]
    return [Method(name, open) for name, open in zip(names, openers, strict=True)]

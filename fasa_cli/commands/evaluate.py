"""`fasa evaluate`: score weights, or any method's masks, on a data set; compare two scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import Progress, console, is_screen, say
from fasa_cli.commands.options import (
    Calibration,
    Device,
    EncoderWeights,
    Layout,
    Protocol,
    Root,
    Threshold,
    Weights,
)
from fasa_cli.text import printable

if TYPE_CHECKING:
    from fasa_cli.evaluation.runs import Comparison, EvaluationRun

_SHOWN = 5  # skipped images; the record has them all


def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A data set: a folder, a list, or parquet."),
    ] = None,
    weights: Weights = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Masks or maps of any method instead, named after the images: a.png, a.jpg.npz.",
        ),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="RUN RUN", help="The difference of two evaluations of one data set, by image."
        ),
    ] = None,
    protocol: Protocol = "native",
    threshold: Threshold = 0.5,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What tables call the method.",
            show_default="the file's or folder's",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="RUN",
            help="The folder for the results.",
            show_default="one in runs/evaluate, after data, method and protocol",
        ),
    ] = None,
    layout: Layout = None,
    root: Root = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    calibration: Calibration = None,
    json: Annotated[bool, typer.Option("--json", help="The scores on stdout as JSON.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what RUN holds.")] = False,
) -> None:
    """Score a localizer on a data set: pixel and image metrics, false alarms, 95 % intervals.

    Every image's result is saved. Exit codes: 0 all scored; 1 stopped by an error; 2 usage; 3 some
    images were skipped; 130 interrupted.
    """
    if compare is not None:
        if data is not None or weights is not None or predictions is not None:
            raise typer.BadParameter("--compare takes two saved evaluations and nothing else")
        _compare(*compare, json)
        return
    if data is None:
        raise typer.BadParameter("name a data set, or two evaluations with --compare")
    if weights is not None and predictions is not None:
        raise typer.BadParameter("give --weights or --predictions, not both")

    from fasa_cli.assets import shipped_weights
    from fasa_cli.calibration import calibration_for
    from fasa_cli.data.datasets import read_dataset
    from fasa_cli.evaluation.localizers import Localizer, ModelLocalizer
    from fasa_cli.evaluation.predictions import SavedPredictions
    from fasa_cli.evaluation.runs import Data, Measurement, folder_name, measure, method_name
    from fasa_cli.predictor import Predictor

    dataset = read_dataset(data, layout=layout, root=root)
    path = predictions or weights or shipped_weights()
    localizer: Localizer
    meaning = None
    if predictions:
        localizer = SavedPredictions(predictions)
    else:
        predictor = Predictor.from_checkpoint(path, device, encoder_weights=encoder_weights)
        info = predictor.weights
        say(f"weights {info.preset} {info.sha256[:12]} on {predictor.device}")
        localizer = ModelLocalizer(predictor)
        if protocol == "native":  # the size at which calibrations are made
            meaning, why_none = calibration_for(
                calibration, path, info.sha256, predictor.postprocess
            )
            if meaning is None:
                say(f"scores have no calibration: {why_none}")
    name = name or method_name(path)
    measured = Data.of(dataset, data)
    out = out or Path("runs/evaluate", folder_name(f"{measured.name}-{name}-{protocol}"))
    measurement = Measurement(localizer, name, measured, protocol, threshold, calibration=meaning)
    with Progress(len(dataset), "images") as progress:
        run = measure(
            measurement, out, overwrite=overwrite, argv=sys.argv, advance=progress.advance
        )
    _show(run)
    if json:
        _write(as_json(run))
    raise typer.Exit(ExitCode.INCOMPLETE if run.scores.skipped else ExitCode.DONE)


def as_json(run: EvaluationRun) -> dict[str, Any]:
    """What --json prints: the scores, what they are of, and where everything is."""
    from dataclasses import asdict

    about = run.about
    return {
        **asdict(run.scores),
        "intervals": dict(run.intervals),
        **{key: about[key] for key in ("name", "data", "method", "schema_version", "version")},
        "evidence": run.evidence,
        "skipped_images": list(run.skipped),
        "notes": list(run.notes),
        "run": str(run.folder),
    }


def _show(run: EvaluationRun) -> None:
    from rich.table import Table
    from rich.text import Text

    from fasa_cli.evaluation.metrics import METRICS
    from fasa_cli.evaluation.result_tables import count_text
    from fasa_cli.evaluation.tables import INTERVALS, METRIC_NAMES

    scores = run.scores
    title = (
        f"{run.name} on {run.data_name}: protocol {scores.protocol}, "
        f"threshold {scores.threshold:g}; {count_text(run)}"
    )
    table = Table("", "value", "95 % interval", "over images")
    over = {"pixel": scores.pixel_images, "image": scores.images}
    for metric in METRICS:
        value, interval = getattr(scores, metric), run.intervals[metric]
        label = METRIC_NAMES[metric][1]
        if metric == "pixel_f1_best" and scores.best_threshold is not None:
            label += f", {scores.best_threshold:g}"
        table.add_row(
            label,
            "-" if value is None else f"{value:.4f}",
            "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}",
            str(over.get(metric.split("_")[0], scores.images - scores.manipulated)),
        )
    screen = console()
    screen.print(Text(printable(title)), soft_wrap=not is_screen(screen.file))
    screen.print(table)
    say(INTERVALS)
    _show_evidence(run)
    for note in run.notes:
        say(f"note: {note}")
    for reason in run.skipped[:_SHOWN]:
        say(f"skipped: {reason}")
    if len(run.skipped) > _SHOWN:
        say(f"skipped: {len(run.skipped) - _SHOWN} more, in {run.folder / 'evaluation.json'}")
    say(f"every image's result is in {run.folder}")


def _show_evidence(run: EvaluationRun) -> None:
    """Cllr and kept promises, in a line each; the diagrams are in the run's folder."""
    found = run.evidence
    if found is None:
        return
    low, high = found["cllr_min_interval"]
    at_best = f"at best {found['cllr_min']:.3f} ({low:.3f} to {high:.3f})"
    text = f"Cllr {at_best}"
    if found["cllr"] is not None:
        low, high = found["cllr_interval"]
        text = f"Cllr {found['cllr']:.3f} ({low:.3f} to {high:.3f}), {at_best}"
    say(f"{text}; equal error rate {found['equal_error_rate']:.3f}")
    for promised, observed, low, high in found["rates"]:
        say(
            f"false alarm rate of {promised:.0%} promised: {observed:.1%} of "
            f"{found['authentic']} untouched photos ({low:.1%} to {high:.1%})"
        )
    say(f"diagrams: {run.folder / 'evidence.png'}")


def _compare(first: Path, second: Path, json: bool) -> None:
    from fasa_cli.evaluation.runs import compare, read_evaluation

    comparison = compare(read_evaluation(first), read_evaluation(second))
    _show_comparison(comparison)
    if json:
        sides = (comparison.first, comparison.second)
        _write(
            {
                "schema_version": 1,
                "runs": [str(run.folder) for run in sides],
                "names": [run.name for run in sides],
                "protocol": comparison.first.scores.protocol,
                "thresholds": [run.scores.threshold for run in sides],
                "images": comparison.images,
                "unpaired": comparison.unpaired,
                "differences": {
                    name: difference._asdict()
                    for name, difference in comparison.differences.items()
                },
            }
        )


def _show_comparison(comparison: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from fasa_cli.evaluation.metrics import METRICS
    from fasa_cli.evaluation.tables import METRIC_NAMES

    sides = (comparison.first, comparison.second)
    names = [printable(_label(run)) for run in sides]
    scores = comparison.first.scores
    screen = console()
    screen.print(
        Text(
            f"{printable(comparison.first.data_name)}: protocol {scores.protocol}, "
            f"{comparison.images} images in both, {comparison.unpaired} in one only and left out\n"
            f"A: {names[0]}\nB: {names[1]}"
        ),
        soft_wrap=True,
    )
    table = Table("", "A", "B", "B - A", "95 % interval", "over images")
    for metric in METRICS:
        first, second, difference, interval, images = comparison.differences[metric]
        table.add_row(
            METRIC_NAMES[metric][1],
            *("-" if value is None else f"{value:.4f}" for value in (first, second)),
            "-" if difference is None else _signed(difference),
            "-" if interval is None else f"{_signed(interval[0])} to {_signed(interval[1])}",
            str(images),
        )
    screen.print(table)
    say("An interval that holds 0 leaves open which of the two is better on such images.")


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"  # + 0.0 makes a zero of -0.0


def _label(run: EvaluationRun) -> str:
    degradation = "" if run.degradation.is_clean else f", {run.degradation.name}"
    return f"{run.name}{degradation}, threshold {run.scores.threshold:g} ({run.folder})"


def _write(values: dict[str, Any]) -> None:
    from fasa_cli.files import json_line

    sys.stdout.write(json_line(values))

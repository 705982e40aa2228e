"""fasa scan: photos in, masks and records out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands.display import NOT_A_VERDICT, Progress, Ranking, by_kind, printable, say
from fasa_cli.commands.html import check_report, write_report
from fasa_cli.commands.options import (
    Device,
    EncoderWeights,
    Precision,
    Redact,
    Threshold,
    Weights,
)

if TYPE_CHECKING:
    from fasa_cli.discovery import Discovery
    from fasa_cli.scanning import Outcome, ScanSummary

EXIT_INCOMPLETE = 3
EXIT_NO_IMAGE = 4
EXIT_SCORE_REACHED = 10

Inputs = Annotated[
    list[str] | None,
    typer.Argument(help="Files, folders (with all below), quoted globs; - reads paths on stdin."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where masks and records go.")]
FilesFrom = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file with one input path per line.")
]
Null = Annotated[bool, typer.Option("--null", "-0", help="Paths in lists end with NUL.")]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Images per model call.", show_default="1 on a CPU, 8 on CUDA"),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", "--prob", help="Also write 16-bit probability maps.")
]
Overlay = Annotated[bool, typer.Option("--overlay", help="Also write the photos with heat maps.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Also write one HTML file with all results, and with --probabilities.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Results on stdout as JSON Lines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the images and masks; do nothing.")]
FailOn = Annotated[
    float | None,
    typer.Option(metavar="SCORE", min=0.0, max=1.0, help="Exit with 10 if any score reaches this."),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="The same bits from the same machine; slower, batch 1."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete an earlier scan in DIR.")]
CopyMove = Annotated[
    bool,
    typer.Option(
        "--copy-move/--no-copy-move",
        help="Search for duplicated regions (copy-move), where the weights ask for it.",
    ),
]
NetworkMap = Annotated[
    bool,
    typer.Option(
        "--network-map",
        help="Also write the network's own map, before hysteresis and copy-move marks.",
    ),
]
Top = Annotated[int, typer.Option(min=0, help="Show the N images with the highest scores.")]


def scan(
    inputs: Inputs = None,
    out: Out = Path("masks"),
    files_from: FilesFrom = None,
    null: Null = False,
    weights: Weights = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    threshold: Threshold = 0.5,
    batch: Batch = None,
    probabilities: Probabilities = False,
    overlay: Overlay = False,
    report_file: ReportFile = None,
    redact: Redact = "paths,gps",
    json: Json = False,
    dry_run: DryRun = False,
    fail_on: FailOn = None,
    overwrite: Overwrite = False,
    deterministic: Deterministic = False,
    precision: Precision = "float32",
    copy_move: CopyMove = True,
    network_map: NetworkMap = False,
    top: Top = 0,
) -> None:
    """Find the manipulated regions of photos: one mask per photo, and a record of every result.

    The same command again goes on where a scan stopped. Exit codes: 0 all analysed; 1 stopped by
    an error; 2 usage; 3 some inputs were not analysed; 4 no image found; 10 --fail-on reached;
    130 interrupted.
    """
    found = _discover(inputs or [], files_from, null, out)
    if report_file:
        check_report(report_file, redact)
    if dry_run:
        _show_plan(found, out, json)
        raise typer.Exit(EXIT_INCOMPLETE if found.failures else 0)

    from fasa_cli import scanning
    from fasa_cli.assets import shipped_weights
    from fasa_cli.predictor import Predictor, be_deterministic
    from fasa_cli.reporting import json_line
    from fasa_cli.results import Failure

    if deterministic:
        be_deterministic()
        batch = 1  # the answer may depend on its neighbours in the last bit
    path = weights or shipped_weights()
    predictor = Predictor.from_checkpoint(
        path, device, encoder_weights, precision, None if copy_move else False
    )
    preset, sha256 = predictor.weights.preset, predictor.weights.sha256
    say(f"{len(found.sources)} images; weights {preset} {sha256[:12]} on {predictor.device}")
    batch = batch or (8 if predictor.device.type == "cuda" else 1)
    maps = probabilities or report_file is not None
    options = scanning.ScanOptions(
        out, threshold, maps, network_map, overlay, batch, overwrite, deterministic
    )
    ranking = Ranking(top)

    def report(outcome: Outcome) -> None:
        progress.advance()
        if isinstance(outcome, Failure):
            progress.note(f"failed: {outcome.path}: {outcome.reason}")
            return
        ranking.add(outcome)
        if json:
            sys.stdout.write(json_line(outcome))
            sys.stdout.flush()

    with Progress(len(found.sources) + len(found.failures), "images") as progress:
        summary = scanning.scan(predictor, found, options, sys.argv, report)
    ranking.show()
    _show_summary(summary, out)
    if summary.status == "interrupted":
        raise KeyboardInterrupt
    if report_file:
        write_report(out, report_file, redact)
    raise typer.Exit(_exit_code(summary, fail_on))


def _discover(inputs: list[str], files_from: str | None, null: bool, out: Path) -> Discovery:
    from fasa_cli.discovery import discover, read_path_list

    if not inputs and files_from is None:
        raise typer.BadParameter("name at least one file or folder", param_hint="INPUTS")
    listed = read_path_list("-", null) if "-" in inputs else []
    listed += read_path_list(files_from, null) if files_from is not None else []
    found = discover([text for text in inputs if text != "-"], out, listed)
    if not found.sources and not found.failures:
        say(f"no image found{by_kind(_skipped_kinds(found))}; name photos, or folders with photos")
        raise typer.Exit(EXIT_NO_IMAGE)
    return found


def _skipped_kinds(found: Discovery) -> dict[str, int]:
    from collections import Counter

    return Counter(skipped.kind for skipped in found.skipped)


def _show_plan(found: Discovery, out: Path, json: bool) -> None:
    from fasa_cli.discovery import OUTPUT_SUFFIXES
    from fasa_cli.reporting import json_line

    for source in found.sources:
        mask = str(out / (source.name + OUTPUT_SUFFIXES["mask"]))
        line = json_line({"path": source.path, "mask": mask})
        typer.echo(line if json else printable(f"{source.path} -> {mask}"), nl=not json)
    for failure in found.failures:
        say(f"failed: {failure.path}: {failure.reason}")
    say(
        f"dry run: {len(found.sources)} to analyse, {len(found.failures)} failed, "
        f"{len(found.skipped)} skipped{by_kind(_skipped_kinds(found))}"
    )


def _show_summary(summary: ScanSummary, out: Path) -> None:
    new = summary.analysed - summary.reused
    say(
        f"found {summary.found}: {summary.analysed} analysed"
        + (f" ({summary.reused} of them before)" if summary.reused else "")
        + f", {summary.failed} failed{by_kind(summary.failed_by_kind)}"
        + f", {summary.skipped} skipped{by_kind(summary.skipped_by_kind)}"
        + (f", {summary.remaining} to go" if summary.remaining else "")
    )
    if new:
        say(f"{summary.seconds:.1f} s, {summary.seconds / new:.2f} s per image")
    if summary.kept:
        say(f"{summary.kept} results of earlier scans into this folder are kept")
    if summary.failed:
        say(f"why inputs failed is in {out / '_fasa' / 'errors.jsonl'}")
    say(f"masks are in {out}, records in {out / '_fasa'}")
    say(NOT_A_VERDICT)


def _exit_code(summary: ScanSummary, fail_on: float | None) -> int:
    if summary.failed:
        return EXIT_INCOMPLETE
    reached = fail_on is not None and (summary.highest_score or 0.0) >= fail_on
    return EXIT_SCORE_REACHED if reached and summary.analysed else 0

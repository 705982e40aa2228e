"""fasa scan: photos in, masks and records out."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands._fail_on import Goal, Reached, read_goal
from fasa_cli.commands._scan_options import (
    Add,
    Batch,
    Copies,
    CopyMove,
    CopyMoveMap,
    Deterministic,
    DryRun,
    FailOn,
    FilesFrom,
    Inputs,
    Inspect,
    Json,
    MasksApart,
    MaxFalseAlarms,
    NetworkMap,
    Null,
    Out,
    Overlay,
    Overwrite,
    Pages,
    PagesWanted,
    Probabilities,
    ReportFile,
    Sign,
    Stability,
    Top,
)
from fasa_cli.commands.display import (
    NOT_A_VERDICT,
    Progress,
    Ranking,
    by_kind,
    printable,
    say,
    warn_of_slow_bfloat16,
)
from fasa_cli.commands.html import check_report, write_report
from fasa_cli.commands.options import (
    Calibration,
    Case,
    Device,
    EncoderWeights,
    Examiner,
    Note,
    Precision,
    Redact,
    Threshold,
    Weights,
)
from fasa_cli.errors import CalibrationError
from fasa_cli.text import counted

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor
    from fasa_cli.scanning.discovery import Discovery
    from fasa_cli.scanning.options import ScanOptions, ScanSummary
    from fasa_cli.scanning.stages import Outcome, ScanPredictor


_THRESHOLD = 0.5


def scan(
    inputs: Inputs = None,
    out: Out = Path("masks"),
    files_from: FilesFrom = None,
    null: Null = False,
    weights: Weights = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    threshold: Threshold = _THRESHOLD,
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
    copies: Copies = True,
    network_map: NetworkMap = False,
    copy_move_map: CopyMoveMap = False,
    masks_apart: MasksApart = False,
    add: Add = False,
    sign: Sign = None,
    inspect: Inspect = False,
    pages: PagesWanted = Pages.first,
    top: Top = 10,
    case: Case = None,
    examiner: Examiner = None,
    note: Note = None,
    calibration: Calibration = None,
    max_false_alarms: MaxFalseAlarms = None,
    stability: Stability = False,
) -> None:
    """Find the manipulated regions of photos: one mask per photo, and a record of every result.

    The same command again resumes a scan that stopped. Exit codes: 0 all analysed; 1 stopped by
    an error; 2 usage; 3 some inputs were not analysed, whatever --fail-on says; 4 no image found;
    10 --fail-on reached; 130 interrupted.
    """
    goal = read_goal(fail_on)
    if max_false_alarms is not None and threshold != _THRESHOLD:
        raise typer.BadParameter("--max-false-alarms chooses the threshold; leave out --threshold")
    found = _discover(inputs or [], files_from, null, out, pages)
    if report_file:
        check_report(report_file, redact, out)
    if add and overwrite:
        raise typer.BadParameter("--add keeps an earlier scan, --overwrite deletes it; choose one")
    if dry_run:
        _show_plan(found, out, json)
        raise typer.Exit(ExitCode.INCOMPLETE if found.failures else ExitCode.DONE)
    if not found.sources:
        _show_nothing_to_analyse(found)
        raise typer.Exit(ExitCode.INCOMPLETE)

    from fasa_cli.assets import shipped_weights
    from fasa_cli.files import json_line
    from fasa_cli.results import Failure
    from fasa_cli.scanning import scanner
    from fasa_cli.scanning.resuming import deferred_predictor

    key = None
    if sign is not None:
        from fasa_cli.scanning.signing import read_private_key

        key = read_private_key(sign)
    path = weights or shipped_weights()
    search = None if copy_move and copies else False

    def load() -> Predictor:
        from fasa_cli.predictor import Predictor, be_deterministic

        if deterministic:
            be_deterministic()
        predictor = Predictor.from_checkpoint(
            path, device, encoder_weights=encoder_weights, precision=precision, copy_move=search
        )
        warn_of_slow_bfloat16(precision, predictor.device.type)
        return predictor

    options = scanner.ScanOptions(
        out,
        threshold=threshold,
        probabilities=probabilities or report_file is not None,
        network=network_map,
        copy_move=copy_move_map,
        masks_apart=masks_apart,
        overlay=overlay,
        overwrite=overwrite,
        deterministic=deterministic,
        add=add,
        inspect=inspect,
        stability=stability,
    )
    deferred = (
        None
        if overwrite
        else deferred_predictor(
            out,
            found,
            kinds=options.outputs,
            weights=path,
            precision=precision,
            copy_move=search,
            load=load,
            inspect=inspect,
        )
    )
    predictor = deferred or load()
    # With --deterministic one at a time: answers may depend on their neighbours in the last bit.
    usual = 8 if str(predictor.device).startswith("cuda") else 1
    options = replace(options, batch=1 if deterministic else batch or usual)
    options = _with_meaning(options, predictor, path, calibration, goal, max_false_alarms)
    preset, sha256 = predictor.weights.preset, predictor.weights.sha256
    say(
        f"{counted(len(found.sources), 'image')}{' on record' if deferred else ''}; "
        f"weights {preset} {sha256[:12]} on {predictor.device}"
    )
    ranking = Ranking(top)
    reached = Reached(goal)

    def report(outcome: Outcome) -> None:
        progress.advance()
        if isinstance(outcome, Failure):
            progress.note(f"failed: {outcome.path}: {outcome.reason}")
            return
        ranking.add(outcome)
        reached.add(outcome)
        for kind, reason in outcome.not_made.items():
            if kind in options.outputs:
                progress.note(f"no {kind}: {outcome.path}: {reason}")
        if json:
            sys.stdout.write(json_line(outcome))
            sys.stdout.flush()

    with Progress(len(found.sources) + len(found.failures), "images") as progress:
        summary = scanner.scan(predictor, found, options, argv=sys.argv, report=report, key=key)
    ranking.show()
    reached.show()
    _show_summary(summary, out)
    if summary.status == "interrupted":
        raise KeyboardInterrupt
    if report_file:
        write_report(out, report_file, redact, {"Case": case, "Examiner": examiner, "Note": note})
    raise typer.Exit(_exit_code(summary, reached.count))


def _with_meaning(
    options: ScanOptions,
    predictor: ScanPredictor,
    weights: Path,
    calibration: str | None,
    goal: Goal,
    max_false_alarms: float | None,
) -> ScanOptions:
    """The options with what scores mean by the calibration, and with the threshold it gives.

    Raises:
        CalibrationError: there is none, and --fail-on or --max-false-alarms needs one.
    """
    from fasa_cli.calibration import calibration_for

    meaning, why_none = calibration_for(
        calibration, weights, predictor.weights.sha256, predictor.postprocess
    )
    if meaning is None:
        if max_false_alarms is not None or goal.needs_calibration:
            raise CalibrationError(f"rates and bands need a calibration: {why_none}")
        say(f"scores have no calibration: {why_none}")
        return options
    threshold = options.threshold
    if max_false_alarms is not None:
        threshold = round(meaning.calibration.threshold_of(max_false_alarms), 6)
        say(f"threshold {threshold:g}, which {max_false_alarms:.2%} of untouched photos pass")
    return replace(options, calibration=meaning, threshold=threshold)


def _discover(
    inputs: list[str], files_from: str | None, null: bool, out: Path, pages: Pages
) -> Discovery:
    from fasa_cli.scanning.discovery import discover, read_path_list

    if not inputs and files_from is None:
        raise typer.BadParameter("name at least one file or folder", param_hint="INPUTS")
    listed = read_path_list("-", null) if "-" in inputs else []
    listed += read_path_list(files_from, null) if files_from is not None else []
    found = discover([text for text in inputs if text != "-"], out, listed)
    if not found.sources and not found.failures:
        say(f"no image found{by_kind(_skipped_kinds(found))}; name photos, or folders with photos")
        raise typer.Exit(ExitCode.NO_IMAGE)
    if pages is Pages.all:
        from fasa_cli.scanning.pages import with_all_pages

        return with_all_pages(found)
    return found


def _show_nothing_to_analyse(found: Discovery) -> None:
    for failure in found.failures:
        say(f"failed: {failure.path}: {failure.reason}")
    kinds = Counter(failure.kind for failure in found.failures)
    say(
        f"Found {counted(found.found, 'file' if found.skipped else 'image')}: 0 analysed, "
        f"{len(found.failures)} failed{by_kind(kinds)}, "
        f"{len(found.skipped)} skipped{by_kind(_skipped_kinds(found))}"
    )
    say("nothing was written; check the paths")


def _skipped_kinds(found: Discovery) -> dict[str, int]:
    return Counter(skipped.kind for skipped in found.skipped)


def _show_plan(found: Discovery, out: Path, json: bool) -> None:
    from fasa_cli.files import json_line
    from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES

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
        f"Found {counted(summary.found, 'file' if summary.skipped else 'image')}: "
        f"{summary.analysed} analysed"
        + (f" ({summary.reused} of them before)" if summary.reused else "")
        + f", {summary.failed} failed{by_kind(summary.failed_by_kind)}"
        + f", {summary.skipped} skipped{by_kind(summary.skipped_by_kind)}"
        + (f", {summary.remaining} to go" if summary.remaining else "")
    )
    if new:
        say(f"{summary.seconds:.1f} s, {summary.seconds / new:.2f} s per image")
    if summary.kept:
        say(f"kept of earlier scans into this folder: {counted(summary.kept, 'result')}")
    if summary.not_made:
        say(f"{counted(summary.not_made, 'output')} could not be made; records say why")
    if summary.failed:
        say(f"why inputs failed is in {out / '_fasa' / 'errors.jsonl'}")
    say(f"masks are in {out}, records in {out / '_fasa'}")
    say(NOT_A_VERDICT)


def _exit_code(summary: ScanSummary, reached: int) -> ExitCode:
    if summary.failed:
        return ExitCode.INCOMPLETE
    return ExitCode.SCORE_REACHED if reached else ExitCode.DONE

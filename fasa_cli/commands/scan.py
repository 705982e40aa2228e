"""fasa scan: photos in, masks and records out."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
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
from fasa_cli.text import BANDS, counted, one_in, score_text

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor
    from fasa_cli.results import ScanRecord
    from fasa_cli.scanning.discovery import Discovery
    from fasa_cli.scanning.options import ScanSummary
    from fasa_cli.scanning.stages import Outcome


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS",
        help="Files, folders (with all below), quoted globs; - reads paths on stdin.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Where masks and records go.")
]
FilesFrom = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file with one input path per line.")
]
Null = Annotated[bool, typer.Option("--null", "-0", help="Paths in lists end with NUL.")]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Images per model call.", show_default="1 on a CPU, 8 on CUDA"
    ),
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
    str | None,
    typer.Option(
        metavar="BAND|RATE%|SCORE",
        help="Exit with 10 if a photo reaches a band (strong, moderate, weak), a false alarm rate "
        "(1%), or a highest score (0.9).",
    ),
]
MaxFalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--max-false-alarms",
        metavar="RATE",
        min=0.0,
        max=1.0,
        help="Choose the threshold: at most this share of untouched photos has more than 1 % of "
        "its area marked.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="Bit-reproducible on the same machine; slower, batch 1."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete an earlier scan in DIR.")]
CopyMove = Annotated[
    bool,
    typer.Option(
        "--copy-move/--no-copy-move",
        help="Search for duplicated regions (copy-move), where the weights ask for it.",
    ),
]
# What --no-copy-move was called before 0.2.
Copies = Annotated[bool, typer.Option("--copies/--no-copies", hidden=True)]
NetworkMap = Annotated[
    bool,
    typer.Option(
        "--network-map",
        help="Also write the network's own map, before hysteresis and copy-move marks.",
    ),
]
Add = Annotated[
    bool,
    typer.Option("--add", help="Keep an earlier scan of other files in DIR, and add to it."),
]
Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEY", help="Sign the records with a private Ed25519 key (PEM, OpenSSH)."
    ),
]
CopyMoveMap = Annotated[
    bool, typer.Option("--copy-move-map", help="Also write the map of copy-move marks alone.")
]
MasksApart = Annotated[
    bool,
    typer.Option(
        "--masks-apart", help="Also write the masks of the network and of copy-move, each alone."
    ),
]
Inspect = Annotated[
    bool,
    typer.Option(
        "--inspect", help="Also record what each file says of its history, as fasa inspect does."
    ),
]


class Pages(str, Enum):
    """Which pages of a file are analysed."""

    first = "first"
    all = "all"


PagesWanted = Annotated[
    Pages,
    typer.Option(
        "--pages",
        metavar="first|all",
        help="Of files with several pages or frames: the first, or each.",
    ),
]
Top = Annotated[
    int, typer.Option(metavar="N", min=0, help="Show the N photos with the highest scores.")
]
Stability = Annotated[
    bool,
    typer.Option(
        "--stability",
        help="Look again after JPEG 90, half size and a crop, and say which regions survive; "
        "three times the time for photos with marks.",
    ),
]
_THRESHOLD = 0.5
_NAMED = 20  # photos that reach --fail-on; results.csv has them all


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
    goal = _goal(fail_on)
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
        for failure in found.failures:
            say(f"failed: {failure.path}: {failure.reason}")
        kinds = Counter(failure.kind for failure in found.failures)
        say(
            f"Found {counted(found.found, 'file' if found.skipped else 'image')}: 0 analysed, "
            f"{len(found.failures)} failed{by_kind(kinds)}, "
            f"{len(found.skipped)} skipped{by_kind(_skipped_kinds(found))}"
        )
        say("nothing was written; check the paths")
        raise typer.Exit(ExitCode.INCOMPLETE)

    from fasa_cli.assets import shipped_weights
    from fasa_cli.calibration import calibration_for
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

    maps = probabilities or report_file is not None
    options = scanner.ScanOptions(
        out,
        threshold,
        maps,
        network_map,
        copy_move_map,
        masks_apart,
        overlay,
        1,
        overwrite,
        deterministic,
        add,
        inspect,
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
    meaning, why_none = calibration_for(
        calibration, path, predictor.weights.sha256, predictor.postprocess
    )
    options = replace(options, calibration=meaning, stability=stability)
    if meaning is None and (max_false_alarms is not None or goal.needs_calibration):
        raise CalibrationError(f"rates and bands need a calibration: {why_none}")
    if meaning is not None and max_false_alarms is not None:
        threshold = round(meaning.calibration.threshold_of(max_false_alarms), 6)
        options = replace(options, threshold=threshold)
    preset, sha256 = predictor.weights.preset, predictor.weights.sha256
    say(
        f"{counted(len(found.sources), 'image')}{' on record' if deferred else ''}; "
        f"weights {preset} {sha256[:12]} on {predictor.device}"
    )
    if meaning is None:
        say(f"scores have no calibration: {why_none}")
    if max_false_alarms is not None:
        say(f"threshold {threshold:g}, which {max_false_alarms:.2%} of untouched photos pass")
    ranking = Ranking(top)
    reached = _Reached(goal)

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


@dataclass(frozen=True)
class _Goal:
    """What --fail-on asks for: at most a false alarm `rate`, or at least a `score`; or nothing."""

    text: str = ""
    rate: float | None = None
    score: float | None = None

    @property
    def needs_calibration(self) -> bool:
        return self.rate is not None

    def is_reached(self, record: ScanRecord) -> bool:
        if self.rate is not None:
            return record.false_alarm_rate is not None and record.false_alarm_rate <= self.rate
        return self.score is not None and record.score_max >= self.score


def _goal(text: str | None) -> _Goal:
    """Read `moderate`, `1%` or `0.9`."""
    if text is None:
        return _Goal()
    word = text.strip().lower()
    if word in BANDS:
        return _Goal(f"band {word}", rate=BANDS[word])
    number = word.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= (100 if number != word else 1):
        raise typer.BadParameter(
            f"--fail-on {text}: write a band ({', '.join(BANDS)}), a false alarm rate such as 1%, "
            "or a score from 0 to 1"
        )
    if number != word:
        return _Goal(f"false alarm rate of {value:g} %", rate=value / 100)
    return _Goal(f"score of {value:g}", score=value)


class _Reached:
    """The photos that reach what --fail-on asks for."""

    def __init__(self, goal: _Goal) -> None:
        self._goal = goal
        self._first: list[str] = []
        self.count = 0

    def add(self, record: ScanRecord) -> None:
        if not self._goal.is_reached(record):
            return
        self.count += 1
        if self.count <= _NAMED:
            said = score_text(record.score_max)
            if self._goal.needs_calibration and record.false_alarm_rate is not None:
                said = f"{one_in(record.false_alarm_rate)} untouched photos"
            self._first.append(f"{record.path} ({said})")

    def show(self) -> None:
        for text in self._first:
            say(f"{self._goal.text} reached: {text}")
        if self.count > _NAMED:
            say(f"{self._goal.text} reached: {self.count - _NAMED} more, in results.csv")


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

"""`fasa verify`: check the integrity of a scan, and reproduce its results."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import Progress, say
from fasa_cli.commands.options import Device, EncoderWeights, OriginalsAt, Weights

if TYPE_CHECKING:
    from fasa_cli.scanning.saved_run import SavedRun
    from fasa_cli.scanning.verification import Verification


def verify(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder that a scan wrote; or a bundle, packed or unpacked."
        ),
    ],
    rerun: Annotated[
        int, typer.Option("--rerun", min=0, metavar="N", help="Also analyse N photos again.")
    ] = 0,
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="DIFFERENCE",
            min=0,
            max=1,
            help="By how much probabilities may differ with --rerun.",
        ),
    ] = 0.005,
    originals_at: OriginalsAt = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC", help="Check signatures with this public Ed25519 key."),
    ] = None,
    weights: Weights = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON Lines.")] = False,
) -> None:
    """Hash the inputs, outputs, weights and records of a scan or bundle, and say what was checked.

    Exit codes: 0 all is as it was; 1 the scan cannot be read; 3 something is not.
    """
    from fasa_cli.files import json_line
    from fasa_cli.scanning.bundle_verification import is_bundle, opened_run, verify_bundle
    from fasa_cli.scanning.saved_run import SavedRun
    from fasa_cli.scanning.signing import read_public_key
    from fasa_cli.scanning.verification import verify as check

    public = read_public_key(key) if key else None
    if bundled := is_bundle(run):
        result, saved = verify_bundle(run, originals_at=originals_at, weights=weights, key=public)
    else:
        saved = SavedRun(run, originals_at)
        with Progress(saved.count_records(), "photos") as progress:
            result = check(saved, weights=weights, advance=progress.advance, key=public)
    checked, findings = dict(result.checked), list(result.findings)
    if rerun and not result.bad("weights"):
        with opened_run(run, originals_at) if bundled else nullcontext(saved) as read:
            again = _rerun(read, rerun, tolerance, weights, encoder_weights, device)
        checked |= again.checked
        findings += again.findings
    elif rerun:
        say("nothing was analysed again: the weights are not those of the scan")
    for finding in findings:
        if json:
            typer.echo(json_line(vars(finding)), nl=False)
        else:
            say(f"{finding.kind}: {finding.path}: {finding.reason}")
    bad = {name: sum(finding.check == name for finding in findings) for name in checked}
    _show(saved, checked, bad, bundled)
    is_as_recorded = not findings and (not rerun or "rerun" in checked)
    raise typer.Exit(ExitCode.DONE if is_as_recorded else ExitCode.PROBLEMS)


def _rerun(
    saved: SavedRun,
    count: int,
    tolerance: float,
    weights: Path | None,
    encoder_weights: str | None,
    device: str,
) -> Verification:
    from fasa_cli.assets import shipped_weights
    from fasa_cli.predictor import Predictor, be_deterministic
    from fasa_cli.scanning.verification import rerun

    config = saved.description["config"]
    if config.get("deterministic"):
        be_deterministic()
    recorded = saved.weights_path
    path = weights or (recorded if recorded and recorded.is_file() else shipped_weights())
    predictor = Predictor.from_checkpoint(
        path,
        device,
        encoder_weights=encoder_weights,
        precision=config.get("precision", "float32"),
        copy_move=config.get("postprocess", {}).get("copy_move", False),
    )
    with Progress(min(count, saved.count_records()), "photos again") as progress:
        return rerun(saved, predictor, count, tolerance, advance=progress.advance)


def _show(saved: SavedRun, checked: dict[str, int], bad: dict[str, int], bundled: bool) -> None:
    what = {
        "files": "files of the bundle against SHA256SUMS",
        "signatures": "signatures with the key",
        "records": "the records against their chain and the run's digest",
        "weights": "the weights file against its sha256",
        "inputs": "photos against their sha256",
        "outputs": "outputs against their sha256",
        "rerun": "photos analysed again",
    }
    if "chain" not in saved.description:  # scanned before records were chained
        what["records"] = "the records against the run's digest"
    for name, text in what.items():
        if name in checked:
            state = f"{bad[name]} not as recorded" if bad[name] else "as recorded"
            say(f"checked {checked[name]}: {text}: {state}")
    if "inputs" not in checked:
        say("not checked: the photos, which are not in the bundle (--originals-at DIR)")
    if "weights" not in checked:
        say("not checked: the weights, which are not in the bundle (--weights FILE)")
    if "rerun" not in checked:
        say("not checked: whether the model gives these results again (--rerun N)")
    if "signatures" not in checked:
        say("not checked: who ran the scan, and when (--key PUBLIC, where it is signed)")
    say(f"digest: {saved.description.get('digest')}")

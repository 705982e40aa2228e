"""`fasa verify`: is everything of a scan still what it was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands.display import Progress, say
from fasa_cli.commands.options import Device, EncoderWeights, Weights

if TYPE_CHECKING:
    from fasa_cli.custody import Verification
    from fasa_cli.saved_run import SavedRun

EXIT_NOT_AS_IT_WAS = 3


def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a scan wrote.")],
    rerun: Annotated[
        int, typer.Option("--rerun", min=0, metavar="N", help="Also analyse N photos again.")
    ] = 0,
    tolerance: Annotated[
        float,
        typer.Option(min=0, max=1, help="By how much probabilities may differ with --rerun."),
    ] = 0.005,
    weights: Weights = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="The findings as JSON Lines.")] = False,
) -> None:
    """Hash a scan's inputs, outputs, weights and records again, and say what was checked.

    Exit codes: 0 all is as it was; 1 the scan cannot be read; 3 something is not.
    """
    from fasa_cli.custody import verify as check
    from fasa_cli.reporting import json_line
    from fasa_cli.saved_run import SavedRun

    saved = SavedRun(run)
    with Progress(saved.count_records(), "photos") as progress:
        result = check(saved, weights, progress.advance)
    checked, findings = dict(result.checked), list(result.findings)
    if rerun and not result.bad("weights"):
        again = _rerun(saved, rerun, tolerance, weights, encoder_weights, device)
        checked |= again.checked
        findings += again.findings
    elif rerun:
        say("nothing was analysed again: the weights are not those of the scan")
    for finding in findings:
        if json:
            typer.echo(json_line(vars(finding)), nl=False)
        else:
            say(f"{finding.kind}: {finding.path}: {finding.reason}")
    _show(saved, checked, {name: sum(f.check == name for f in findings) for name in checked})
    raise typer.Exit(EXIT_NOT_AS_IT_WAS if findings or (rerun and "rerun" not in checked) else 0)


def _rerun(
    saved: SavedRun,
    count: int,
    tolerance: float,
    weights: Path | None,
    encoder_weights: str | None,
    device: str,
) -> Verification:
    from fasa_cli.assets import shipped_weights
    from fasa_cli.custody import rerun
    from fasa_cli.predictor import Predictor, be_deterministic

    config = saved.description["config"]
    if config.get("deterministic"):
        be_deterministic()
    path = weights or saved.weights_path or shipped_weights()
    predictor = Predictor.from_checkpoint(
        path,
        device,
        encoder_weights,
        config.get("precision", "float32"),
        config.get("postprocess", {}).get("copy_move", False),
    )
    with Progress(min(count, saved.count_records()), "photos again") as progress:
        return rerun(saved, predictor, count, tolerance, progress.advance)


def _show(saved: SavedRun, checked: dict[str, int], bad: dict[str, int]) -> None:
    what = {
        "records": "the records against the run's digest",
        "weights": "the weights file against its sha256",
        "inputs": "photos against their sha256",
        "outputs": "outputs against their sha256",
        "rerun": "photos analysed again",
    }
    for name, text in what.items():
        if name in checked:
            state = f"{bad[name]} not as recorded" if bad[name] else "as recorded"
            say(f"checked {checked[name]}: {text}: {state}")
    if "rerun" not in checked:
        say("not checked: whether the model gives these results again (--rerun N)")
    say("not checked: who ran the scan, and when")
    say(f"digest: {saved.description.get('digest')}")

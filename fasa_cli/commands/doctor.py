"""`fasa doctor`: can this installation do its work."""

from __future__ import annotations

from json import dumps
from typing import Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import printable, say
from fasa_cli.commands.options import Device, Weights


def doctor(
    weights: Weights = None,
    device: Device = "auto",
    json: Annotated[bool, typer.Option("--json", help="As JSON Lines.")] = False,
) -> None:
    """Check versions, devices, codecs, weights and folders, and scan a test picture.

    Exit codes: 0 nothing is wrong; 3 something is, and the lines marked "problem" say what.
    """
    from fasa_cli.diagnosis import examine

    problems = 0
    for result in examine(weights, device):
        problems += result.state == "problem"
        if json:
            typer.echo(dumps(vars(result)))
        else:
            typer.echo(printable(f"{result.state:8}{result.check:10}{result.text}"))
    say(f"problems found: {problems or 'none'}")
    raise typer.Exit(ExitCode.PROBLEMS if problems else ExitCode.DONE)

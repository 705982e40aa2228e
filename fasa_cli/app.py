"""The `fasa` command: its subcommands, and the one place where errors become exit codes.

Starting is fast because command modules import nothing heavy; they do so when they run.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fasa_cli import __version__
from fasa_cli.commands import (
    ablate,
    bundle,
    data,
    doctor,
    evaluate,
    overlay,
    regions,
    report,
    robustness,
    scan,
    synth,
    train,
    verify,
    weights,
)
from fasa_cli.commands.display import say
from fasa_cli.errors import ConfigError, FasaError

EXIT_FATAL = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class _Fasa(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FasaError as error:
            say(f"error: {error}")
            code = EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FATAL
        except KeyboardInterrupt:
            say("interrupted; run the same command again to resume")
            code = EXIT_INTERRUPTED
        except BrokenPipeError:  # whoever read our stdout has gone: nobody is left to tell
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = EXIT_FATAL
        raise typer.Exit(code)


app = typer.Typer(
    cls=_Fasa,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("scan")(scan.scan)
app.command("overlay")(overlay.overlay)
app.command("regions")(regions.regions)
app.command("verify")(verify.verify)
app.command("bundle")(bundle.bundle)
app.command("train")(train.train)
app.command("ablate")(ablate.ablate)
app.command("evaluate")(evaluate.evaluate)
app.command("robustness")(robustness.robustness)
app.command("report")(report.report)
app.command("synth")(synth.synth)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.command("doctor")(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fasa {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Show which pixels of a photograph were manipulated."""


def main() -> None:
    """Run the command line; the entry point of `fasa` and `python -m fasa_cli`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot spell must not stop us
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # only `fasa weights pull` may use the network
    app()

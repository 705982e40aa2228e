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
    calibrate,
    data,
    doctor,
    evaluate,
    inspect,
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
from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands._panels import Command
from fasa_cli.commands._streams import (
    StdoutError,
    flush_stdout,
    guard_streams,
    silence_stdout,
)
from fasa_cli.commands.display import say
from fasa_cli.errors import ConfigError, FasaError


class _Fasa(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            flush_stdout()
            return result
        except StdoutError as error:
            silence_stdout()
            say(f"error: {error}")
            code = ExitCode.FATAL
        except FasaError as error:
            say(f"error: {error}")
            code = ExitCode.USAGE if isinstance(error, ConfigError) else ExitCode.FATAL
        except KeyboardInterrupt:
            say("interrupted; run the same command again to resume")
            code = ExitCode.INTERRUPTED
        except BrokenPipeError:  # whoever read our stdout has gone: nobody is left to report to
            silence_stdout()
            code = ExitCode.FATAL
        raise typer.Exit(code)


app = typer.Typer(
    cls=_Fasa,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_USE, _EVIDENCE, _RESEARCH, _OWN = "Analyse photos", "Evidence", "Research", "This installation"
app.command("scan", rich_help_panel=_USE)(scan.scan)
app.command("inspect", rich_help_panel=_USE)(inspect.inspect)
app.command("overlay", rich_help_panel=_USE)(overlay.overlay)
app.command("regions", rich_help_panel=_USE)(regions.regions)
app.command("verify", rich_help_panel=_EVIDENCE)(verify.verify)
app.command("bundle", rich_help_panel=_EVIDENCE)(bundle.bundle)
app.command("report", rich_help_panel=_EVIDENCE)(report.report)
app.command("train", rich_help_panel=_RESEARCH)(train.train)
app.command("ablate", rich_help_panel=_RESEARCH)(ablate.ablate)
app.command("evaluate", rich_help_panel=_RESEARCH)(evaluate.evaluate)
app.command("calibrate", rich_help_panel=_RESEARCH)(calibrate.calibrate)
app.command("robustness", rich_help_panel=_RESEARCH)(robustness.robustness)
app.command("synth", rich_help_panel=_RESEARCH)(synth.synth)
app.add_typer(data.app, name="data", rich_help_panel=_RESEARCH)
app.command("doctor", rich_help_panel=_OWN)(doctor.doctor)
app.add_typer(weights.app, name="weights", rich_help_panel=_OWN)


for _typer in (app, data.app, weights.app):
    for _info in _typer.registered_commands:
        _info.cls = Command


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
    guard_streams()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # only `fasa weights pull` may use the network
    try:
        app()
    except StdoutError as error:  # --help and --version, into a full disk
        silence_stdout()
        say(f"error: {error}")
        sys.exit(ExitCode.FATAL)
    except SystemExit:
        try:
            flush_stdout()
        except StdoutError as error:
            silence_stdout()
            say(f"error: {error}")
            sys.exit(ExitCode.FATAL)
        raise

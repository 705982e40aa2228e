"""Errors become one line and an exit code, in one place."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fasa_cli import __version__
from fasa_cli.app import _Fasa, app
from fasa_cli.commands.options import parse_range
from fasa_cli.errors import CheckpointError, ConfigError, ImageError


def run_raising(error: BaseException):
    """What the command line makes of a subcommand that raises `error`."""
    failing = typer.Typer(cls=_Fasa)

    @failing.command()
    def fail() -> None:
        raise error

    @failing.callback()
    def root() -> None:
        """Keeps `fail` a subcommand."""

    return CliRunner().invoke(failing, ["fail"])


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ImageError("a.jpg: damaged"), 1, "error: a.jpg: damaged\n"),
        (CheckpointError("w: missing"), 1, "error: w: missing\n"),
        (ConfigError("--set a: write it as a=b"), 2, "error: --set a: write it as a=b\n"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume\n"),
    ],
)
def test_errors_become_a_line_and_a_code(error: BaseException, code: int, message: str) -> None:
    result = run_raising(error)
    assert (result.exit_code, result.stderr, result.stdout) == (code, message, "")


def test_error_lines_cannot_move_the_cursor() -> None:
    result = run_raising(ImageError("\x1b[2Jno\nerror\u202e: \udcff"))
    assert result.stderr == "error: \\x1b[2Jno\\nerror\\u202e: \\udcff\n"


def test_bugs_are_not_dressed_up() -> None:
    assert isinstance(run_raising(ZeroDivisionError("bug")).exception, ZeroDivisionError)


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"fasa {__version__}\n")


def test_unknown_command_is_usage() -> None:
    assert CliRunner().invoke(app, ["scam"]).exit_code == 2


def test_the_reader_of_stdout_may_leave() -> None:
    script = (
        "import sys, typer, fasa_cli.app as a\n"
        "def fill():\n"
        "    for _ in range(100000): sys.stdout.write('x' * 80 + chr(10))\n"
        "a.app.command('fill')(fill)\n"
        "sys.argv = ['fasa', 'fill']\n"
        "a.main()\n"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(100)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_sigterm_is_an_interruption() -> None:
    script = (
        "import os, signal, sys, time, fasa_cli.app as a\n"
        "def wait():\n"
        f"    os.kill(os.getpid(), {int(signal.SIGTERM)}); time.sleep(10)\n"
        "a.app.command('wait')(wait)\n"
        "sys.argv = ['fasa', 'wait']\n"
        "a.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.startswith("interrupted")) == (130, True)


def test_ranges() -> None:
    assert parse_range("50..100", 10) == (50, 60, 70, 80, 90, 100)
    assert parse_range("50..100:25", 10) == (50, 75, 100)
    assert parse_range("3..23:7", 1) == (3, 10, 17)
    assert parse_range("0,3,7", 10) == (0, 3, 7)
    assert parse_range("5", 10) == (5,)


@pytest.mark.parametrize("text", ["", "a", "1..", "9..1", "1..9:0", "1,,2", "0..99999999:1", "1.5"])
def test_bad_ranges_say_the_form(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"write|larger step"):
        parse_range(text, 1)


def command_lines() -> list[list[str]]:
    lines = []
    groups: list[tuple[list[str], Any]] = [([], typer.main.get_command(app))]
    while groups:
        path, command = groups.pop()
        lines.append(path)
        below = getattr(command, "commands", {})
        groups += [([*path, name], each) for name, each in below.items()]
    return lines


@pytest.mark.parametrize("width", [80, 120, 200])
def test_help_is_legible(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No word is cut and no line is wider than the screen."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert len(command_lines()) > 15
    for path in command_lines():
        shown = CliRunner().invoke(app, [*path, "--help"]).stdout
        assert "Usage" in shown, path
        assert "…" not in shown, path
        assert max(map(len, shown.splitlines())) <= width, path

"""What goes to stderr while a command runs."""

from __future__ import annotations

import sys

import pytest

from fasa_cli.commands import display
from fasa_cli.commands.display import Progress, by_kind


def test_progress_is_plain_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(3, "images") as progress:
        progress.advance()
    assert capsys.readouterr().err == ""  # too soon for a line
    monkeypatch.setattr(display, "_SECONDS_BETWEEN_LINES", 0.0)
    with Progress(3, "images") as progress:
        progress.advance()
        progress.note("failed: a.jpg")
        progress.advance()
    assert capsys.readouterr().err == "1 of 3 images\nfailed: a.jpg\n2 of 3 images\n"


def test_progress_is_a_bar_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(2, "images") as progress:
        progress.advance()
        progress.note("failed: [red]a\x1b.jpg " + "long " * 60)
        progress.advance()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "failed: [red]a\\x1b.jpg " + "long " * 60 in shown.err
    assert "1/2" in shown.err


def test_counts_by_kind() -> None:
    assert by_kind({}) == ""
    assert by_kind({"missing": 2, "internal": 1}) == " (1 internal, 2 missing)"

"""stdout and stderr that are closed or full, as shells and cron jobs leave them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fasa_cli
from tests.conftest import write_photo

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(fasa_cli.__file__).parents[1])}
    command = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "fasa_cli"]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> list[str]:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/a.png"))
    return ["scan", "photos", "--weights", str(tiny_weights), "--device", "cpu"]


def recorded() -> list[str]:
    lines = Path("masks/_fasa/results.jsonl").read_text().splitlines()
    assert Path("masks/a.png.mask.png").is_file()
    return [json.loads(line)["name"] for line in lines]


@pytest.mark.parametrize("gone", [">&-", ">/dev/full"])
def test_an_answer_that_cannot_be_written_is_one_line_and_1(scan: list[str], gone: str) -> None:
    done = shell(gone, *scan, "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "stdout" in errors[0]
    assert recorded() == ["a.png"]


def test_who_needs_no_stdout_needs_none(scan: list[str]) -> None:
    done = shell(">&-", *scan)
    assert done.returncode == 0, done.stderr
    assert recorded() == ["a.png"]


@pytest.mark.parametrize("gone", ["2>&-", "2>/dev/full"])
def test_without_stderr_the_work_is_done_and_stdout_stays_data(scan: list[str], gone: str) -> None:
    done = shell(gone, *scan, "--json", "--fail-on", "0")
    assert done.returncode == 10
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["name"] == "a.png"
    assert recorded() == ["a.png"]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_into_a_full_disk(argument: str) -> None:
    done = shell(">/dev/full", argument)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert done.stderr.startswith("error: stdout")
    assert len(done.stderr.splitlines()) == 1

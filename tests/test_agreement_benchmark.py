"""The guard of changes for speed, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.conftest import write_set

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "agreement.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_guard_passes_what_agrees_and_stops_what_moved(
    tmp_path: Path, tiny_weights: Path
) -> None:
    write_set(tmp_path / "sets" / "noise")
    common = ["--data", str(tmp_path / "sets"), "--weights", str(tiny_weights), "--limit", "2"]
    before = tmp_path / "before.npz"
    assert run(*common, "--save", str(before)).returncode == 0
    same = run(*common, "--against", str(before))
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("4 photos")
    assert "moved by at most 0," in same.stdout
    with np.load(before) as answers:
        held = dict(answers)
    np.savez(before, **{**held, "f1": held["f1"] + 0.003})  # type: ignore[arg-type]
    moved = run(*common, "--against", str(before))
    assert (moved.returncode, "more than 0.002" in moved.stderr) == (1, True)
    held.popitem()
    np.savez(before, **held)  # type: ignore[arg-type]
    other = run(*common, "--against", str(before))
    assert (other.returncode, "other photos" in other.stderr) == (1, True)

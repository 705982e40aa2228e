"""The accuracy benchmark runs as one command, without a model, on the examples."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "accuracy.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_floors_on_the_examples(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    done = run("--data", str(ROOT / "examples"), "--floors-only", "--limit", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "every pixel" in done.stdout
    assert "middle: examples: 4 images" in done.stderr
    report = json.loads(out.read_text())
    assert (report["protocol"], report["threshold"]) == ("native", 0.5)
    floor = report["results"]["every pixel"]
    scores = floor["sets"]["examples"]["scores"]
    assert (scores["images"], scores["manipulated"]) == (4, 2)
    assert scores["pixel_auc"] == 0.5
    assert floor["mean_over_manipulated_sets"]["pixel_f1"] == scores["pixel_f1"]
    assert (floor["authentic"]["images"], floor["authentic"]["any_share"]) == (2, 1)
    # The Gaussian is above one half inside an ellipse of half-axes sqrt(2 ln 2) / 4 of the sides.
    assert report["results"]["middle"]["authentic"]["area"] == pytest.approx(0.2722, abs=0.002)


def test_a_folder_without_a_set_is_an_error_naming_it(tmp_path: Path) -> None:
    done = run("--data", str(tmp_path), "--floors-only")
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr

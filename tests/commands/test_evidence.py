"""What scores are worth, through fasa evaluate and fasa report."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.files import sha256_of
from tests.conftest import write_set
from tests.scanning.test_assessment import calibration

RUNNER = CliRunner()


def run(*arguments: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_an_evaluation_tells_what_ratios_are_worth(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(Path("set"), 6, 6)
    weights = Path("own.safetensors")
    weights.write_bytes(tiny_weights.read_bytes())
    calibration(Path("own.calibration.json"), sha256_of(weights))
    code, said = run(
        *("evaluate", "set", "--weights", weights, "--device", "cpu", "--out", "run", "--json")
    )
    assert code == 0, said
    assert "Cllr" in said
    about = json.loads(Path("run/evaluation.json").read_text())
    found = about["evidence"]
    assert (found["manipulated"], found["authentic"]) == (6, 6)
    assert found["cllr_interval"][0] <= found["cllr"] <= found["cllr_interval"][1]
    assert about["calibration"] == sha256_of(Path("own.calibration.json"))
    images = [json.loads(line) for line in Path("run/images.jsonl").read_text().splitlines()]
    assert all(image["log10_lr"] is not None for image in images)
    assert Path("run/evidence.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("run/evidence.svg").read_text()
    code, said = run("report", "run", "--metrics", "cllr,cllr_min", "--format", "markdown")
    assert code == 0, said
    assert f"{found['cllr']:.4f}" in said
    assert f"{found['cllr_min']:.4f}" in said


def test_weights_without_a_calibration_give_no_ratio(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(Path("set"), 5, 5)
    code, said = run(
        *("evaluate", "set", "--weights", tiny_weights, "--device", "cpu", "--out", "run")
    )
    assert code == 0
    assert "no calibration" in said
    found = json.loads(Path("run/evaluation.json").read_text())["evidence"]
    assert found["cllr"] is None
    assert 0 <= found["cllr_min"] <= 1

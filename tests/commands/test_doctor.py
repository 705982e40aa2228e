"""`fasa doctor`: what is missing is said, and the rest is examined all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fasa_cli
from fasa_cli import diagnosis
from fasa_cli.app import app

PROJECT = Path(fasa_cli.__file__).parents[1] / "pyproject.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fasa(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_doctor_finds_nothing_wrong(tiny_weights: Path) -> None:
    result = fasa("doctor", "--weights", str(tiny_weights), "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stdout
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["check"] for one in results} == {
        "version",
        "libraries",
        "devices",
        "codecs",
        "weights",
        "folders",
        "scan",
    }
    codecs = [one["text"] for one in results if one["check"] == "codecs"]
    assert codecs[:-1] == ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"]
    assert codecs[-1].startswith("HEIC (")
    assert results[-1]["text"].startswith("a test picture was scanned and verified with tiny")


@pytest.mark.skipif(not PROJECT.is_file(), reason="needs the checkout")
def test_doctor_looks_for_all_that_is_required() -> None:
    text = PROJECT.read_text()
    required = text[text.index("dependencies = [") : text.index("[project.optional")]
    names = {line.strip().strip('"').split(">=")[0] for line in required.splitlines()[1:-2]}
    assert names - {"tomli"} == set(diagnosis.LIBRARIES)  # tomli: before Python 3.11 only


def test_doctor_goes_on_without_weights_or_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(diagnosis.LIBRARIES, "not-there", "fasa_needs_no_such_thing")
    Path("cut.safetensors").write_bytes(b"cut")
    result = fasa("doctor", "--weights", "cut.safetensors", "--device", "cpu")
    assert result.exit_code == 3
    assert "problem libraries not-there is not installed (pip install not-there)" in " ".join(
        result.stdout.split()
    )
    assert "cut.safetensors: not a safetensors file" in result.stdout
    assert "scanned and verified with an untrained model" in result.stdout
    assert "problems found: 2" in result.stderr


def test_doctor_survives_its_own_errors(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Path
) -> None:
    monkeypatch.setattr(diagnosis, "_codecs", lambda: 1 / 0)
    result = fasa("doctor", "--weights", str(tiny_weights), "--device", "cpu")
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.stdout
    assert "a test picture was scanned" in result.stdout

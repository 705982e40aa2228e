"""`fasa verify`, `fasa bundle` and `fasa doctor` as people call them."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pytest
from conftest import write_photo
from typer.testing import CliRunner, Result

import fasa_cli
from fasa_cli import diagnosis
from fasa_cli.app import app

PROJECT = Path(fasa_cli.__file__).parents[1] / "pyproject.toml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(tiny_weights: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "b.png")):
        write_photo(Path("photos", name), seed)
    result = fasa("scan", "photos", "--weights", str(tiny_weights), "--device", "cpu", "--prob")
    assert result.exit_code == 0, result.stderr
    return Path("masks")


def fasa(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_verify_says_what_was_checked_and_what_not(run: Path) -> None:
    result = fasa("verify", "masks")
    assert result.exit_code == 0, result.stderr
    assert "checked 2: photos against their sha256: as recorded" in result.stderr
    assert "checked 4: outputs against their sha256: as recorded" in result.stderr
    assert "checked 1: the weights file against its sha256: as recorded" in result.stderr
    assert "not checked: whether the model gives these results again" in result.stderr


def test_verify_reruns(run: Path) -> None:
    result = fasa("verify", "masks", "--rerun", "2", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert "checked 2: photos analysed again: as recorded" in result.stderr


def test_verify_finds_what_changed(run: Path) -> None:
    os.remove("photos/a.jpg")
    Path("masks/b.png.mask.png").write_bytes(b"")
    result = fasa("verify", "masks", "--json")
    assert result.exit_code == 3
    findings = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["check"], one["kind"]) for one in findings] == [
        ("inputs", "missing"),
        ("outputs", "changed"),
    ]
    assert "photos against their sha256: 1 not as recorded" in result.stderr


def test_other_weights_are_not_run_again(run: Path) -> None:
    Path("other").write_bytes(b"other")
    result = fasa("verify", "masks", "--rerun", "1", "--weights", "other")
    assert result.exit_code == 3
    assert "nothing was analysed again" in result.stderr


def test_verify_without_a_scan() -> None:
    result = fasa("verify", "gone")
    assert result.exit_code == 1
    assert "holds no scan" in result.stderr


def test_bundle_packs_and_does_not_replace(run: Path) -> None:
    result = fasa("bundle", "masks")
    assert result.exit_code == 0, result.stderr
    assert "no photos (--originals packs them); no report" in result.stderr
    assert zipfile.is_zipfile("masks.zip")
    assert fasa("bundle", "masks").exit_code == 2
    Path("masks/report.html").write_text("<p>")
    result = fasa("bundle", "masks", "--overwrite", "--originals")
    assert result.exit_code == 0
    with zipfile.ZipFile("masks.zip") as archive:
        assert {"originals/a.jpg", "report.html"} <= set(archive.namelist())


def test_a_deterministic_scan_is_another_configuration(run: Path, tiny_weights: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    command = ["scan", "photos", "--weights", str(tiny_weights), "--device", "cpu"]
    try:
        result = fasa(*command, "--deterministic")
        assert result.exit_code == 1
        assert "config.deterministic was False, is True" in result.stderr
        for out in ("one", "two"):
            assert fasa(*command, "--deterministic", "--prob", "--out", out).exit_code == 0
        first, second = (
            json.loads(Path(out, "_fasa/run.json").read_text()) for out in ("one", "two")
        )
        assert first["config"]["deterministic"] is True
        assert first["digest"] == second["digest"]
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


# --- Doctor ---------------------------------------------------------------------------------


def test_doctor_finds_nothing_wrong(tiny_weights: Path) -> None:
    result = fasa("doctor", "--weights", str(tiny_weights), "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stdout
    symptoms = [json.loads(line) for line in result.stdout.splitlines()]
    assert {one["check"] for one in symptoms} == {
        "version",
        "libraries",
        "devices",
        "codecs",
        "weights",
        "folders",
        "scan",
    }
    codecs = [one["text"] for one in symptoms if one["check"] == "codecs"]
    assert codecs == ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"]
    assert symptoms[-1]["text"].startswith("a test picture was scanned and verified with tiny")


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
    assert "2 problems" in result.stderr


def test_doctor_survives_its_own_errors(
    monkeypatch: pytest.MonkeyPatch, tiny_weights: Path
) -> None:
    monkeypatch.setattr(diagnosis, "_codecs", lambda: 1 / 0)
    result = fasa("doctor", "--weights", str(tiny_weights), "--device", "cpu")
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.stdout
    assert "a test picture was scanned" in result.stdout

"""`fasa verify` and `fasa bundle` as people call them, and `fasa scan --deterministic`."""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from fasa_cli.config import TINY, PostprocessConfig
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import save_model
from fasa_cli.scanning.records import read_results
from tests.conftest import write_photo
from tests.scanning.test_bundle import keys


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
    result = fasa("bundle", "masks", "--overwrite")
    assert (result.exit_code, "masks/report.html" in result.stderr) == (1, True)
    assert fasa("report", "masks", "--out", "masks/report.html").exit_code == 0
    result = fasa("bundle", "masks", "--overwrite", "--originals")
    assert result.exit_code == 0
    with zipfile.ZipFile("masks.zip") as archive:
        assert {"originals/a.jpg", "report.html"} <= set(archive.namelist())


def test_a_bundle_takes_the_report_that_scan_wrote_elsewhere(run: Path, tiny_weights: Path) -> None:
    command = ("scan", "photos", "--weights", str(tiny_weights), "--device", "cpu", "--prob")
    assert fasa(*command, "--report", "report.html").exit_code == 0
    result = fasa("bundle", "masks")
    assert (result.exit_code, "no report" in result.stderr) == (0, False)
    with zipfile.ZipFile("masks.zip") as archive:
        assert archive.read("report.html") == Path("report.html").read_bytes()


def test_moved_photos_are_pointed_at(run: Path) -> None:
    os.rename("photos", "disk2")
    assert fasa("verify", "masks").exit_code == 3
    assert fasa("bundle", "masks", "--originals").exit_code == 1
    assert fasa("overlay", "masks", "--out", "pictures").exit_code == 3
    for command in (
        ("verify", "masks"),
        ("bundle", "masks", "--originals"),
        ("overlay", "masks", "--out", "pictures"),
    ):
        result = fasa(*command, "--originals-at", "disk2")
        assert result.exit_code == 0, result.stderr
    assert len(list(Path("pictures").iterdir())) == 2


def test_a_bundle_is_verified_packed_unpacked_and_as_a_bag(run: Path) -> None:
    assert fasa("bundle", "masks").exit_code == 0
    assert fasa("bundle", "masks", "--bagit").exit_code == 0
    with zipfile.ZipFile("masks.zip") as archive:
        archive.extractall("unpacked")
    for path in ("masks.zip", "unpacked", "masks.bag"):
        result = fasa("verify", path)
        assert result.exit_code == 0, result.stderr
        assert "checked 4: outputs against their sha256: as recorded" in result.stderr
        assert "not checked: the photos" in result.stderr
        result = fasa("verify", path, "--originals-at", "photos")
        assert "checked 2: photos against their sha256: as recorded" in result.stderr
    Path("unpacked/outputs/a.jpg.mask.png").write_bytes(b"")
    result = fasa("verify", "unpacked", "--json")
    assert result.exit_code == 3
    assert {json.loads(line)["kind"] for line in result.stdout.splitlines()} == {"changed"}


def test_signed_scans_and_bundles_are_verified_with_the_public_key(
    run: Path, tiny_weights: Path
) -> None:
    private, public = map(str, keys())
    command = ("scan", "photos", "--weights", str(tiny_weights), "--device", "cpu", "--prob")
    assert fasa(*command, "--sign", private).exit_code == 0
    assert fasa("bundle", "masks", "--sign", private).exit_code == 0
    for path in ("masks", "masks.zip"):
        result = fasa("verify", path, "--key", public)
        assert result.exit_code == 0, result.stderr
        assert "signatures with the key: as recorded" in result.stderr
        assert fasa("verify", path, "--key", str(keys("other")[1])).exit_code == 3
    assert fasa(*command).exit_code == 1  # a signed scan is not changed without its key
    assert fasa("scan", "photos", "--out", "new", "--sign", "gone.pem").exit_code == 2
    assert not Path("new").exists()


def test_another_precision_is_another_configuration_and_is_verified_in_it(
    run: Path, tiny_weights: Path
) -> None:
    command = ["scan", "photos", "--weights", str(tiny_weights), "--device", "cpu"]
    result = fasa(*command, "--precision", "bfloat16")
    assert result.exit_code == 1
    assert "config.precision was float32, is bfloat16" in result.stderr
    assert fasa(*command, "--precision", "bfloat16", "--prob", "--out", "fast").exit_code == 0
    result = fasa("verify", "fast", "--rerun", "2", "--tolerance", "0.00002")
    assert result.exit_code == 0, result.stderr
    assert fasa(*command, "--precision", "int8").exit_code == 2


def test_copy_move_pairs_are_recorded_and_verified_with_and_without(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Fasa(TINY)
    after = PostprocessConfig(copy_move=True)
    save_model(model, tmp_path / "looking.safetensors", postprocess=after)
    image = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(image, (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX)
    image[110:190, 190:280] = image[10:90, 20:110]
    cv2.imwrite("copied.png", image)
    command = [
        "scan",
        "copied.png",
        "--weights",
        "looking.safetensors",
        "--device",
        "cpu",
        "--prob",
    ]
    assert fasa(*command, "--report", "report.html").exit_code == 0
    (record,) = read_results(Path("masks/_fasa/results.jsonl"))
    (pair,) = record.copy_move
    boxes = sorted(pair.boxes)
    np.testing.assert_allclose(boxes, [(20, 10, 90, 80), (190, 110, 90, 80)], atol=8)
    assert re.search(r'"copies":\s*\[{"boxes":', Path("report.html").read_text("utf-8"))
    assert fasa("verify", "masks", "--rerun", "1").exit_code == 0
    assert fasa(*command, "--no-copy-move").exit_code == 1  # another configuration
    assert fasa(*command, "--no-copy-move", "--out", "plain").exit_code == 0
    assert next(read_results(Path("plain/_fasa/results.jsonl"))).copy_move == ()
    assert fasa("verify", "plain", "--rerun", "1").exit_code == 0


def test_a_deterministic_scan_is_another_configuration(run: Path, tiny_weights: Path) -> None:
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


def test_a_bundle_is_analysed_again_from_what_is_packed(run: Path) -> None:
    rerun = ("--rerun", "2", "--device", "cpu")
    assert fasa("bundle", "masks", "--originals", "--out", "with.zip").exit_code == 0
    assert fasa("bundle", "masks", "--out", "without.zip").exit_code == 0
    Path("masks").rename("kept")
    Path("photos").rename("elsewhere")
    with zipfile.ZipFile("with.zip") as archive:
        archive.extractall("unpacked")
    for bundle in ("with.zip", "unpacked"):
        result = fasa("verify", bundle, *rerun)
        assert result.exit_code == 0, result.stderr
        assert "checked 2: photos analysed again: as recorded" in result.stderr
    alone = fasa("verify", "without.zip", *rerun)
    assert alone.exit_code == 3
    assert "--originals-at" in alone.stderr
    pointed = fasa("verify", "without.zip", *rerun, "--originals-at", "elsewhere")
    assert pointed.exit_code == 0, pointed.stderr
    for mask in Path("unpacked").rglob("*.mask.png"):
        pixels = 255 - cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(mask), pixels)
    changed = fasa("verify", "unpacked", *rerun)
    assert changed.exit_code == 3
    assert "photos analysed again: 2 not as recorded" in changed.stderr


def test_a_report_of_moved_photos_is_pointed_at_them(run: Path) -> None:
    Path("photos").rename("elsewhere")
    lost = fasa("report", "masks", "--out", "r.html")
    assert lost.exit_code == 0, lost.stderr
    assert "--originals-at" in lost.stderr
    found = fasa("report", "masks", "--out", "r.html", "--originals-at", "elsewhere")
    assert "2 pictured" in found.stderr

"""What a scan says beside its marks: what scores mean, reasons, what cannot be determined."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.calibration import LoadedCalibration, read_calibration
from fasa_cli.evaluation.calibration import ScoredPhoto, fit_calibration, write_calibration
from fasa_cli.scanning.records import read_results
from fasa_cli.scanning.sentences import meaning, region_meaning, unjudgeable_sentence
from tests.conftest import RedPredictor, scan_red, write_photo
from tests.imaging.test_findings import PATCH, scene

RUNNER = CliRunner()


def calibration(path: Path, sha256: str = "0" * 64) -> LoadedCalibration:
    """150 untouched photos with logits from -6 to 1.5 and 50 manipulated ones from -3 to 6.8."""
    photos = [
        ScoredPhoto(-6 + 0.05 * n, False, (480, 480), 90, ((0.05, -1.0),)) for n in range(150)
    ]
    photos += [ScoredPhoto(-3 + 0.2 * n, True, (480, 480), 90) for n in range(50)]
    write_calibration(path, fit_calibration(photos, (), RedPredictor(sha256), 0.5))  # type: ignore[arg-type]
    return read_calibration(path)


def write_scene(path: Path, patch: int | None = None) -> None:
    """A grey scene; `patch` is the red of a square in it, which is what RedPredictor finds."""
    pixels = scene() // 3 + 20  # far from red
    if patch is not None:
        pixels[PATCH] = (patch, 20, 20)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_records_say_what_a_score_means_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene(Path("photos/forged.png"), 250)
    write_scene(Path("photos/plain.png"))
    ours = calibration(tmp_path / "c.json")
    out = scan_red(calibration=ours)
    forged, plain = read_results(out / "_fasa/results.jsonl")
    assert (forged.band, plain.band) == ("strong", "none")
    assert forged.false_alarm_rate == pytest.approx(1 / 151, abs=1e-6)
    assert plain.false_alarm_rate > 0.2  # type: ignore[operator]
    assert forged.log10_lr > 0 > plain.log10_lr  # type: ignore[operator]
    assert forged.score_area == pytest.approx(250 / 255, abs=1e-5)
    assert forged.population == "small"
    assert forged.rank > plain.rank
    (region,) = forged.regions
    assert region.false_alarm_rate == pytest.approx(1 / 151, abs=1e-6)
    assert {finding.kind for finding in region.findings} == {"unjudgeable"}  # a flat square
    assert "1 in 151" in meaning(forged)[0]
    assert "1 in 151" in region_meaning(region)
    assert "flat" in unjudgeable_sentence(forged)
    assert unjudgeable_sentence(plain) == ""
    run = json.loads((out / "_fasa/run.json").read_text())
    assert run["calibration"]["sha256"] == ours.sha256 == run["config"]["calibration"]
    assert run["calibration"]["untouched"] == 150
    header, row, _ = (out / "_fasa/results.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=False))["band"] == "strong"


def test_without_a_calibration_everything_works_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_scene(Path("photos/forged.png"), 250)
    (record,) = read_results(scan_red() / "_fasa/results.jsonl")
    assert record.score_area == pytest.approx(250 / 255, abs=1e-5)
    assert record.band is record.false_alarm_rate is record.log10_lr is None
    assert record.regions[0].findings
    assert "no calibration" in meaning(record)[0]


def test_a_photo_unlike_the_calibration_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/small.png"))
    out = scan_red(calibration=calibration(tmp_path / "c.json"))
    (record,) = read_results(out / "_fasa/results.jsonl")
    assert record.band == "inconclusive"
    assert record.false_alarm_rate is not None
    assert meaning(record)[0].startswith("Inconclusive")


def scanned(*arguments: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["scan", *map(str, arguments), "--device", "cpu"])
    return result.exit_code, result.output


@pytest.fixture
def weights(tmp_path: Path, tiny_weights: Path) -> Path:
    """The tiny weights with a calibration beside them."""
    from fasa_cli.files import sha256_of

    path = tmp_path / "own.safetensors"
    path.write_bytes(tiny_weights.read_bytes())
    calibration(tmp_path / "own.calibration.json", sha256_of(path))
    write_scene(tmp_path / "photos/a.png", 250)
    write_scene(tmp_path / "photos/b.png", 250)
    return path


def test_the_calibration_beside_the_weights_is_used(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    code, said = scanned(tmp_path / "photos", "--out", out, "--weights", weights)
    assert code == 0, said
    assert "1 copy" in said  # the same file twice is one row
    records = list(read_results(out / "_fasa/results.jsonl"))
    assert all(record.band for record in records)
    weak = sum((record.false_alarm_rate or 1) <= 0.2 for record in records)
    shown = RUNNER.invoke(app, ["report", str(out)]).output
    assert f"weak or stronger: {weak}; expected if none was changed: fewer than 1" in shown
    code, said = scanned(
        tmp_path / "photos", "--out", out, "--weights", weights, "--calibration", "none"
    )
    assert code == 1  # another setting in the same folder
    assert "calibration" in said


def test_a_single_photo_is_answered_on_the_screen(weights: Path, tmp_path: Path) -> None:
    code, said = scanned(tmp_path / "photos/a.png", "--out", tmp_path / "m", "--weights", weights)
    assert code == 0
    assert "untouched photos" in said
    assert "log10 LR" in said


def test_a_calibration_of_other_weights_is_left_aside_or_refused(
    weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "own.calibration.json"
    calibration(other, "1" * 64)
    code, said = scanned(tmp_path / "photos/a.png", "--out", tmp_path / "m", "--weights", weights)
    assert code == 0
    assert "other weights" in said
    asked = ("--weights", weights, "--calibration", other)
    code, said = scanned(tmp_path / "photos/a.png", "--out", tmp_path / "n", *asked)
    assert code == 1
    assert "fasa calibrate" in said


def test_a_false_alarm_rate_chooses_the_threshold(weights: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photos/a.png"
    code, said = scanned(
        photo, "--out", tmp_path / "m", "--weights", weights, "--max-false-alarms", 0.1
    )
    assert code == 0, said
    run = json.loads((tmp_path / "m/_fasa/run.json").read_text())
    # of 150 from -6 by 0.05, 14 lie above the 136th
    assert run["config"]["threshold"] == pytest.approx(1 / (1 + np.exp(6 - 0.05 * 135)), abs=1e-4)
    for more, cure in (
        (("--max-false-alarms", 0.001), "smallest"),
        (("--max-false-alarms", 0.1, "--calibration", "none"), "calibration"),
    ):
        code, said = scanned(photo, "--out", tmp_path / "n", "--weights", weights, *more)
        assert code == 1
        assert cure in said


@pytest.mark.parametrize(
    ("goal", "expected"), [("100%", 10), ("0%", 0), ("0.0", 10), ("100.5%", 2), ("firm", 2)]
)
def test_a_scan_fails_on_a_rate_or_a_score(
    weights: Path, tmp_path: Path, goal: str, expected: int
) -> None:
    photo = tmp_path / "photos/a.png"
    code, said = scanned(photo, "--out", tmp_path / "m", "--weights", weights, "--fail-on", goal)
    assert code == expected, said
    assert ("a.png (" in said) == (expected == 10)


def test_a_band_to_fail_on_needs_a_calibration(weights: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photos/a.png"
    chosen = ("--weights", weights, "--fail-on", "weak", "--calibration", "none")
    code, said = scanned(photo, "--out", tmp_path / "m", *chosen)
    assert code == 1
    assert "calibration" in said

"""`fasa robustness` as people call it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fasa_cli import assets
from fasa_cli.app import app
from tests.conftest import write_set


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    write_set(tmp_path / "set", 2, 1)
    return tmp_path


def fasa_robustness(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["robustness", *map(str, arguments)])


def severities(folder: str, kind: str) -> list[str]:
    with Path(folder, "robustness.csv").open() as file:
        return [row["severity"] for row in csv.DictReader(file) if row["degradation"] == kind]


def test_without_data_and_weights_it_takes_what_comes_with_fasa(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "shipped_weights", lambda: tiny_weights)
    monkeypatch.setattr(assets, "shipped_examples", lambda: Path("set"))
    result = fasa_robustness("--jpeg", "50..100", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert severities("runs/robustness/set-jpeg-native", "jpeg") == [
        "100",
        "90",
        "80",
        "70",
        "60",
        "50",
    ]
    assert severities("runs/robustness/set-jpeg-native", "clean") == ["0"]
    assert "set: pixel F1, JPEG compression" in result.stderr
    assert "3 images (2 manipulated), 0 skipped" in result.stderr
    for name in ("robustness.json", "robustness.png", "robustness.svg"):
        assert Path("runs/robustness/set-jpeg-native", name).is_file()


def test_ranges_and_several_weights(tiny_weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    other.write_bytes(tiny_weights.read_bytes())
    command = ["set", "--weights", tiny_weights, "--weights", other, "--device", "cpu"]
    command += ["--blur", "0..7", "--noise", "3,25", "--resize", "50..100:25", "--out", "run"]
    result = fasa_robustness(*command, "--metric", "pixel_auc", "--json")
    assert result.exit_code == 0, result.stderr
    sweep = json.loads(result.stdout)
    assert sweep["methods"] == ["tiny", "other"]
    names = [(point["kind"], point["severity"]) for point in sweep["points"]]
    assert names == [
        ("clean", 0),
        ("blur", 3),
        ("blur", 7),
        ("noise", 3),
        ("noise", 25),
        ("resize", 75),
        ("resize", 50),
    ]
    assert len(sweep["results"]) == 14
    first, second = sweep["results"][1], sweep["results"][8]
    assert first["scores"] == second["scores"]  # the same weights under another name


@pytest.mark.parametrize(
    "arguments",
    [
        ("set",),
        ("set", "--jpeg", "0..50"),
        ("set", "--jpeg", "high"),
        ("set", "--blur", "0..8:4"),
        ("set", "--blur", "4..6"),
        ("set", "--resize", "0.5"),
        ("set", "--jpeg", "50", "--metric", "f1"),
        ("set", "--jpeg", "50", "--name", "a", "--name", "b"),
    ],
)
def test_2_usage(tiny_weights: Path, arguments: tuple[str, ...]) -> None:
    result = fasa_robustness(*arguments, "--weights", tiny_weights)
    assert result.exit_code == 2, result.stderr
    assert not Path("runs").exists()


def test_2_two_methods_of_one_name(tiny_weights: Path) -> None:
    result = fasa_robustness("set", "--jpeg", "50", *["--weights", tiny_weights] * 2)
    assert (result.exit_code, "one --name each" in result.stderr) == (2, True)


def test_predictions_need_a_folder_per_severity(tiny_weights: Path) -> None:
    Path("theirs/clean").mkdir(parents=True)
    result = fasa_robustness("set", "--jpeg", "50,70", "--predictions", "theirs")
    assert result.exit_code == 1
    assert "missing: jpeg-70, jpeg-50" in " ".join(result.stderr.split())
    assert not Path("runs").exists()


def test_other_methods_are_swept_over_exported_images(tiny_weights: Path) -> None:
    ranges = ("--jpeg", "50", "--blur", "3")
    result = fasa_robustness("set", *ranges, "--export", "degraded")
    assert result.exit_code == 0, result.stderr
    weights = ["--weights", str(tiny_weights), "--device", "cpu"]
    for point in ("clean", "jpeg-50", "blur-3"):
        scan = ["scan", f"degraded/{point}", "--prob", "--out", f"theirs/{point}", *weights]
        assert CliRunner().invoke(app, scan).exit_code == 0
    command = ("set", *ranges, *weights, "--predictions", "theirs", "--out", "run", "--json")
    result = fasa_robustness(*command, "--name", "mine", "--name", "theirs")
    assert result.exit_code == 0, result.stderr
    results = json.loads(result.stdout)["results"]
    for mine, theirs in zip(results[:3], results[3:], strict=True):
        assert (mine["name"], theirs["name"]) == ("mine", "theirs")
        assert theirs["scores"]["pixel_auc"] == pytest.approx(mine["scores"]["pixel_auc"], abs=1e-3)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_is_legible(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Severities are rows; no value is broken and no line is wider than the screen."""
    monkeypatch.setenv("COLUMNS", str(width))
    weights = [text for _ in range(4) for text in ("--weights", tiny_weights)]
    names = ["ours", "a-method-with-a-name-of-forty-characters", "third", "fourth"]
    named = [text for name in names for text in ("--name", name)]
    command = ("set", "--jpeg", "50..100", *weights, *named, "--device", "cpu", "--out", "run")
    result = fasa_robustness(*command)
    assert result.exit_code == 0, result.stderr
    drawn = [line for line in result.stderr.splitlines() if line[:1] in "┃│┏┡└"]
    assert max(map(len, drawn)) <= width
    rows = [re.split("[│]", line)[1:-1] for line in drawn if line.startswith("│")]
    severities = ["clean", "100", "90", "80", "70", "60", "50"]
    names_of_rows = [row[0].strip() for row in rows]
    assert names_of_rows == severities * (len(rows) // 7)
    cells = [cell.strip() for row in rows for cell in row[1:]]
    assert len(cells) == 7 * 4
    assert all(re.fullmatch(r"0\.\d{4}( \(\d\.\d{3}-\d\.\d{3}\))?", cell) for cell in cells)
    assert result.stderr.count("quality") == len(rows) // 7
    headings = "".join(char for line in drawn if line[:1] == "┃" for char in line)
    assert "ours" in headings
    assert len(rows) // 7 == {80: 2, 120: 1, 200: 1}[width]


def test_another_range_adds_its_points_and_another_threshold_has_its_folder(
    tiny_weights: Path,
) -> None:
    command = ("set", "--weights", tiny_weights, "--device", "cpu")
    assert fasa_robustness(*command, "--jpeg", "50,70").exit_code == 0
    result = fasa_robustness(*command, "--jpeg", "90")
    assert result.exit_code == 0, result.stderr
    assert severities("runs/robustness/set-jpeg-native", "jpeg") == ["90", "70", "50"]
    result = fasa_robustness(*command, "--jpeg", "90", "--threshold", "0.4")
    assert result.exit_code == 0, result.stderr
    assert len(list(Path("runs/robustness").iterdir())) == 2
    assert severities("runs/robustness/set-jpeg-native", "jpeg") == ["90", "70", "50"]


def test_a_perfect_f1_is_1_in_csv_and_a_score_below_1_is_not(tmp_path: Path) -> None:
    """F1 has an epsilon of 1e-8 (IMDL-BenCo's), a score has none."""
    for name in ("m0", "m1"):
        mask = Path(f"set/masks/{name}.png").read_bytes()
        Path("theirs").mkdir(exist_ok=True)
        Path(f"theirs/{name}.png").write_bytes(mask)
    values = np.full((32, 40), 0.99999997, np.float32)
    np.save("theirs/a0.npy", values)
    arguments = ["evaluate", "set", "--predictions", "theirs", "--out", "run"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    with Path("run/images.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["images/m0.png"]["pixel_f1"] == "1.0"
    assert rows["authentic/a0.png"]["score"] == "0.999999"


def test_the_same_command_goes_on_and_another_is_refused(tiny_weights: Path) -> None:
    command = ("set", "--jpeg", "50", "--weights", tiny_weights, "--device", "cpu", "--out", "run")
    assert fasa_robustness(*command).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("run/points").rglob("*.json")}
    assert fasa_robustness(*command).exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("run/points").rglob("*.json")}
    result = fasa_robustness(*command, "--threshold", "0.4")
    assert (result.exit_code, "holds another sweep (other threshold)" in result.stderr) == (1, True)


def test_3_some_images_were_skipped(tiny_weights: Path) -> None:
    Path("set/images/m0.png").write_bytes(b"")
    result = fasa_robustness("set", "--jpeg", "50", "--weights", tiny_weights, "--device", "cpu")
    assert result.exit_code == 3
    assert "2 images (1 manipulated), 1 skipped" in result.stderr

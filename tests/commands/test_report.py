"""`fasa report` as people call it: tables of evaluations and sweeps, the summary of a scan."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from fasa_cli.data.datasets import read_dataset
from fasa_cli.evaluation.predictions import SavedPredictions
from fasa_cli.evaluation.runs import Data, Measurement, measure
from fasa_cli.evaluation.sweeps import Method, sweep
from fasa_cli.imaging.degradations import CLEAN, Degradation
from tests.conftest import write_photo, write_set


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    return tmp_path


def fasa_report(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def predictions(data: Data, name: str, seed: int) -> SavedPredictions:
    for sample in data.dataset:
        path = Path(name, sample.name).with_suffix(".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(seed).random(sample.image.shape[:2]))
    return SavedPredictions(Path(name))


def evaluations() -> None:
    """Two methods on two sets, one of which the paper has too, in runs/."""
    for name in ("columbia", "mine"):
        data = Data.of(read_dataset(write_set(Path(name), 2, 1)), Path(name))
        for seed, method in enumerate(("One", "Two")):
            predictor = predictions(data, f"maps/{method}", seed)
            measurement = Measurement(predictor, method, data, "benco")
            measure(measurement, Path("runs", f"{name}-{method}"))


def test_a_table_in_the_terminal() -> None:
    evaluations()
    result = fasa_report("runs")
    assert result.exit_code == 0, result.stderr
    for text in ("columbia", "mine", "Average", "One", "Two", "measured: protocol benco"):
        assert text in result.stdout
    assert "mine: 3 images (2 manipulated), 0 skipped." in result.stdout


def test_published_figures_are_called_so_in_every_format() -> None:
    evaluations()
    for name in ("terminal", "markdown", "csv", "latex", "html"):
        result = fasa_report("runs", "--table", "3", "--published", "--format", name)
        assert result.exit_code == 0, result.stderr
        assert "published" in result.stdout
        assert "arXiv:2604.12341" in result.stdout
        assert "0.8777" in result.stdout
    alone = fasa_report("--table", "2", "--published")
    assert alone.exit_code == 0
    assert "CNNDet" in alone.stdout
    assert "measured:" not in alone.stdout


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".md", "**"),
        (".csv", "source,"),
        (".tex", "% needs"),
        (".html", "<!doctype html>"),
    ],
)
def test_a_file_is_written_after_its_suffix(suffix: str, start: str) -> None:
    evaluations()
    result = fasa_report("runs/mine-One", "runs/mine-Two", "--out", f"table{suffix}")
    assert (result.exit_code, result.stdout) == (0, "")
    assert Path(f"table{suffix}").read_text().startswith(start)


def test_metrics_of_choice_without_intervals() -> None:
    evaluations()
    command = ("runs/mine-One", "--metrics", "image_auc,false_alarm_area", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(fasa_report(*command).stdout))
    saved = json.loads(Path("runs/mine-One/evaluation.json").read_text())["scores"]
    assert float(row["mine false_alarm_area"]) == pytest.approx(saved["false_alarm_area"], abs=1e-6)
    text = fasa_report("runs/mine-One", "--no-intervals", "--format", "markdown").stdout
    assert "(0." not in text


def test_a_sweep() -> None:
    data = Data.of(read_dataset(write_set(Path("set"), 2, 1)), Path("set"))
    predictor = predictions(data, "maps", 0)
    points = [CLEAN, Degradation("jpeg", 50)]
    sweep([Method("m", lambda: lambda point: predictor)], data, points, Path("sweep"))
    result = fasa_report("sweep")
    assert result.exit_code == 0, result.stderr
    assert "set: pixel F1, JPEG compression" in result.stdout
    rows = list(csv.DictReader(io.StringIO(fasa_report("sweep", "--format", "csv").stdout)))
    assert [row["severity"] for row in rows] == ["0", "50"]
    assert (
        fasa_report("sweep", "--metrics", "pixel_auc,image_auc", "--out", "a.html").exit_code == 0
    )
    assert Path("a.html").read_text().count("<table>") == 2
    assert fasa_report("sweep", "--metrics", "f1").exit_code == 2


# --- A scan ---------------------------------------------------------------------------------


def scanned(tiny_weights: Path) -> list[dict[str, object]]:
    for seed, name in enumerate(("a.png", "b\x1b[2J.png", "sub/c.png")):
        write_photo(Path("photos", name), seed)
    Path("photos/cut.png").write_bytes(Path("photos/a.png").read_bytes()[:300])
    Path("photos/notes.txt").write_text("none")
    command = ["scan", "photos", "--weights", str(tiny_weights), "--device", "cpu"]
    assert CliRunner().invoke(app, command).exit_code == 3
    lines = Path("masks/_fasa/results.jsonl").read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda record: -record["score_max"])


def test_the_summary_of_a_scan(tiny_weights: Path) -> None:
    records = scanned(tiny_weights)
    result = fasa_report("masks")
    assert result.exit_code == 0, result.stderr
    text = result.stdout
    assert "3 analysed, 1 failed (1 undecodable), 1 skipped (1 not an image)" in text
    assert "complete; fasa" in text
    assert "threshold 0.5, on cpu" in text
    places = [text.index(f"{record['score_max']:.4f}") for record in records]
    assert places == sorted(places)
    assert "photos/cut.png: " in text
    assert "\x1b" not in text
    assert "b\\x1b[2J.png" in text
    assert "not a verdict" in text
    assert not {"fake", "authentic"} & set(text.lower().split())


def test_only_the_highest_are_listed(tiny_weights: Path) -> None:
    records = scanned(tiny_weights)
    text = fasa_report("masks", "--top", "1").stdout
    assert f"{records[0]['score_max']:.4f}" in text
    assert f"{records[2]['score_max']:.4f}" not in text


def test_a_scan_that_did_not_end_says_so(tiny_weights: Path) -> None:
    scanned(tiny_weights)
    path = Path("masks/_fasa/run.json")
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "status": "running"}))
    assert "the scan did not end" in fasa_report("masks").stdout


def test_a_scan_as_one_page(tiny_weights: Path) -> None:
    records = scanned(tiny_weights)
    result = fasa_report("masks", "--out", "report.html")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"of {len(records)} photos {len(records)} listed" in result.stderr
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert all(str(record["sha256"]) in page for record in records)
    assert str(Path.cwd()) not in page
    assert fasa_report("masks", "--out", "open.html", "--redact", "none").exit_code == 0
    assert str(Path.cwd()) in Path("open.html").read_text(encoding="utf-8")


# --- Usage ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("runs", "--published"),
        ("runs", "--table", "5"),
        ("runs", "--format", "pdf"),
        ("runs", "--out", "table.pdf"),
        ("runs", "--out", "table.md", "--format", "terminal"),
        ("runs", "--metrics", "f1"),
        ("scan", "runs"),
        ("scan", "--out", "table.md"),
        ("scan", "--format", "html"),
        ("scan", "--out", "no/report.html"),
        ("scan", "--out", "report.html", "--redact", "names"),
    ],
)
def test_2_usage(arguments: tuple[str, ...]) -> None:
    evaluations()
    Path("scan/_fasa").mkdir(parents=True)
    Path("scan/_fasa/run.json").write_text("{}")
    assert fasa_report(*arguments).exit_code == 2


def test_1_nothing_to_report_on() -> None:
    Path("empty").mkdir()
    result = fasa_report("empty")
    assert (result.exit_code, "empty: holds no scan" in result.stderr) == (1, True)


def test_a_folder_that_is_not_there_is_named() -> None:
    Path("file").write_text("text")
    for name in ("nowhere", "file"):
        result = fasa_report(name)
        assert (result.exit_code, result.stderr.startswith(f"error: {name}: ")) == (1, True)
        assert "fasa scan" in result.stderr

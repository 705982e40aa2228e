"""Evaluations in folders: written, read back, refused, and compared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fasa_cli.data.datasets import read_dataset
from fasa_cli.errors import DatasetError, OutputError
from fasa_cli.evaluation.predictions import SavedPredictions
from fasa_cli.evaluation.runs import (
    Data,
    EvaluationRun,
    Measurement,
    compare,
    find_evaluations,
    folder_name,
    is_measured,
    measure,
    method_name,
    read_evaluation,
)
from fasa_cli.evaluation.scoring import evaluate
from fasa_cli.imaging.degradations import Degradation
from tests.conftest import write_set


@dataclass
class Fixture:
    """A data set and the predictions of two methods for it."""

    data: Data
    good: SavedPredictions
    poor: SavedPredictions


@pytest.fixture
def made(tmp_path: Path) -> Fixture:
    dataset = read_dataset(write_set(tmp_path / "set"))
    for name, noise in (("good", 0.2), ("poor", 0.9)):
        for sample in dataset:
            target = sample.target_mask
            target = np.zeros(sample.image.shape[:2]) if target is None else target
            generator = np.random.default_rng(len(sample.name))
            values = target * (1 - noise) + noise * generator.random(target.shape)
            path = (tmp_path / name / sample.name).with_suffix(".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values)
    folders = [SavedPredictions(tmp_path / name) for name in ("good", "poor")]
    return Fixture(Data.of(dataset, tmp_path / "set"), *folders)


def test_what_is_read_back_is_what_was_measured(made: Fixture, tmp_path: Path) -> None:
    run = measure(Measurement(made.good, "Good", made.data), tmp_path / "run", argv=["fasa"])
    direct = evaluate(made.good, made.data.dataset)
    assert run == read_evaluation(tmp_path / "run")
    assert run.scores == direct.scores
    assert run.images() == direct.images
    assert run.intervals == direct.intervals
    assert (run.name, run.data_name, run.degradation.name) == ("Good", "set", "clean")
    assert run.skipped == ()
    about = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert about["method"] == {"kind": "predictions", "sha256": made.good.sha256}
    assert about["argv"] == ["fasa"]
    assert about["libraries"]["numpy"] == np.__version__
    header, *rows = (tmp_path / "run" / "images.csv").read_text().splitlines()
    assert header.startswith("name,manipulated,score,area,pixel_f1")
    assert [row.split(",")[0] for row in rows] == [image.name for image in run.images()]


def test_another_evaluation_in_the_folder_is_refused(made: Fixture, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = Measurement(made.good, "a", made.data)
    measure(first, folder)
    assert measure(first, folder).name == "a"  # the same is done again
    for other in (
        Measurement(made.poor, "a", made.data),
        Measurement(made.good, "b", made.data),
        Measurement(made.good, "a", made.data, "benco"),
        Measurement(made.good, "a", made.data, threshold=0.4),
        Measurement(made.good, "a", made.data, degradation=Degradation("jpeg", 50)),
    ):
        with pytest.raises(OutputError, match=r"run: holds another evaluation .*--overwrite"):
            measure(other, folder)
        assert not is_measured(other, folder)
    assert is_measured(first, folder)
    second = Measurement(made.poor, "a", made.data)
    assert measure(second, folder, overwrite=True).about["method"]["sha256"] == made.poor.sha256


def test_foreign_files_are_not_overwritten(made: Fixture, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "images.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"images.csv: exists"):
        measure(Measurement(made.good, "a", made.data), tmp_path / "run")
    assert (tmp_path / "run" / "images.csv").read_text() == "mine"


def test_changed_data_are_other_data(made: Fixture, tmp_path: Path) -> None:
    measurement = Measurement(made.good, "a", made.data)
    measure(measurement, tmp_path / "run")
    image = tmp_path / "set" / "authentic" / "a0.png"
    image.write_bytes((tmp_path / "set" / "authentic" / "a1.png").read_bytes())
    changed = Data.of(read_dataset(tmp_path / "set"), tmp_path / "set")
    assert changed.sha256 != made.data.sha256
    assert not is_measured(Measurement(made.good, "a", changed), tmp_path / "run")


def test_skipped_images_are_told_and_none_left_is_an_error(made: Fixture, tmp_path: Path) -> None:
    (tmp_path / "set" / "images" / "m0.png").write_bytes(b"")
    run = measure(Measurement(made.good, "a", made.data), tmp_path / "run")
    assert (run.scores.images, run.scores.skipped) == (4, 1)
    assert "m0.png: the file is empty" in run.skipped[0]
    for path in (tmp_path / "set").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"no image could be scored; the first: .*m0.png"):
        measure(Measurement(made.good, "a", made.data), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "evaluation.json").unlink(), "holds no evaluation"),
        (lambda folder: (folder / "evaluation.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "evaluation.json").write_text("[]"), "cannot be read"),
        (
            lambda folder: (folder / "evaluation.json").write_text('{"schema_version": 9}'),
            "schema 9, not 1",
        ),
        (lambda folder: (folder / "images.jsonl").write_text("{}\n"), "cannot be read"),
        (lambda folder: (folder / "images.jsonl").write_text(""), "has 0 images, not 5"),
        (lambda folder: (folder / "images.jsonl").unlink(), "cannot be read"),
    ],
)
def test_a_damaged_evaluation_is_an_error_and_not_complete(
    made: Fixture, tmp_path: Path, damage, message: str
) -> None:
    measurement = Measurement(made.good, "a", made.data)
    measure(measurement, tmp_path / "run")
    damage(tmp_path / "run")
    with pytest.raises(OutputError, match=message):
        read_evaluation(tmp_path / "run").images()
    assert not is_measured(measurement, tmp_path / "run")


# --- Comparison -----------------------------------------------------------------------------


def both(made: Fixture, folder: Path, **settings: object) -> tuple[EvaluationRun, EvaluationRun]:
    good = measure(Measurement(made.good, "good", made.data, **settings), folder / "A")
    return good, measure(Measurement(made.poor, "poor", made.data), folder / "B")


def test_a_comparison_is_second_minus_first_image_by_image(made: Fixture, tmp_path: Path) -> None:
    good, poor = both(made, tmp_path)
    comparison = compare(good, poor)
    assert (comparison.images, comparison.unpaired) == (5, 0)
    for name in ("pixel_f1", "pixel_auc", "pixel_f1_best", "image_accuracy", "false_alarm_area"):
        difference = comparison.differences[name]
        expected = getattr(poor.scores, name) - getattr(good.scores, name)
        assert difference.difference == pytest.approx(expected), name
    f1 = comparison.differences["pixel_f1"]
    assert f1.interval is not None
    assert f1.interval[1] < 0  # surely worse
    assert compare(poor, good).differences["pixel_f1"].difference == pytest.approx(-f1.difference)


def test_images_of_one_side_only_are_left_out_and_counted(made: Fixture, tmp_path: Path) -> None:
    (tmp_path / "poor" / "images" / "m1.npy").unlink()
    made.poor = SavedPredictions(tmp_path / "poor")
    comparison = compare(*both(made, tmp_path))
    assert (comparison.images, comparison.unpaired) == (4, 1)
    assert comparison.differences["pixel_f1"].images == 2


def test_images_of_one_name_are_told_apart_by_their_order(made: Fixture, tmp_path: Path) -> None:
    runs = both(made, tmp_path)
    for run in runs:
        path = run.folder / "images.jsonl"
        path.write_text(path.read_text().replace("m1.png", "m0.png"))
    assert compare(*runs).images == 5


def test_runs_that_cannot_be_compared(made: Fixture, tmp_path: Path) -> None:
    good, poor = both(made, tmp_path, protocol="benco")
    with pytest.raises(OutputError, match="of different protocols"):
        compare(good, poor)
    other = read_dataset(write_set(tmp_path / "other" / "set", 2))
    elsewhere = Measurement(made.good, "a", Data.of(other, tmp_path / "other"))
    with pytest.raises(OutputError, match="of different data sets"):
        compare(measure(elsewhere, tmp_path / "C"), poor)


# --- Names ----------------------------------------------------------------------------------


def test_evaluations_are_found_below_a_folder_but_not_a_sweeps(
    made: Fixture, tmp_path: Path
) -> None:
    measurement = Measurement(made.good, "a", made.data)
    for name in ("runs/b", "runs/a", "runs/sweep/points/a/clean-1"):
        measure(measurement, tmp_path / name)
    found = [run.folder for run in find_evaluations(tmp_path / "runs")]
    assert found == [tmp_path / "runs" / "a", tmp_path / "runs" / "b"]
    point = tmp_path / "runs/sweep/points/a/clean-1"
    assert [run.folder for run in find_evaluations(point)] == [point]
    with pytest.raises(OutputError, match="holds no evaluation"):
        find_evaluations(tmp_path / "set")


def test_names_of_methods_and_folders() -> None:
    assert method_name(Path("weights/compact.safetensors")) == "compact"
    assert method_name(Path("runs/mine/last.safetensors")) == "mine last"
    assert method_name(Path("predictions/MVSS-Net")) == "MVSS-Net"
    assert folder_name("../a b/ü*?") == "a-b-ü"
    assert folder_name("...") == "unnamed"

"""Sweeps: what is evaluated, what is degraded how, and going on where one stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from fasa_cli.data.datasets import read_dataset
from fasa_cli.errors import DatasetError, OutputError
from fasa_cli.evaluation.localizers import ModelLocalizer
from fasa_cli.evaluation.runs import Data
from fasa_cli.evaluation.sweep_tables import sweep_tables, write_curves
from fasa_cli.evaluation.sweeps import (
    Method,
    export_points,
    own_folder,
    points_of,
    predictions_per_severity,
    read_sweep,
    sweep,
    with_earlier_points,
)
from fasa_cli.imaging.degradations import CLEAN, Degradation, jpeg
from fasa_cli.imaging.encode import encode_mask
from fasa_cli.predictor import WeightsInfo
from fasa_cli.results import Prediction
from tests.conftest import write_set


@dataclass
class Recorder:
    """A predictor that remembers what it saw and may be interrupted."""

    stop_at: int | None = None
    sha256: str = "abc"
    seen: list[np.ndarray] = field(default_factory=list)
    device = torch.device("cpu")

    @property
    def weights(self) -> WeightsInfo:
        return WeightsInfo(None, self.sha256, "tiny", 1)

    def predict(self, image: np.ndarray) -> Prediction:
        if len(self.seen) == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(image)
        values = image[..., 0].astype(np.float32) / 255
        return Prediction(values, float(values.max()), image.shape[1::-1])


POINTS = points_of({"jpeg": (50, 90), "resize": (100, 50)})


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data.of(read_dataset(write_set(tmp_path / "set", 2, 1)), tmp_path / "set")


def method(predictor: Recorder, name: str = "a") -> Method:
    return Method(name, lambda: lambda point: ModelLocalizer(predictor))


def test_points_go_from_clean_to_severe_without_repetition() -> None:
    names = [point.name for point in POINTS]
    assert names == ["clean", "jpeg-90", "jpeg-50", "resize-50"]
    assert [point.severity for point in points_of({"blur": (7, 0, 3, 3, 1)})] == [0, 3, 7]
    assert [p.severity for p in points_of({"resize": (25, 200, 100, 75)})] == [0, 75, 200, 25]
    with pytest.raises(ValueError, match="odd"):
        points_of({"blur": (0, 4)})


def test_images_are_degraded_at_their_own_size_and_masks_follow(data: Data, tmp_path: Path) -> None:
    recorder = Recorder()
    result = sweep([method(recorder)], data, POINTS, tmp_path / "out")
    images = [sample.image for sample in data.dataset]
    assert len(recorder.seen) == len(images) * len(POINTS)
    for index, image in enumerate(images):
        np.testing.assert_array_equal(recorder.seen[index], image)
        np.testing.assert_array_equal(recorder.seen[3 + index], jpeg(image, 90))
        assert recorder.seen[9 + index].shape == (16, round(image.shape[1] / 2), 3)
    assert [run.degradation.name for run in result.runs] == [point.name for point in POINTS]
    assert all(run.scores.pixel_images == 2 for run in result.runs)


def test_a_protocol_resizes_after_degrading(data: Data, tmp_path: Path) -> None:
    recorder = Recorder()
    sweep([method(recorder)], data, points_of({"jpeg": (10,)}), tmp_path / "out", protocol="benco")
    for index, sample in enumerate(data.dataset):
        expected = cv2.resize(jpeg(sample.image, 10), (512, 512), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_array_equal(recorder.seen[3 + index], expected)


def test_an_interrupted_sweep_goes_on_with_the_first_point_missing(
    data: Data, tmp_path: Path
) -> None:
    first = Recorder(stop_at=7)  # in the third point
    with pytest.raises(KeyboardInterrupt):
        sweep([method(first)], data, POINTS, tmp_path / "out")
    assert not (tmp_path / "out" / "robustness.json").exists()
    second, done = Recorder(), []
    result = sweep([method(second)], data, POINTS, tmp_path / "out", advance=done.append)
    assert len(second.seen) == 6  # two points of three images
    assert sum(done) == len(POINTS) * 3
    whole = sweep([method(Recorder())], data, POINTS, tmp_path / "whole")
    assert [run.scores for run in result.runs] == [run.scores for run in whole.runs]
    assert [run.intervals for run in result.runs] == [run.intervals for run in whole.runs]


def test_a_point_counts_only_for_its_own_weights_data_and_settings(
    data: Data, tmp_path: Path
) -> None:
    out, points = tmp_path / "out", [CLEAN]
    sweep([method(Recorder())], data, points, out)

    def again(recorder: Recorder, **settings: object) -> int:
        sweep([method(recorder)], data, points, out, overwrite=True, **settings)
        return len(recorder.seen)

    assert again(Recorder()) == 0
    assert again(Recorder(sha256="other")) == 3
    assert again(Recorder(), threshold=0.4) == 3
    journal = next((out / "points").rglob("images.jsonl"))
    for path in (out / "points").rglob("images.jsonl"):
        path.write_text("")
    assert journal.stat().st_size == 0
    assert again(Recorder()) == 3  # damaged: done again


def test_another_sweep_in_the_folder_is_refused(data: Data, tmp_path: Path) -> None:
    sweep([method(Recorder())], data, [CLEAN], tmp_path / "out")
    with pytest.raises(OutputError, match=r"holds another sweep \(other methods\).*--overwrite"):
        sweep([method(Recorder(), "b")], data, [CLEAN], tmp_path / "out")


def test_what_is_written_is_what_was_measured(data: Data, tmp_path: Path) -> None:
    methods = [method(Recorder()), method(Recorder(sha256="b"), "b")]
    result = sweep(methods, data, POINTS, tmp_path / "out")
    assert read_sweep(tmp_path / "out").runs == result.runs
    about = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert about["results"][1]["scores"]["pixel_f1"] == result.runs[1].scores.pixel_f1
    with (tmp_path / "out" / "robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["degradation"], row["severity"]) for row in rows] == [
        (name, point.kind, str(point.severity)) for name in ("a", "b") for point in POINTS
    ]
    assert float(rows[1]["pixel_auc"]) == pytest.approx(result.runs[1].scores.pixel_auc, abs=1e-6)
    assert (rows[0]["protocol"], rows[0]["images"], rows[0]["skipped"]) == ("native", "3", "0")


def test_tables_and_curves_start_at_clean(data: Data, tmp_path: Path) -> None:
    methods = [method(Recorder()), method(Recorder(sha256="b"), "b")]
    result = sweep(methods, data, POINTS, tmp_path / "out")
    first, second = sweep_tables(result, "pixel_auc")
    assert [column.heading for column in first.columns] == ["a", "b"]
    assert (first.corner, second.corner) == ("quality", "size of the sides (%)")
    assert first.title == "set: pixel AUC, JPEG compression"
    (block,) = first.blocks
    assert [row.name for row in block.rows] == ["clean", "90", "50"]
    assert [row.name for row in second.blocks[0].rows] == ["clean", "50"]
    assert block.rows[1].cells[0].value == result.runs[1].scores.pixel_auc
    assert first.notes == ("3 images (2 manipulated), 0 skipped.",)
    for path in write_curves(result, "pixel_auc"):
        assert path.stat().st_size > 1000
    assert Image.open(tmp_path / "out" / "robustness.png").format == "PNG"


def test_counts_that_differ_are_told_by_severity(data: Data, tmp_path: Path) -> None:
    folder = write_predictions(tmp_path, data, lambda point: point.name)
    (folder / "jpeg-50" / "images" / "m0.png.npy").unlink()
    answering = predictions_per_severity(folder, POINTS)
    result = sweep([Method("p", lambda: answering)], data, POINTS, tmp_path / "out")
    notes = sweep_tables(result)[0].notes
    assert "p jpeg-50: 2 images (1 manipulated), 1 skipped." in notes


def test_the_best_method_of_a_severity_is_marked(data: Data, tmp_path: Path) -> None:
    class Blind(Recorder):
        def predict(self, image: np.ndarray) -> Prediction:
            return Prediction(np.zeros(image.shape[:2], np.float32), 0.0, image.shape[1::-1])

    methods = [method(Blind(sha256="b"), "blind"), method(Recorder(), "a")]
    result = sweep(methods, data, points_of({"jpeg": (50,)}), tmp_path / "out")
    (table,) = sweep_tables(result)
    shown = table.texts(table.blocks[0], lambda text, mark: f"{text}{mark or ''}", False)
    for name, blind, other in shown:
        assert (blind, other.endswith("best")) == ("0.0000", True), name


def test_points_are_added_to_a_sweep_and_others_get_a_folder_of_their_own(
    data: Data, tmp_path: Path
) -> None:
    out, recorder = tmp_path / "out", Recorder()
    sweep([method(recorder)], data, points_of({"jpeg": (90, 70)}), out)
    with pytest.raises(OutputError, match="other points"):
        sweep([method(recorder)], data, points_of({"jpeg": (50,)}), out)
    points = with_earlier_points(points_of({"jpeg": (50,), "blur": (3,)}), out)
    assert [point.name for point in points] == ["clean", "jpeg-90", "jpeg-70", "jpeg-50", "blur-3"]
    recorder.seen.clear()
    result = sweep([method(recorder)], data, points, out)
    assert len(recorder.seen) == 6  # the two that are new
    assert [run.degradation.name for run in result.runs] == [point.name for point in points]
    assert own_folder(out, data, ["a"], 0.5) == out
    others = {own_folder(out, data, ["b"], 0.5), own_folder(out, data, ["a"], 0.4)}
    assert len(others) == 2
    assert out not in others
    assert own_folder(tmp_path / "new", data, ["b"], 0.5) == tmp_path / "new"


# --- Other methods' predictions -------------------------------------------------------------


def write_predictions(tmp_path: Path, data: Data, name: Callable[[Degradation], str]) -> Path:
    """What `Recorder` answers to the exported images, in a folder per severity."""
    export_points(data.dataset, POINTS, tmp_path / "sets")
    for point in POINTS:
        for path in (tmp_path / "sets" / point.name).rglob("*.png"):
            inside = path.relative_to(tmp_path / "sets" / point.name)
            if inside.parts[0] != "masks":
                target = (
                    tmp_path
                    / "predictions"
                    / name(point)
                    / f"{inside}".replace(".png.png", ".png.npy")
                )
                target.parent.mkdir(parents=True, exist_ok=True)
                np.save(target, np.asarray(Image.open(path))[..., 0].astype(np.float32) / 255)
    return tmp_path / "predictions"


def test_predictions_for_exported_images_score_as_the_model_itself(
    data: Data, tmp_path: Path
) -> None:
    folder = write_predictions(tmp_path, data, lambda point: point.name)
    answering = predictions_per_severity(folder, POINTS)
    saved = sweep([Method("p", lambda: answering)], data, POINTS, tmp_path / "saved")
    direct = sweep([method(Recorder())], data, POINTS, tmp_path / "direct")
    assert [run.scores for run in saved.runs] == [run.scores for run in direct.runs]


def test_exported_sets_can_be_evaluated_themselves(data: Data, tmp_path: Path) -> None:
    assert export_points(data.dataset, POINTS, tmp_path / "sets") == []
    for point in POINTS:
        exported = read_dataset(tmp_path / "sets" / point.name)
        assert [sample.name for sample in exported] == [
            "images/m0.png.png",
            "images/m1.png.png",
            "authentic/a0.png.png",
        ]
        np.testing.assert_array_equal(exported[0].image, point(data.dataset[0].image))
    with pytest.raises(OutputError, match="holds something already"):
        export_points(data.dataset, POINTS, tmp_path / "sets")


def test_scans_of_exported_sets_are_found(data: Data, tmp_path: Path) -> None:
    folder = write_predictions(tmp_path, data, lambda point: point.name)
    for path in folder.rglob("*.npy"):  # as fasa scan names what it writes for a.png.png
        mask = np.zeros(np.load(path).shape, bool)
        path.with_suffix("").with_name(f"{path.stem}.png.mask.png").write_bytes(encode_mask(mask))
        path.unlink()
    answering = predictions_per_severity(folder, POINTS)
    result = sweep([Method("p", lambda: answering)], data, POINTS, tmp_path / "out")
    assert all(run.scores.images == 3 for run in result.runs)


def test_a_missing_folder_of_a_severity_is_named(data: Data, tmp_path: Path) -> None:
    folder = write_predictions(tmp_path, data, lambda point: point.name)
    (folder / "jpeg-50").rename(folder / "jpeg50")
    with pytest.raises(DatasetError, match=r"\(clean, jpeg-90, jpeg-50, resize-50\).*: jpeg-50\."):
        predictions_per_severity(folder, POINTS)


def test_a_damaged_sweep_is_an_error(data: Data, tmp_path: Path) -> None:
    sweep([method(Recorder())], data, [CLEAN], tmp_path / "out")
    next((tmp_path / "out" / "points").rglob("evaluation.json")).unlink()
    with pytest.raises(OutputError, match="holds no evaluation"):
        read_sweep(tmp_path / "out")
    (tmp_path / "out" / "robustness.json").write_text("{}")
    with pytest.raises(OutputError, match=r"robustness.json: cannot be read"):
        read_sweep(tmp_path / "out")

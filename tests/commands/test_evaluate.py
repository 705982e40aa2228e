"""`fasa evaluate` as people call it, with an untrained `tiny` model and saved masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from tests.conftest import write_set

KEYS = {
    "pixel_f1",
    "pixel_iou",
    "pixel_auc",
    "pixel_f1_best",
    "pixel_f1_permuted",
    "image_f1",
    "image_accuracy",
    "image_auc",
    "false_alarm_share",
    "images",
    "skipped",
    "protocol",
    "threshold",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    write_set(tmp_path / "set")
    return tmp_path


def fasa_evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def save_maps(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Noisy 8-bit maps of every image of the set, better than chance."""
    maps = {}
    for path in sorted(Path("set").rglob("*.png")):
        if path.parent.name == "masks":
            continue
        mask = Path("set", "masks", path.name)
        shape = Image.open(path).size[::-1]
        truth = np.asarray(Image.open(mask)) > 0 if mask.exists() else np.zeros(shape, bool)
        noise = np.random.default_rng([seed, len(maps)]).random(truth.shape)
        levels = np.rint(255 * (0.4 * truth + 0.6 * noise)).astype(np.uint8)
        target = Path(name, path.relative_to("set"))
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(target)
        maps[path.name] = levels
    return maps


def test_the_shape_of_json_and_where_results_go(tiny_weights: Path) -> None:
    result = fasa_evaluate("set", "--weights", tiny_weights, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert set(scores) >= KEYS
    assert (scores["images"], scores["manipulated"], scores["skipped"]) == (5, 3, 0)
    assert (scores["protocol"], scores["threshold"], scores["name"]) == ("native", 0.5, "tiny")
    assert set(scores["intervals"]) <= set(scores)
    run = Path(scores["run"])
    assert run == Path("runs/evaluate/set-tiny-native")
    assert len((run / "images.jsonl").read_text().splitlines()) == 5
    assert "5 images (3 manipulated), 0 skipped" in result.stderr
    assert "protocol native, threshold 0.5" in result.stderr
    assert not {"fake", "forged"} & set(result.stderr.lower().split())


def test_saved_maps_score_as_scikit_learn_says() -> None:
    maps = save_maps("maps")
    result = fasa_evaluate("set", "--predictions", "maps", "--json", "--threshold", "0.6")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    f1, iou, auc = [], [], []
    for number in range(3):
        truth = (np.asarray(Image.open(f"set/masks/m{number}.png")) > 127).ravel()
        values = maps[f"m{number}.png"].ravel() / 255
        f1.append(f1_score(truth, values > 0.6))
        iou.append(jaccard_score(truth, values > 0.6))
        auc.append(roc_auc_score(truth, values))
    assert scores["pixel_f1"] == pytest.approx(np.mean(f1), abs=1e-7)
    assert scores["pixel_iou"] == pytest.approx(np.mean(iou), abs=1e-7)
    assert scores["pixel_auc"] == pytest.approx(np.mean(auc), abs=1e-12)
    labels = ["m" in name for name in maps]
    tops = [levels.max() / 255 for levels in maps.values()]
    assert scores["image_auc"] == pytest.approx(roc_auc_score(labels, tops))
    areas = [(maps[f"a{number}.png"] / 255 > 0.6).mean() for number in range(2)]
    assert scores["false_alarm_area"] == pytest.approx(np.mean(areas))
    assert scores["false_alarm_share"] == np.mean([area > 0 for area in areas])


def test_a_scan_of_the_set_scores_as_its_weights(tiny_weights: Path) -> None:
    weights = ("--weights", tiny_weights, "--device", "cpu")
    direct = json.loads(fasa_evaluate("set", *weights, "--json").stdout)
    scan = ["scan", "set", "--prob", "--out", "scan", *map(str, weights)]
    assert CliRunner().invoke(app, scan).exit_code == 0
    saved = json.loads(fasa_evaluate("set", "--predictions", "scan", "--json").stdout)
    for key in ("pixel_f1", "pixel_auc", "pixel_f1_best", "image_accuracy"):
        assert saved[key] == pytest.approx(direct[key], abs=1e-3)


def test_3_some_images_were_skipped() -> None:
    save_maps("maps")
    Path("maps/images/m1.png").unlink()
    Path("set/authentic/a1.png").write_bytes(b"")
    Image.new("L", (9, 7)).save("set/masks/m2.png")
    result = fasa_evaluate("set", "--predictions", "maps", "--json")
    assert result.exit_code == 3
    scores = json.loads(result.stdout)
    assert (scores["images"], scores["skipped"]) == (2, 3)
    assert "no prediction for images/m1.png" in result.stderr
    assert "a1.png: the file is empty" in result.stderr
    assert "m2.png is 42 x 32 pixels but its mask" in result.stderr
    assert "is 9 x 7" in result.stderr
    assert len(scores["skipped_images"]) == 3


def test_1_a_map_of_another_size_names_both() -> None:
    save_maps("maps")
    for path in Path("maps").rglob("*.png"):
        Image.new("L", (16, 8)).save(path)
    result = fasa_evaluate("set", "--predictions", "maps")
    assert result.exit_code == 1
    assert "is 16 x 8 pixels but its image 40 x 32" in result.stderr


def test_1_another_evaluation_is_not_replaced_unless_told() -> None:
    save_maps("maps")
    command = ("set", "--predictions", "maps", "--out", "run")
    assert fasa_evaluate(*command).exit_code == 0
    result = fasa_evaluate(*command, "--threshold", "0.3")
    assert result.exit_code == 1
    assert "run: holds another evaluation (other threshold)" in result.stderr
    assert fasa_evaluate(*command, "--threshold", "0.3", "--overwrite").exit_code == 0


def test_1_masks_that_fit_no_image(tmp_path: Path) -> None:
    Path("set/masks/m0.png").rename("set/masks/other.png")
    save_maps("maps")
    result = fasa_evaluate("set", "--predictions", "maps")
    assert result.exit_code == 1
    assert "m0.png" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("set", "--weights", "a", "--predictions", "b"),
        ("set", "--predictions", "maps", "--protocol", "coco"),
        ("set", "--predictions", "maps", "--threshold", "2"),
        ("set", "--compare", "a", "b"),
        ("set", "--predictions", "maps", "--layout", "casio"),
    ],
)
def test_2_usage(arguments: tuple[str, ...]) -> None:
    save_maps("maps")
    assert fasa_evaluate(*arguments).exit_code == 2
    assert not Path("runs").exists()


def test_only_authentic_images_give_false_alarms_and_no_pixel_metric() -> None:
    write_set(Path("photos"), 0, 3)
    Path("set").rename("was")
    Path("photos").rename("set")
    save_maps("maps")
    result = fasa_evaluate("set", "--predictions", "maps", "--json")
    assert result.exit_code == 0, result.stderr
    scores = json.loads(result.stdout)
    assert scores["pixel_f1"] is scores["image_auc"] is scores["intervals"]["pixel_f1"] is None
    assert scores["false_alarm_share"] == 1


def test_compare_gives_paired_differences() -> None:
    for name, seed in (("one", 1), ("two", 2)):
        save_maps(name, seed)
        assert fasa_evaluate("set", "--predictions", name, "--out", name + "-run").exit_code == 0
    result = fasa_evaluate("--compare", "one-run", "two-run", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["names"], report["images"], report["unpaired"]) == (["one", "two"], 5, 0)
    runs = [json.loads(Path(f"{name}-run/evaluation.json").read_text()) for name in ("one", "two")]
    f1 = report["differences"]["pixel_f1"]
    expected = runs[1]["scores"]["pixel_f1"] - runs[0]["scores"]["pixel_f1"]
    assert f1["difference"] == pytest.approx(expected)
    assert f1["interval"][0] <= f1["difference"] <= f1["interval"][1]
    assert "B - A" in result.stderr
    assert "5 images in both" in result.stderr


def test_compare_refuses_what_cannot_be_compared() -> None:
    save_maps("maps")
    fasa_evaluate("set", "--predictions", "maps", "--out", "a")
    fasa_evaluate("set", "--predictions", "maps", "--protocol", "benco", "--out", "b")
    result = fasa_evaluate("--compare", "a", "b")
    assert (result.exit_code, "different protocols" in result.stderr) == (1, True)
    result = fasa_evaluate("--compare", "a", "gone")
    assert (result.exit_code, "gone: holds no evaluation" in result.stderr) == (1, True)


def test_notes_reach_the_reader() -> None:
    save_maps("maps")
    for path in Path("maps").rglob("*.png"):
        Image.fromarray((np.asarray(Image.open(path)) > 127).astype(np.uint8) * 255).save(path)
    result = fasa_evaluate("set", "--predictions", "maps", "--json")
    assert "note: all predictions are masks" in result.stderr
    assert json.loads(result.stdout)["notes"]

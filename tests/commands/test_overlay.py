"""`fasa overlay` and `fasa regions` as people call them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from fasa_cli.commands import overlay as command
from fasa_cli.imaging.decode import read_image
from fasa_cli.imaging.rendering import COLORMAPS, overlay
from fasa_cli.predictor import Predictor
from fasa_cli.report.overlays import STYLES
from tests.conftest import scan_red, write_photo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    write_photo(Path("photos/a.png"), 1)
    write_photo(Path("photos/sub/b.jpg"), 2)
    return tmp_path


def fasa(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def pictures(top: str) -> list[str]:
    return sorted(
        path.relative_to(top).as_posix() for path in Path(top).rglob("*") if path.is_file()
    )


def test_the_choices_are_those_of_the_library() -> None:
    assert tuple(command.Style) == STYLES
    assert tuple(command.Colormap) == COLORMAPS


def test_photos_at_once(tiny_weights: Path) -> None:
    weights = ("--weights", str(tiny_weights), "--device", "cpu")
    result = fasa("overlay", "photos", "gone.jpg", "--out", "out", "--no-scale", *weights)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "failed: gone.jpg: no such file" in result.stderr
    assert "pictures drawn: 2, failed: 1; in out" in result.stderr
    assert pictures("out") == ["a.png.heat.png", "sub/b.jpg.heat.png"]
    image = read_image("photos/a.png").pixels
    prediction = Predictor.from_checkpoint(tiny_weights, "cpu").predict(image)
    expected = overlay(image, prediction.probabilities, 0.5)
    np.testing.assert_array_equal(np.asarray(Image.open("out/a.png.heat.png")), expected)


def test_one_file(tiny_weights: Path) -> None:
    arguments = ("--weights", str(tiny_weights), "--style", "mask", "--threshold", "0")
    assert fasa("overlay", "photos/a.png", "--out", "a.webp", *arguments).exit_code == 0
    with Image.open("a.webp") as picture:
        assert (picture.format, picture.size) == ("WEBP", (40, 32))
    assert fasa("overlay", "photos", "--out", "a.webp", *arguments).exit_code == 2


def test_a_saved_scan_needs_no_model() -> None:
    scan_red(probabilities=True)
    result = fasa("overlay", "masks", "--out", "out", "--style", "side", "--format", "jpg")
    assert (result.exit_code, result.stdout) == (0, "")
    assert pictures("out") == ["a.png.side.jpg", "sub/b.jpg.side.jpg"]
    result = fasa("overlay", "masks", "--out", "masks")
    assert result.exit_code == 1
    assert "holds a scan" in result.stderr


def test_masks_only_and_missing_photos() -> None:
    scan_red()
    assert fasa("overlay", "masks", "--out", "out").exit_code == 0
    assert pictures("out") == ["a.png.contour.png", "sub/b.jpg.contour.png"]
    result = fasa("overlay", "masks", "--out", "heat", "--style", "heat")
    assert result.exit_code == 3
    assert "--probabilities" in result.stderr
    Path("photos/a.png").unlink()
    result = fasa("overlay", "masks", "--out", "again")
    assert result.exit_code == 3
    assert "failed: photos/a.png: the scanned photo cannot be read" in result.stderr
    assert pictures("again") == ["sub/b.jpg.contour.png"]


def test_nothing_to_draw() -> None:
    Path("empty").mkdir()
    assert fasa("overlay", "empty", "--out", "out").exit_code == 4


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("r.json", (), "annotations"),
        ("r.geojson", (), "features"),
        ("r.txt", ("--format", "geojson"), "features"),
    ],
)
def test_regions(name: str, options: tuple[str, ...], expected: str) -> None:
    scan_red(threshold=0.9)
    result = fasa("regions", "masks", "--out", name, *options)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = Path("masks/_fasa/results.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    listed = sum(len(record["regions"]) for record in records)
    assert len(json.loads(Path(name).read_text())[expected]) == listed > 0
    assert f"{listed} regions in {name}" in result.stderr


def test_regions_that_are_only_counted_are_told() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    pixels[::4, ::4, 0] = 255
    Image.fromarray(pixels).save("photos/dots.png")
    scan_red("photos/dots.png")
    result = fasa("regions", "masks", "--out", "r.json")
    assert "100 regions in r.json; 125 small ones" in result.stderr


def test_regions_of_no_scan() -> None:
    result = fasa("regions", "photos", "--out", "r.json")
    assert result.exit_code == 1
    assert "holds no scan" in result.stderr
    assert not Path("r.json").exists()


def test_regions_as_csv_and_no_other_suffix(tiny_weights: Path) -> None:
    for seed, name in enumerate(("=a.png", "b.png")):
        write_photo(Path("photos", name), seed)
    model = ("--weights", str(tiny_weights), "--device", "cpu", "--threshold", "0.4")
    assert fasa("scan", "photos", *model).exit_code == 0
    records = Path("masks/_fasa/results.jsonl").read_text().splitlines()
    regions = [
        (record["name"], region)
        for record in map(json.loads, records)
        for region in record["regions"]
    ]
    assert regions
    assert fasa("regions", "masks", "--out", "r.csv").exit_code == 0
    with Path("r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(regions)
    for row, (name, region) in zip(rows, regions, strict=True):
        assert row["image"] == ("'" if name.startswith("=") else "") + name
        box = [int(row[side]) for side in ("x", "y", "width", "height")]
        assert (box, int(row["area"])) == (region["box"], region["area"])
        assert float(row["peak_score"]) == region["peak_score"]
    result = fasa("regions", "masks", "--out", "r.txt")
    assert (result.exit_code, "r.txt" in result.stderr) == (2, True)
    assert not Path("r.txt").exists()
    assert fasa("regions", "masks", "--out", "r.txt", "--format", "coco").exit_code == 0
    assert "annotations" in json.loads(Path("r.txt").read_text())


@pytest.mark.parametrize("name", ["marked.gif", "marked.TIFF", "marked.pdf"])
def test_2_a_picture_that_is_not_written_is_no_folder(name: str) -> None:
    write_photo(Path("a.png"))
    result = fasa("overlay", "a.png", "--out", name)
    assert (result.exit_code, ".png" in result.stderr) == (2, True)
    assert not Path(name).exists()


def test_3_a_misspelt_path_loads_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "from_checkpoint", lambda *arguments: pytest.fail("loaded"))
    result = fasa("overlay", "gone.jpg", "--out", "pictures")
    assert (result.exit_code, "gone.jpg: no such file" in result.stderr) == (3, True)
    assert not Path("pictures").exists()

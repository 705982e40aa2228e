"""Regions for other tools, read back by them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from skimage import draw

from fasa_cli.errors import OutputError
from fasa_cli.report.region_export import coco_lines, geojson_lines
from fasa_cli.results import Rle, ScanRecord
from fasa_cli.scanning.saved_run import SavedRun
from tests.conftest import scan_red


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[ScanRecord]:
    """Two photos: a ring with a dot in its hole and two squares that touch at a corner; nothing."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[5:45, 5:45, 2] = 200
    pixels[12:38, 12:38, 2] = 0
    pixels[20:30, 20:30, 2] = 250
    pixels[10:20, 60:70, 2] = pixels[20:30, 70:80, 2] = 180
    cv2.imwrite("photos/a.png", pixels)
    cv2.imwrite("photos/b.png", np.zeros((20, 30, 3), np.uint8))
    return list(SavedRun(scan_red()).records())


def mask_of(path: str) -> np.ndarray:
    return cv2.imread(path, cv2.IMREAD_UNCHANGED) > 0


def test_pycocotools_reads_the_data_set(records: list[ScanRecord], tmp_path: Path) -> None:
    path = tmp_path / "regions.json"
    path.write_text("".join(coco_lines(records, 0.5)))
    data = COCO(path)
    images = {image["file_name"]: image for image in data.loadImgs(data.getImgIds())}
    assert {name: (image["width"], image["height"]) for name, image in images.items()} == {
        "a.png": (90, 60),
        "b.png": (30, 20),
    }
    annotations = data.loadAnns(data.getAnnIds(imgIds=images["a.png"]["id"]))
    together = sum(data.annToMask(annotation) for annotation in annotations)
    np.testing.assert_array_equal(together, mask_of("masks/a.png.mask.png"))
    regions = records[0].regions
    assert [annotation["area"] for annotation in annotations] == [924, 200, 100]
    assert [tuple(annotation["bbox"]) for annotation in annotations] == [r.box for r in regions]
    assert [annotation["score"] for annotation in annotations] == [r.peak_score for r in regions]
    assert data.getAnnIds(imgIds=images["b.png"]["id"]) == []


def test_polygons_keep_holes_and_cover_the_mask(records: list[ScanRecord]) -> None:
    collection = json.loads("".join(geojson_lines(records, 0.5)))
    features = collection["features"]
    kinds = [feature["geometry"]["type"] for feature in features]
    assert kinds == ["Polygon", "MultiPolygon", "Polygon"]
    assert [len(feature["geometry"]["coordinates"]) for feature in features] == [2, 2, 1]
    inside = np.zeros((60, 90), bool)
    for feature in features:
        geometry = feature["geometry"]
        parts = geometry["coordinates"]
        for rings in parts if geometry["type"] == "MultiPolygon" else [parts]:
            for ring in rings:
                inside ^= draw.polygon2mask((60, 90), np.array(ring)[:, ::-1] - 0.5)
    np.testing.assert_array_equal(inside, mask_of("masks/a.png.mask.png"))
    assert features[0]["properties"]["image"] == "a.png"
    assert features[0]["properties"]["area"] == 924
    assert features[0]["properties"]["peak_score"] == pytest.approx(200 / 255, abs=1e-6)


@pytest.mark.parametrize("lines", [coco_lines, geojson_lines])
def test_no_region_is_still_a_document(lines, records: list[ScanRecord]) -> None:
    assert json.loads("".join(lines([records[1]], 0.5)))
    assert json.loads("".join(lines([], 0.5)))


@pytest.mark.parametrize("rle", [None, Rle((60, 90), "broken!")])
def test_a_region_without_its_shape_is_refused(rle: Rle | None, records: list[ScanRecord]) -> None:
    region = replace(records[0].regions[0], rle=rle)
    with pytest.raises(OutputError, match="shape"):
        "".join(geojson_lines([replace(records[0], regions=(region,))], 0.5))

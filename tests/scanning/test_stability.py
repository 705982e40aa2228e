"""Regions that survive re-deliveries, and those that do not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.results import Region
from fasa_cli.scanning.records import read_results
from fasa_cli.scanning.stability import REDELIVERIES, masks_after, stability
from tests.conftest import scan_red

MARKED = (slice(40, 80), slice(30, 90))
REGION = Region((30, 40, 60, 40), 2400, 0.9, 0.9)
OWN = np.ones((40, 60), bool)


def photo() -> np.ndarray:
    pixels = np.full((160, 200, 3), (20, 90, 140), np.uint8)
    pixels[MARKED] = (250, 30, 30)
    return pixels


def red(pixels: np.ndarray) -> np.ndarray:
    return pixels[..., 0].astype(np.float32) / 255


def test_marks_are_brought_back_to_their_place() -> None:
    masks = masks_after(red, photo(), 0.5)
    assert list(masks) == list(REDELIVERIES)
    expected = np.zeros((160, 200), bool)
    expected[MARKED] = True
    for name, mask in masks.items():
        assert mask.shape == expected.shape, name
        assert (mask != expected).sum() < 250, name  # the border of 2400 pixels
    found = stability(REGION, OWN, masks)
    assert found is not None
    assert (found.speaks, found.value > 0.9) == ("for", True)
    assert all(name in found.text for name in REDELIVERIES)


def test_what_goes_speaks_against_the_mark() -> None:
    once = masks_after(lambda pixels: np.zeros(pixels.shape[:2], np.float32), photo(), 0.5)
    found = stability(REGION, OWN, once)
    assert found is not None
    assert (found.speaks, found.value) == ("against", 0)
    mixed = {**once, "JPEG 90": masks_after(red, photo(), 0.5)["JPEG 90"]}
    found = stability(REGION, OWN, mixed)
    assert found is not None
    assert found.speaks == "neither"
    assert "again after JPEG 90, and gone after half size and a crop" in found.text


def test_a_tiny_photo_is_not_tried() -> None:
    assert masks_after(red, photo()[:40, :40], 0.5) == {}
    assert stability(REGION, OWN, {}) is None


def test_a_scan_records_it_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.fromarray(photo()).save("photos/a.png")
    (record,) = read_results(scan_red(stability=True) / "_fasa/results.jsonl")
    assert "stability" in {finding.kind for finding in record.regions[0].findings}
    (record,) = read_results(scan_red(out="plain") / "_fasa/results.jsonl")
    assert "stability" not in {finding.kind for finding in record.regions[0].findings}

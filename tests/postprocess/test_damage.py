"""What is damaged in a file is shown and recorded, and is no finding."""

import io
import json

import cv2
import numpy as np
from PIL import Image

from fasa_cli.imaging.decode import decode_image
from fasa_cli.postprocess.damage import set_aside
from fasa_cli.results import CopyMovePair, Prediction, within
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.scanner import ScanOptions, scan
from tests.conftest import RedPredictor


def prediction() -> Prediction:
    probabilities = np.full((20, 30), 0.1, np.float32)
    probabilities[2:6, 3:8] = 0.7
    probabilities[14:18, 20:29] = 0.9
    matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    pairs = (
        CopyMovePair(((3, 2, 5, 4), (20, 2, 5, 4)), matrix, 0.9, 30),
        CopyMovePair(((3, 2, 5, 4), (20, 14, 9, 4)), matrix, 0.9, 30),
    )
    return Prediction(probabilities, 0.9, (30, 20), pairs=pairs)


def test_nothing_is_marked_in_damage_and_what_the_network_gave_is_kept() -> None:
    whole = prediction()
    aside = set_aside(whole, [(0, 10, 30, 10)])
    assert aside.score == np.float32(0.7)
    assert aside.mask(0.5).sum() == 4 * 5
    np.testing.assert_array_equal(aside.network_map, whole.probabilities)
    assert aside.marked_in_damage(0.5) == 4 * 9 / 600
    assert aside.lowered(0.5) == 0.0  # that hysteresis took nothing away
    assert aside.pairs == whole.pairs
    assert set_aside(whole, []) is whole


def test_a_scan_of_a_damaged_photo_marks_what_is_whole_in_it(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    coarse = rng.integers(90, 160, (6, 8, 1), dtype=np.uint8)
    grey = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(grey[:, :, None] + rng.normal(0, 6, (240, 320, 1)), 0, 255)
    pixels = np.repeat(pixels.astype(np.uint8), 3, axis=2)
    for top in (8, 200):
        pixels[top : top + 24, 100:140] = (250, 5, 5)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    data = bytearray(buffer.getvalue())
    start = data.index(b"\xff\xda") + 14
    middle = start + (len(data) - start) // 2
    data[middle : middle + 300] = bytes(300)
    (tmp_path / "a.jpg").write_bytes(data)
    damaged = decode_image(bytes(data), "a.jpg").damaged
    assert damaged
    out = tmp_path / "out"
    scan(RedPredictor(), discover(["a.jpg"], out), ScanOptions(out, overlay=True))
    record = json.loads((tmp_path / "out/_fasa/results.jsonl").read_text())
    assert record["damaged"] == [list(box) for box in damaged]
    assert any("damaged" in warning for warning in record["warnings"])
    mask = np.asarray(Image.open(tmp_path / "out/a.jpg.mask.png"))
    for box in damaged:
        assert not within(mask, box).any()
    assert mask[8:32, 100:140].any()
    overlay = np.asarray(Image.open(tmp_path / "out/a.jpg.overlay.jpg")).astype(int)
    plain = decode_image(bytes(data), "a.jpg").pixels.astype(int)
    assert all(np.abs(within(overlay - plain, box)).mean() > 5 for box in damaged)  # hatched

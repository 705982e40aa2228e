"""A scan's folder is read back, and nothing in it is taken on trust."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fasa_cli.errors import ImageError, OutputError
from fasa_cli.imaging.decode import read_image
from fasa_cli.scanning.saved_run import SavedRun, is_saved_run
from tests.conftest import scan_red, write_photo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/a.png"), 1)
    return tmp_path


def test_what_was_scanned_is_read_back() -> None:
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff")
    Path("photos/notes.txt").write_text("text")
    run = SavedRun(scan_red(probabilities=True, threshold=0.25))
    (record,) = run.records()
    image = read_image("photos/a.png")
    photo, data = run.read_photo(record)
    np.testing.assert_array_equal(photo.pixels, image.pixels)
    assert data == Path("photos/a.png").read_bytes()
    red = image.pixels[:, :, 0] / np.float32(255)
    np.testing.assert_array_equal(run.read_mask(record), red > 0.25)
    np.testing.assert_allclose(run.read_probabilities(record), red, atol=1e-5)
    assert [failure.path for failure in run.failures()] == ["photos/cut.jpg"]
    assert [skipped.path for skipped in run.skipped()] == ["photos/notes.txt"]
    assert (run.threshold, run.count_records(), is_saved_run(Path("masks"))) == (0.25, 1, True)


def test_a_scan_of_masks_only_has_no_probabilities() -> None:
    run = SavedRun(scan_red())
    assert run.read_probabilities(next(run.records())) is None


def test_photos_are_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan_red()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run = SavedRun(Path("../masks"))
    assert run.read_photo(next(run.records()))[0].display_size == (40, 32)


def test_a_photo_that_changed_is_refused() -> None:
    run = SavedRun(scan_red())
    record = next(run.records())
    write_photo(Path("photos/a.png"), 2)
    with pytest.raises(ImageError, match=r"a\.png: has changed since the scan"):
        run.read_photo(record)
    Path("photos/a.png").unlink()
    with pytest.raises(ImageError, match=r"a\.png: .*cannot be read.*put it back"):
        run.read_photo(record)


def test_a_map_that_changed_is_refused() -> None:
    run = SavedRun(scan_red())
    record = next(run.records())
    write_photo(Path("masks/a.png.mask.png"), 2)
    with pytest.raises(ImageError, match="not what the scan wrote"):
        run.read_mask(record)
    Path("masks/a.png.mask.png").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        run.read_mask(record)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd"])
def test_a_record_cannot_lead_out_of_the_folder(path: str) -> None:
    journal = scan_red() / "_fasa/results.jsonl"
    values = json.loads(journal.read_text())
    values["outputs"]["mask"] = path
    journal.write_text(json.dumps(values) + "\n")
    run = SavedRun(Path("masks"))
    with pytest.raises(ImageError, match="outside"):
        run.read_mask(next(run.records()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no scan"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"config": {"threshold": 0.5}, "schema_version": 99}', "schema 99"),
    ],
)
def test_what_is_no_scan_is_refused(text: str | None, message: str) -> None:
    Path("out/_fasa").mkdir(parents=True)
    if text is not None:
        Path("out/_fasa/run.json").write_text(text)
    with pytest.raises(OutputError, match=message):
        SavedRun(Path("out"))

"""Pictures lie exactly on their photos, whichever way these are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from fasa_cli.errors import OutputError
from fasa_cli.imaging.rendering import overlay
from fasa_cli.report.overlays import (
    ENCODERS,
    STYLES,
    Job,
    OverlayStyle,
    Subject,
    draw,
    photo_jobs,
    run_jobs,
    write_overlay,
)
from fasa_cli.results import Failure
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.saved_run import SavedRun
from tests.conftest import RedPredictor, scan_red

ORIENTATION = 274


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored_photo(path: str, orientation: int = 1) -> np.ndarray:
    """Write a grey photo with a red patch near a corner; returns it upright, read by Pillow."""
    pixels = np.full((48, 70, 3), 60, np.uint8)
    pixels[:, :, 1:] += np.arange(70, dtype=np.uint8)[None, :, None]
    pixels[4:16, 40:62] = (240, 30, 30)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def jobs(source: str, path: str) -> list[Job]:
    if source == "saved":
        return list(run_jobs(SavedRun(scan_red(path, probabilities=True))))
    return list(photo_jobs(RedPredictor(), discover([path], Path("out"))))  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["saved", "photo"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_contours_are_exact_on_rotated_photos(source: str, orientation: int) -> None:
    upright = stored_photo("photos/a.png", orientation)
    (job,) = jobs(source, "photos/a.png")
    target = write_overlay(job, Path("out.png"), ".png", OverlayStyle("contour"))
    drawn = cv2.imread(str(target))[:, :, ::-1]
    assert drawn.shape == upright.shape
    patch = upright[:, :, 0] > 200
    white = (drawn == 255).all(axis=2)
    inner = cv2.erode(patch.astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
    np.testing.assert_array_equal(white, patch & ~inner)
    near = cv2.dilate(white.astype(np.uint8), np.ones((5, 5))) > 0
    np.testing.assert_array_equal(drawn[~near], upright[~near])


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_heat_maps_and_masks_are_exact_on_rotated_photos(orientation: int) -> None:
    upright = stored_photo("photos/a.png", orientation)
    height, width = upright.shape[:2]
    red = upright[:, :, 0] / np.float32(255)
    (job,) = jobs("saved", "photos/a.png")
    expected = overlay(upright, red, 0.5, 0.7, "cividis")
    overlay_style = OverlayStyle("heat", 0.7, "cividis")
    with_bar = cv2.imread(str(write_overlay(job, Path("h.png"), ".png", overlay_style)))[:, :, ::-1]
    np.testing.assert_allclose(with_bar[:height], expected, atol=1)
    assert with_bar.shape[0] > height
    bare = write_overlay(job, Path("b.png"), ".png", replace(overlay_style, scale_bar=False))
    np.testing.assert_array_equal(cv2.imread(str(bare))[:, :, ::-1], with_bar[:height])
    pair = cv2.imread(
        str(write_overlay(job, Path("s.png"), ".png", replace(overlay_style, style="side")))
    )
    np.testing.assert_array_equal(pair[:height, :width, ::-1], upright)
    np.testing.assert_array_equal(pair[:height, -width:, ::-1], with_bar[:height])
    mask = cv2.imread(str(write_overlay(job, Path("m.png"), ".png", OverlayStyle("mask"))), -1)
    np.testing.assert_array_equal(mask, np.where(red > 0.5, 255, 0))


@pytest.mark.parametrize("suffix", ENCODERS)
@pytest.mark.parametrize("style", STYLES)
def test_large_photos_keep_their_size_in_every_format(style: str, suffix: str) -> None:
    image = np.full((1500, 2100, 3), 90, np.uint8)
    probabilities = np.zeros((1500, 2100), np.float32)
    probabilities[300:600, 700:1200] = 0.9
    subject = Subject(image, probabilities > 0.5, probabilities, 0.5)
    made = write_overlay(
        Job("a.jpg", "a.jpg", lambda: subject),
        Path(f"p{suffix}"),
        suffix,
        OverlayStyle(style, scale_bar=False),
    )
    with Image.open(made) as picture:
        assert picture.height == 1500
        assert picture.width == (2100 if style != "side" else 2100 * 2 + 21)
        assert picture.format == {".png": "PNG", ".webp": "WEBP"}.get(suffix, "JPEG")


def test_a_scan_that_kept_masks_only() -> None:
    stored_photo("photos/a.png")
    run = SavedRun(scan_red("photos"))
    (job,) = run_jobs(run)
    subject = job.load()
    assert draw(subject, OverlayStyle())[0] == "contour"
    with pytest.raises(OutputError, match="--probabilities"):
        draw(subject, OverlayStyle("heat"))
    (other,) = run_jobs(run, threshold=0.7)
    with pytest.raises(OutputError, match=r"only masks at 0\.5"):
        other.load()


def test_another_threshold_moves_the_contour() -> None:
    upright = stored_photo("photos/a.png")
    run = SavedRun(scan_red("photos", probabilities=True))
    for threshold in (0.2, 0.9, 0.97):
        (job,) = run_jobs(run, threshold)
        np.testing.assert_array_equal(job.load().mask, upright[:, :, 0] / 255 > threshold)


def test_names_in_a_folder() -> None:
    stored_photo("photos/sub/a.png")
    (job,) = run_jobs(SavedRun(scan_red("photos")))
    made = write_overlay(job, Path("out"), ".webp", OverlayStyle())
    assert made == Path("out/sub/a.png.contour.webp")


def test_neither_photos_nor_scans_are_overwritten() -> None:
    stored_photo("photos/a.png")
    before = Path("photos/a.png").read_bytes()
    (job,) = run_jobs(SavedRun(scan_red("photos")))
    made = write_overlay(job, Path("photos/a.png"), ".png", OverlayStyle())
    assert isinstance(made, Failure)
    assert "overwrite the photo" in made.reason
    assert Path("photos/a.png").read_bytes() == before
    with pytest.raises(OutputError, match="holds a scan"):
        write_overlay(job, Path("masks"), ".png", OverlayStyle("mask"))


def test_a_photo_that_is_gone_is_a_failure_with_its_name() -> None:
    stored_photo("photos/a.png")
    (job,) = run_jobs(SavedRun(scan_red("photos")))
    Path("photos/a.png").unlink()
    made = write_overlay(job, Path("out"), ".png", OverlayStyle())
    assert isinstance(made, Failure)
    assert (made.path, made.stage) == ("photos/a.png", "overlay")
    assert not Path("out").exists()

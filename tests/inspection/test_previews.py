"""Thumbnails against pictures whose history is known."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.inspection.inspecting import inspect_bytes
from fasa_cli.inspection.records import Inspection
from tests.inspection.files import exif_block, jpeg, scene, small


def inspected(pixels: np.ndarray, thumbnail: bytes, quality: int = 90) -> Inspection:
    return inspect_bytes(jpeg(pixels, quality, exif=exif_block(thumbnail, Make="M")), "a.jpg")


def above_notes(inspection: Inspection) -> set[str]:
    ours = ("preview", "cropped", "unreadable")
    return {one.kind for one in inspection.findings if one.kind.startswith(ours)}


@pytest.mark.parametrize("quality", [40, 90])
def test_a_thumbnail_of_the_picture_is_no_finding(quality: int) -> None:
    pixels = scene(640, 480)
    inspection = inspected(pixels, small(pixels), quality)
    (preview,) = inspection.previews
    assert above_notes(inspection) == set()
    assert preview.size == (160, 120)
    assert preview.correlation is not None
    assert preview.correlation > 0.95


def test_black_bars_around_a_thumbnail_are_left_out() -> None:
    pixels = scene(720, 480)
    framed = np.zeros((120, 160, 3), np.uint8)
    framed[7:114] = cv2.resize(pixels, (160, 107), interpolation=cv2.INTER_AREA)
    assert above_notes(inspected(pixels, jpeg(framed, 80))) == set()


def test_another_picture_is_found() -> None:
    inspection = inspected(scene(640, 480), small(scene(640, 480, seed=5)))
    assert above_notes(inspection) == {"preview shows something else"}
    assert inspection.findings[0].severity == "high"


def test_a_pasted_patch_is_found_where_it_is() -> None:
    before = scene(640, 480)
    after = before.copy()
    after[240:400, 320:480] = 255 - after[240:400, 320:480]
    inspection = inspected(after, small(before))
    assert above_notes(inspection) == {"preview differs in places"}
    assert inspection.findings[0].severity == "high"


def test_a_crop_is_found_with_its_place() -> None:
    before = scene(800, 600)
    inspection = inspected(before[150:450, 200:600], small(before))
    (preview,) = inspection.previews
    assert above_notes(inspection) == {"cropped since the preview"}
    assert preview.crop == pytest.approx((0.25, 0.25, 0.5, 0.5), abs=0.04)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turn_is_found(quarters: int) -> None:
    before = scene(640, 480)
    after = np.ascontiguousarray(np.rot90(before, -quarters))
    inspection = inspected(after, small(before))
    assert above_notes(inspection) == {"preview turned"}
    assert inspection.previews[0].turned == 90 * quarters


def test_images_of_mpf_are_listed() -> None:
    one, other = (Image.fromarray(scene(seed=seed)) for seed in (0, 1))
    stream = io.BytesIO()
    one.save(stream, "MPO", save_all=True, append_images=[other])
    inspection = inspect_bytes(stream.getvalue(), "a.jpg")
    assert [preview.kind for preview in inspection.previews] == ["MPF image"]
    assert inspection.previews[0].size == (320, 240)
    assert not any(one.kind == "bytes after the end" for one in inspection.findings)


def test_without_previews_nothing_is_decoded() -> None:
    data = jpeg(scene(), exif=exif_block(small(scene(seed=3)), Make="M"))
    (preview,) = inspect_bytes(data, "a.jpg", previews=False).previews
    assert preview.correlation is None


def test_a_thumbnail_that_declares_a_bomb_or_is_none() -> None:
    bomb = bytearray(small(scene()))
    place = bomb.index(b"\xff\xc0") + 5
    bomb[place : place + 4] = b"\xff\xff\xff\xff"
    for thumbnail in (bytes(bomb), b"\xff\xd8\xff" + b"no picture"):
        assert above_notes(inspected(scene(), thumbnail)) == {"unreadable preview"}

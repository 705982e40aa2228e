"""Every format and every damage ends in an inspection or in one error that names the file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.errors import ImageError
from fasa_cli.inspection.inspecting import inspect_bytes, inspect_file
from tests.imaging.samples import HEIC_TURNED, dng
from tests.imaging.test_profiles import SRGB, exchanged
from tests.inspection.files import exif_block, jpeg, scene, small, xmp_packet


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_other_formats(file_format: str) -> None:
    stream = io.BytesIO()
    options = {"exif": exif_block(Make="Maker")} if file_format not in ("GIF", "BMP") else {}
    Image.fromarray(scene()).save(stream, file_format, **options)
    inspection = inspect_bytes(stream.getvalue(), "a")
    assert inspection.size == (320, 240)
    assert inspection.jpeg is None
    if options:
        assert inspection.metadata["exif"]["Make"] == "Maker"


def test_heic_and_camera_raw_say_their_camera() -> None:
    heic = inspect_bytes(HEIC_TURNED, "a.heic")
    assert (heic.format, heic.size) == ("HEIC", (48, 64))
    assert heic.metadata["exif"]["Make"] == "Maker"
    pytest.importorskip("rawpy")
    raw = inspect_bytes(dng(scene(160, 120)), "a.dng")
    assert (raw.format, raw.size) == ("camera RAW", (160, 120))
    assert raw.metadata["exif"]["Model"] == "Camera"
    assert not any(one.kind == "unreadable metadata" for one in raw.findings)


def test_cut_anywhere() -> None:
    block = exif_block(small(scene()), Make="M", Software="GIMP 2.10")
    data = jpeg(scene(), exif=block, xmp=xmp_packet('xmp:Rating="1"'))
    for end in range(3, len(data), 997):
        inspection = inspect_bytes(data[:end], "a.jpg")
        assert any(one.kind == "no end of image" for one in inspection.findings)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_mutated_files_end_in_an_inspection() -> None:
    stream = io.BytesIO()
    Image.fromarray(scene(64, 48)).save(stream, "TIFF", exif=exif_block(Make="M"))
    seeds = [jpeg(scene(64, 48), exif=exif_block(small(scene()), Make="M")), stream.getvalue()]
    generator = np.random.default_rng(0)
    for number in range(300):
        data = bytearray(seeds[number % len(seeds)])
        for _ in range(4):
            place = int(generator.integers(4, min(len(data), 500)))
            data[place] = int(generator.integers(256))
        inspection = inspect_bytes(bytes(data), "a.jpg")
        assert all(one.text.isprintable() for one in inspection.findings)


@pytest.mark.parametrize("data", [b"", b"no picture at all"])
def test_no_image_is_an_error_that_names_the_file(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match="a\\.jpg"):
        inspect_file(path)
    with pytest.raises(ImageError, match=r"b\.jpg"):
        inspect_file(tmp_path / "b.jpg")


def test_what_follows_the_end_and_the_video_of_a_live_photo(tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.JPG"
    path.write_bytes(jpeg(scene()) + b"PK\x03\x04" + bytes(996))
    (tmp_path / "IMG_1.MOV").write_bytes(b"video")
    found = {one.kind: one for one in inspect_file(path).findings}
    assert "1000" in found["bytes after the end"].text
    assert found["bytes after the end"].severity == "medium"
    assert "IMG_1.MOV" in found["live photo"].text


def test_colour_profiles_are_named() -> None:
    names = [
        {one.kind for one in inspect_bytes(jpeg(scene(), icc_profile=profile), "a.jpg").findings}
        for profile in (exchanged(), SRGB)
    ]
    assert "colour profile" in names[0]
    assert "colour profile" not in names[1]


def test_a_header_that_declares_a_bomb() -> None:
    data = bytearray(jpeg(scene(), exif=exif_block(small(scene()), Make="M")))
    place = data.rindex(b"\xff\xc0") + 5
    data[place : place + 4] = b"\xff\xff\xff\xff"
    found = {one.kind for one in inspect_bytes(bytes(data), "a.jpg").findings}
    assert "too many pixels" in found

"""The structure of JPEG files, against what encoders were told to write."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fasa_cli.imaging.jpeg_tables import standard_tables
from fasa_cli.inspection.encoders import identify
from fasa_cli.inspection.jpeg import read_structure, segment_contents
from tests.inspection.files import exif_block, jpeg, scene


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 90, 95, 99])
@pytest.mark.parametrize("encoder", ["pillow", "opencv", "simplejpeg"])
def test_the_quality_that_an_encoder_was_told_is_found(quality: int, encoder: str) -> None:
    pixels = scene(64, 48)
    data = {
        "pillow": lambda: jpeg(pixels, quality),
        "opencv": lambda: cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1],
        "simplejpeg": lambda: simplejpeg.encode_jpeg(pixels, quality),
    }[encoder]()
    structure = read_structure(bytes(data))
    coding = identify(structure)
    assert (coding.quality, coding.scale, coding.is_exact) == (quality, "libjpeg", True)
    assert structure.size == (64, 48)
    assert structure.is_complete
    assert structure.huffman == "standard"
    assert structure.trailing_bytes == 0


def test_tables_are_those_that_pillow_reads() -> None:
    data = jpeg(scene(), 83)
    tables = read_structure(data).tables
    luma, chroma = standard_tables(83)
    assert tuple(luma) == tables[0]
    assert tuple(chroma) == tables[1]
    stored = Image.open(io.BytesIO(data)).quantization
    assert {n: sorted(table) for n, table in stored.items()} == {
        n: sorted(table) for n, table in tables.items()
    }


@pytest.mark.parametrize(
    ("options", "sampling"),
    [({"subsampling": 0}, "4:4:4"), ({"subsampling": 1}, "4:2:2"), ({"subsampling": 2}, "4:2:0")],
)
def test_sampling(options: dict, sampling: str) -> None:
    assert read_structure(jpeg(scene(), **options)).sampling == sampling


def test_grey_progressive_optimised_and_restart_markers() -> None:
    grey = read_structure(jpeg(scene()[:, :, 0]))
    assert grey.sampling == "grey"
    progressive = read_structure(jpeg(scene(), progressive=True))
    assert progressive.coding == "progressive"
    assert progressive.scans > 1
    assert read_structure(jpeg(scene(), optimize=True)).huffman != "standard"
    restarts = read_structure(jpeg(scene(320, 240), restart_marker_rows=1, subsampling=0))
    assert restarts.restart_interval == 40
    assert restarts.restart_markers == 29
    assert restarts.restart_errors == 0


def test_a_lost_restart_marker_is_counted() -> None:
    data = jpeg(scene(320, 240), restart_marker_rows=1, subsampling=0)
    place = data.index(b"\xff\xd3")
    structure = read_structure(data[:place] + data[place + 2 :])
    assert structure.restart_markers == 28
    assert structure.restart_errors > 0


def test_restart_markers_at_every_place_of_a_window_are_counted() -> None:
    scan = jpeg(scene(320, 240), restart_marker_rows=1, subsampling=0)
    head = scan.index(b"\xff\xda")
    for padding in range(1014, 1034):  # of the scan's data, which are searched in windows
        data = bytearray(scan[: head + 14]) + b"\x01" * padding
        for number in range(10):
            data += b"\xff" + bytes([0xD0 + number % 8]) + b"\x02\xff\x00"
        structure = read_structure(bytes(data) + b"\xff\xd9rest")
        assert (structure.restart_markers, structure.restart_errors) == (10, 0)
        assert structure.trailing_bytes == 4


def test_what_follows_the_end_is_counted_and_named() -> None:
    structure = read_structure(jpeg(scene()) + b"PK\x03\x04" + bytes(500))
    assert structure.trailing_bytes == 504
    assert structure.trailing_kind == "a ZIP archive"


def test_an_end_marker_within_a_thumbnail_is_not_the_end() -> None:
    data = jpeg(scene(), exif=exif_block(jpeg(scene(32, 24)), Make="Maker"))
    structure = read_structure(data)
    assert structure.trailing_bytes == 0
    assert segment_contents(data, structure, "EXIF")[0].startswith(b"Exif\0\0")


def test_tables_of_their_own_are_not_called_exact() -> None:
    tables = [list(range(1, 65)), list(range(2, 66))]
    coding = identify(read_structure(jpeg(scene(), qtables=tables)))
    assert not coding.is_exact
    assert coding.consistent_with == ()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes_end_in_a_structure(tail: bytes, kind: int) -> None:
    data = jpeg(scene(32, 24))
    cut = len(data) * kind // 4
    structure = read_structure(data[: max(cut, 3)] + tail)
    identify(structure)
    assert structure.segment_count >= len(structure.segments)


def test_a_million_tiny_segments_are_walked_once() -> None:
    structure = read_structure(b"\xff\xd8" + b"\xff\xfe\x00\x02" * 200_000)
    assert structure.segment_count == 200_000
    assert len(structure.segments) == 500
    assert np.all([one.name == "COM" for one in structure.segments])

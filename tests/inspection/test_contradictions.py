"""Metadata that do not fit together, and those that do."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fasa_cli.inspection.inspecting import inspect_bytes
from fasa_cli.inspection.records import Finding, Inspection
from tests.inspection.files import exif_block, jpeg, scene, xmp_packet

NOW = datetime(2024, 6, 1, tzinfo=timezone.utc)
CAMERA: dict[str, Any] = {
    "Make": "Maker",
    "Model": "Camera 1",
    "DateTimeOriginal": "2023:05:01 12:00:00",
    "DateTimeDigitized": "2023:05:01 12:00:00",
    "DateTime": "2023:05:01 12:00:00",
    "OffsetTimeOriginal": "+02:00",
    "ExifImageWidth": 320,
    "ExifImageHeight": 240,
    "MakerNote": b"Maker" * 20,
}
BERLIN: dict[str, Any] = {
    "GPSLatitudeRef": "N",
    "GPSLatitude": (52.0, 30.0, 0.0),
    "GPSLongitudeRef": "E",
    "GPSLongitude": (13.0, 24.0, 0.0),
    "GPSDateStamp": "2023:05:01",
    "GPSTimeStamp": (10.0, 0.0, 0.0),
}


def inspected(**tags: Any) -> Inspection:
    tables = [[n // 4 + 3 for n in range(64)], [n // 3 + 4 for n in range(64)]]
    block = exif_block(**{**CAMERA, **BERLIN, **tags})
    return inspect_bytes(jpeg(scene(), qtables=tables, exif=block), "a.jpg", now=NOW)


def kinds(inspection: Inspection, least: str = "low") -> set[str]:
    levels = ("note", "low", "medium", "high")
    above = levels[levels.index(least) :]
    return {one.kind for one in inspection.findings if one.severity in above}


def the(inspection: Inspection, kind: str) -> Finding:
    return next(one for one in inspection.findings if one.kind == kind)


def test_a_camera_original_has_no_finding_above_a_note() -> None:
    inspection = inspected()
    assert kinds(inspection) == set()
    assert inspection.metadata["exif"]["Model"] == "Camera 1"
    assert inspection.metadata["gps"]["GPSDateStamp"] == "2023:05:01"


@pytest.mark.parametrize(
    ("tags", "kind", "number"),
    [
        ({"DateTime": "2023:04:01 12:00:00"}, "dates out of order", "30 days"),
        ({"DateTimeDigitized": "2023:05:01 11:00:00"}, "dates out of order", "1 hour"),
        ({"DateTime": "2031:01:01 00:00:00"}, "date in the future", "days"),
        ({"Software": "Adobe Photoshop 25.0"}, "editor named", "25.0"),
        ({"ExifImageWidth": 4000, "ExifImageHeight": 3000}, "dimensions disagree", "scaled"),
        ({"ExifImageWidth": 4000, "ExifImageHeight": 1000}, "dimensions disagree", "cropped"),
        ({"GPSDateStamp": "2023:05:09"}, "GPS time disagrees", "7 days"),
        ({"GPSTimeStamp": (3.0, 0.0, 0.0)}, "GPS time disagrees", "+9.0"),
        ({"GPSLongitudeRef": "W", "GPSLongitude": (120.0, 0.0, 0.0)}, "GPS position", "10.0"),
        ({"UserComment": b"ASCII\0\0\0a cat Steps: 20, Sampler: Euler"}, "generator's", "UserC"),
    ],
)
def test_each_contradiction_is_found_alone(tags: dict[str, Any], kind: str, number: str) -> None:
    inspection = inspected(**tags)
    found = [one for one in inspection.findings if one.severity != "note"]
    assert [one.kind for one in found if not one.kind.startswith(kind)] == []
    assert any(number in one.text for one in found)
    assert all(one.limits for one in found)


def test_turned_dimensions_and_far_but_inhabited_zones_are_no_contradiction() -> None:
    assert kinds(inspected(ExifImageWidth=240, ExifImageHeight=320)) == set()
    china = {"GPSLongitude": (76.0, 0.0, 0.0), "OffsetTimeOriginal": "+08:00"}
    china |= {"GPSTimeStamp": (4.0, 0.0, 0.0)}
    assert kinds(inspected(**china)) == set()


def test_a_cameras_name_on_tables_of_software() -> None:
    data = jpeg(scene(), 80, exif=exif_block(**CAMERA))
    found = the(inspect_bytes(data, "a.jpg", now=NOW), "saved by software")
    assert "80" in found.text
    assert "Camera 1" in found.text


def test_history_and_source_type_in_xmp() -> None:
    body = (
        "<xmpMM:History><rdf:Seq><rdf:li stEvt:action='saved' stEvt:softwareAgent='Editor 9'/>"
        "<rdf:li stEvt:action='saved'/></rdf:Seq></xmpMM:History>"
        "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/"
        "trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"
    )
    inspection = inspect_bytes(jpeg(scene(), xmp=xmp_packet(body=body)), "a.jpg", now=NOW)
    assert "2 x saved" in the(inspection, "edit history").text
    assert "Editor 9" in the(inspection, "edit history").text
    assert the(inspection, "generator's mark").severity == "high"


@pytest.mark.parametrize("packed", [False, True])
def test_text_chunks_of_generators(packed: bool) -> None:
    def png(**texts: str) -> bytes:
        info = PngInfo()
        for key, value in texts.items():
            info.add_text(key, value, zip=packed)
        stream = io.BytesIO()
        Image.fromarray(scene()).save(stream, "PNG", pnginfo=info)
        return stream.getvalue()

    settings = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1"
    for texts in ({"parameters": settings}, {"prompt": '{"3": {"class_type": "KSampler"}}'}):
        inspection = inspect_bytes(png(**texts), "a.png", now=NOW)
        assert the(inspection, "generator's mark").severity == "high"
    harmless = inspect_bytes(png(prompt="say cheese", Comment="none"), "a.png", now=NOW)
    assert kinds(harmless) == set()
    assert harmless.metadata["text"]["Comment"] == "none"


def test_a_comment_that_says_another_quality() -> None:
    data = jpeg(scene(), 70, comment="CREATOR: gd-jpeg v1.0, quality = 90")
    text = the(inspect_bytes(data, "a.jpg", now=NOW), "comment disagrees").text
    assert "90" in text
    assert "70" in text

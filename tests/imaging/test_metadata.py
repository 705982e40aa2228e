"""What files say of themselves, and what happens when it is damaged."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import IFDRational

from fasa_cli.imaging.metadata import PhotoMetadata, read_metadata

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))


def saved(format: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    NOISE.save(stream, format, **options)
    return stream.getvalue()


def exif(**tags: object) -> Image.Exif:
    block = Image.Exif()
    for name, value in tags.items():
        block[ExifTags.Base[name]] = value
    return block


@pytest.mark.parametrize("quality", [*range(10, 100, 7), 100])
def test_quality_of_pillows_jpegs_is_exact(quality: int) -> None:
    metadata = read_metadata(saved(quality=quality))
    assert (metadata.jpeg_quality, metadata.standard_tables) == (quality, True)


def test_quality_of_other_tables_is_the_nearest() -> None:
    table = [
        max(1, value + 1) for value in Image.open(io.BytesIO(saved(quality=80))).quantization[0]
    ]
    metadata = read_metadata(saved(qtables=[table, table]))
    assert metadata.standard_tables is False
    assert metadata.jpeg_quality == pytest.approx(80, abs=3)


def test_a_png_has_no_jpeg_quality() -> None:
    assert read_metadata(saved("PNG")) == PhotoMetadata()


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("NIKON CORPORATION", "NIKON D750", "NIKON D750"),
        ("Canon", "EOS 5D", "Canon EOS 5D"),
        (None, "X100", "X100"),
        ("Leica", None, "Leica"),
        ("  \0", "\0", None),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_camera(format: str, make: str | None, model: str | None, camera: str | None) -> None:
    tags = {"Make": make, "Model": model, "Software": "Editor 1.0"}
    block = exif(**{name: text for name, text in tags.items() if text is not None})
    metadata = read_metadata(saved(format, exif=block))
    assert (metadata.camera, metadata.software) == (camera, "Editor 1.0")


def test_date_and_position() -> None:
    block = exif(DateTime="2024:03:17 14:22:05")
    block.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)}
    )
    metadata = read_metadata(saved(exif=block))
    assert metadata.taken == "2024:03:17 14:22:05"
    assert metadata.position == (-33.86, 151.2)


@pytest.mark.parametrize("latitude", [(1.0,), (IFDRational(1, 0), 0.0, 0.0)])
def test_a_damaged_position_is_none(latitude: object) -> None:
    block = exif(Software="Editor")
    block.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: latitude, 3: "E", 4: (1.0, 2.0, 3.0)})
    metadata = read_metadata(saved(exif=block))
    assert (metadata.position, metadata.software) == (None, "Editor")


def test_long_text_is_cut() -> None:
    assert len(read_metadata(saved(exif=exif(Software="x" * 5000))).software or "") == 200


@pytest.mark.parametrize("data", [b"", b"no image", saved()[:30], saved("PNG")[:20]])
def test_damage_is_absence(data: bytes) -> None:
    assert read_metadata(data) == PhotoMetadata()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_keeps_the_quality() -> None:
    data = saved(quality=70, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    metadata = read_metadata(data)
    assert (metadata.jpeg_quality, metadata.camera) == (70, None)


def test_exif_after_the_pixels_of_a_png_is_read_without_decoding_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    data, block = stream.getvalue(), exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + block
    whole = len(block).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    end = data.rindex(b"IEND") - 4

    def refuse(image: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(PngImageFile, "load", refuse)
    assert read_metadata(data[:end] + whole + data[end:]).camera == "Maker"
    assert read_metadata(data).camera is None

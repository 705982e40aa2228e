"""Damage inside a JPEG is told, whole pictures are not called damaged."""

import io

import numpy as np
import pytest
from PIL import Image

from fasa_cli.assets import shipped_examples
from fasa_cli.errors import ImageError
from fasa_cli.imaging.decode import decode_image
from fasa_cli.imaging.jpeg_structure import END_OF_IMAGE, damage, is_whole_without_end
from fasa_cli.results import within

PHOTOS = sorted(shipped_examples().glob("*/*.jpg"))


def encoded(mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 120, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((240, 192)).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_whole_photos_have_none(path) -> None:
    assert damage(path.read_bytes()) is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": 0, "optimize": True},
        {"restart_marker_blocks": 4},
        {"mode": "L"},
        {"mode": "CMYK"},
        {"mode": "L", "progressive": True},
    ],
    ids=str,
)
def test_every_kind_of_whole_file_has_none(options) -> None:
    assert damage(encoded(**options)) is None


def test_most_flipped_bits_that_show_are_told_and_only_they() -> None:
    """Of 200 bits flipped in the coded data; where they are told, what is damaged is known."""
    data = (shipped_examples() / "authentic/coffee.jpg").read_bytes()
    whole = decode_image(data, "coffee").pixels.astype(int)
    start = data.index(b"\xff\xda") + 14
    generator = np.random.default_rng(1)
    shown = told = covered = 0
    for _ in range(200):
        flipped = bytearray(data)
        flipped[int(generator.integers(start, len(data) - 2))] ^= 1 << int(generator.integers(8))
        try:
            image = decode_image(bytes(flipped), "flipped")
        except ImageError:
            continue
        differs = np.abs(image.pixels - whole).max(2) > 8
        changed = differs.mean()
        if changed > 0.01:
            shown += 1
            told += any("damaged" in warning for warning in image.warnings)
            for box in image.damaged:
                within(differs, box)[:] = False
            covered += differs.mean() < 0.001
        if not changed:
            assert image.warnings == ()
    assert shown > 30
    assert told / shown > 0.75
    assert covered / shown > 0.75


def test_an_overwritten_sector_is_told() -> None:
    data = bytearray((shipped_examples() / "authentic/coffee.jpg").read_bytes())
    data[20_000:20_512] = bytes(512)
    (warning,) = decode_image(bytes(data), "sector").warnings
    assert "damaged" in warning


def test_a_progressive_file_that_lost_scans_is_told() -> None:
    data = encoded(progressive=True)
    lost = data[: data.rindex(b"\xff\xda")] + END_OF_IMAGE
    assert "scans are lost" in (damage(lost) or "")
    (warning,) = decode_image(lost, "lost").warnings
    assert "scans are lost" in warning


@pytest.mark.parametrize("trailer", [b"", b"SEFH" * 40, b"\x00\xff\xd9\x01" * 3])
def test_a_whole_picture_without_its_end_marker_is_read(trailer: bytes) -> None:
    """As some phones write panoramas; whatever bytes follow, an end marker among them."""
    data = encoded()
    body = data.removesuffix(END_OF_IMAGE)
    image = decode_image(body + trailer, "panorama")
    np.testing.assert_array_equal(image.pixels, decode_image(data, "plain").pixels)
    if END_OF_IMAGE not in trailer:
        assert len(image.warnings) == 1


def test_a_picture_that_is_cut_off_is_refused() -> None:
    data = encoded()
    half = data[: len(data) // 2]
    assert not is_whole_without_end(half)
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        decode_image(half, "cut.jpg")

"""HEIC, JPEG XL and camera RAW: read by content, upright, within limits, or refused in words."""

from __future__ import annotations

import io
from importlib import util
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.errors import ImageError
from fasa_cli.imaging import formats
from fasa_cli.imaging.decode import declared_size, decode_image, read_image
from fasa_cli.imaging.metadata import read_metadata
from tests.imaging.samples import HEIC, HEIC_TURNED, HEIC_TWO, dng, heic_pixels


def close(one: np.ndarray, other: np.ndarray, levels: float) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < levels


def smooth() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(40, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def jpeg_xl(pixels: np.ndarray, **options: object) -> bytes:
    pytest.importorskip("pillow_jxl")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JXL", **options)
    return stream.getvalue()


# --- HEIC -----------------------------------------------------------------------------------


def test_heic_is_read_by_content(tmp_path: Path) -> None:
    path = tmp_path / "phone.jpg"
    path.write_bytes(HEIC)
    decoded = read_image(path)
    assert decoded.format == "HEIC"
    assert decoded.warnings == ()
    assert decoded.pixels.flags.c_contiguous
    assert close(decoded.pixels, heic_pixels(), 3)


def test_heic_is_turned_once_by_its_container_and_not_again_by_exif() -> None:
    decoded = decode_image(HEIC_TURNED, "turned.heic")
    assert close(decoded.pixels, np.rot90(heic_pixels(), -1), 3)
    assert decoded.display_size == (48, 64)
    assert read_metadata(HEIC_TURNED).camera == "Maker"


def test_the_first_picture_of_a_heic_with_several() -> None:
    decoded = decode_image(HEIC_TWO, "two.heic")
    assert decoded.frames == 2
    assert close(decoded.pixels, heic_pixels(), 3)
    assert any("2 frames" in note for note in decoded.warnings)


def test_heic_cut_anywhere_is_refused() -> None:
    for end in range(1, len(HEIC_TURNED), 7):
        with pytest.raises(ImageError, match=r"^a\.heic: "):
            decode_image(HEIC_TURNED[:end], "a.heic")


def test_heic_with_wounds_ends_in_a_picture_or_an_error() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(HEIC)
        for _ in range(3):
            data[int(generator.integers(20, len(data)))] = int(generator.integers(256))
        try:
            decoded = decode_image(bytes(data), "a.heic", max_pixels=1_000_000)
        except ImageError as error:
            assert str(error).startswith("a.heic: ")  # noqa: PT017
        else:
            assert decoded.pixels.dtype == np.uint8


def test_a_heic_that_declares_a_bomb_is_refused() -> None:
    place = HEIC.index(b"ispe") + 8
    data = HEIC[:place] + b"\x00\x00\xff\xff\x00\x00\xff\xff" + HEIC[place + 8 :]
    with pytest.raises(ImageError, match=r"a\.heic"):
        decode_image(data, "a.heic")


# --- JPEG XL --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(160, 120), (64, 64), (8, 256), (53, 37), (1, 1), (1000, 3)])
@pytest.mark.parametrize("exif", [False, True])
def test_jpeg_xl_says_its_size_and_is_decoded(size: tuple[int, int], exif: bool) -> None:
    pixels = cv2.resize(smooth(), size)
    block = Image.Exif()
    block[274] = 6
    options = {"exif": block.tobytes()} if exif else {}
    data = jpeg_xl(pixels, lossless=True, **options)
    assert declared_size(data) == size
    decoded = decode_image(data, "a.jxl")
    assert decoded.format == "JPEG XL"
    assert np.array_equal(decoded.pixels, pixels)  # the codestream, not EXIF, says how it lies


def test_jpeg_xl_that_declares_a_bomb_is_refused_before_it_is_decoded() -> None:
    bits = 0 | 3 << 1 | (99_999) << 3 | 1 << 33  # not small, 30 bits, height - 1, square
    data = b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(40)
    pytest.importorskip("pillow_jxl")
    with pytest.raises(ImageError, match=r"a\.jxl: declares 100000 x 100000"):
        decode_image(data, "a.jxl")


# --- Camera RAW -----------------------------------------------------------------------------


@pytest.mark.parametrize(("orientation", "quarters"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_camera_raw_is_developed_upright(orientation: int, quarters: int) -> None:
    pytest.importorskip("rawpy")
    pixels = smooth()
    decoded = decode_image(dng(pixels, orientation), "a.dng")
    upright = np.rot90(pixels, quarters)
    assert decoded.format == "camera RAW"
    assert decoded.stored_size == (160, 120)
    assert decoded.orientation == orientation
    assert decoded.pixels.shape == upright.shape
    assert np.corrcoef(decoded.pixels.ravel(), upright.ravel())[0, 1] > 0.99
    assert any("RAW" in note for note in decoded.warnings)


def test_camera_raw_has_metadata_and_limits() -> None:
    pytest.importorskip("rawpy")
    data = dng(smooth())
    assert declared_size(data) == (160, 120)
    with pytest.raises(ImageError, match=r"a\.dng: declares 160 x 120"):
        decode_image(data, "a.dng", max_pixels=1000)
    with pytest.raises(ImageError, match=r"a\.dng: "):
        decode_image(data[:3000], "a.dng")


# --- Without the extras ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "extra"),
    [(b"\xff\x0a\xfa\x1f", "jxl"), (b"II*\0\x10\0\0\0CR\x02\0", "raw"), (dng(smooth()), "raw")],
)
def test_a_missing_extra_is_named_with_the_command(
    data: bytes, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_extras(name: str) -> object:
        return None if name in ("pillow_jxl", "rawpy") else util.find_spec(name)

    monkeypatch.setattr(formats, "find_spec", without_extras)
    with pytest.raises(ImageError, match=rf"^a\.x: .*pip install 'fasa-cli\[{extra}\]'"):
        decode_image(data, "a.x")
    assert declared_size(data) == (0, 0)

"""ICC profiles: what the model sees is stored, what people see is converted."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from fasa_cli.imaging.decode import decode_image
from fasa_cli.imaging.profiles import for_display, is_srgb, profile_name
from tests.imaging.test_decode import photo, saved

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exchanged() -> bytes:
    """A profile in which what sRGB calls red is blue: two of its tags change places."""
    data = bytearray(SRGB)
    count = int.from_bytes(data[128:132], "big")
    places = {bytes(data[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, blue = places[b"rXYZ"], places[b"bXYZ"]
    data[red : red + 8], data[blue : blue + 8] = data[blue : blue + 8], data[red : red + 8]
    return bytes(data)


def test_srgb_is_recognised_by_what_it_does() -> None:
    assert is_srgb(SRGB)
    assert not is_srgb(exchanged())
    assert is_srgb(b"no profile")  # nothing is known, so nothing is claimed
    assert "sRGB" in profile_name(SRGB)
    assert profile_name(b"no profile") == "unreadable"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_stored_values_are_kept_and_the_profile_is_noted(file_format: str) -> None:
    pixels = photo(300, 40)
    data = saved(pixels, file_format, icc_profile=exchanged())
    decoded = decode_image(data, "a")
    without = decode_image(saved(pixels, file_format), "a")
    assert np.array_equal(decoded.pixels, without.pixels)
    assert any("profile" in note for note in decoded.warnings)
    shown = for_display(decoded.pixels, decoded.icc_profile)
    assert np.abs(shown[:, :, ::-1].astype(int) - decoded.pixels).max() <= 3


def test_srgb_leaves_no_note_and_no_work() -> None:
    decoded = decode_image(saved(photo(), "PNG", icc_profile=SRGB), "a.png")
    assert decoded.warnings == ()
    assert decoded.icc_profile == b""
    assert for_display(decoded.pixels, b"") is decoded.pixels


def test_for_display_is_what_pillow_converts() -> None:
    pixels = photo(300, 40)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(exchanged()))
    wanted = ImageCms.profileToProfile(
        Image.fromarray(pixels), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert np.array_equal(for_display(pixels, exchanged()), np.asarray(wanted))


def test_a_gain_map_is_noted() -> None:
    data = saved(photo(), "JPEG")
    name = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
    segment = b"\xff\xe2" + struct.pack(">H", len(name) + 2) + name
    decoded = decode_image(data[:2] + segment + data[2:], "a.jpg")
    assert any("gain map" in note for note in decoded.warnings)
    assert decode_image(data, "a.jpg").warnings == ()

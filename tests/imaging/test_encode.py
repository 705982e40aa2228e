"""Encoders: what is written is what Pillow and OpenCV read back."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from fasa_cli.errors import ImageError
from fasa_cli.imaging.decode import decode_image
from fasa_cli.imaging.encode import (
    encode_jpeg,
    encode_mask,
    encode_png,
    encode_probabilities,
    encode_webp,
)
from tests.imaging.test_decode import photo, ramp16


@pytest.mark.parametrize("array", [photo(), photo()[:, :, 0], ramp16(), photo()[::-1, ::-1]])
def test_png_is_lossless(array: np.ndarray) -> None:
    with Image.open(io.BytesIO(encode_png(array))) as image:
        np.testing.assert_array_equal(np.asarray(image), array)


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4)), np.zeros((4, 4, 3), np.uint16), np.zeros((4, 4, 4), np.uint8)]
)
def test_png_of_other_arrays_is_a_mistake(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="no PNG"):
        encode_png(array)


@pytest.mark.parametrize(("subsampling", "factors"), [("4:4:4", (1, 1)), ("4:2:0", (2, 2))])
def test_jpeg_subsampling_and_colours(subsampling: str, factors: tuple[int, int]) -> None:
    smooth = cv2.GaussianBlur(photo(), (0, 0), 2)
    data = encode_jpeg(smooth, quality=95, subsampling=subsampling)
    with Image.open(io.BytesIO(data)) as image:
        assert image.layer[0][1:3] == factors
        assert peak_signal_noise_ratio(smooth, np.asarray(image)) > 33


def test_jpeg_quality_and_grey() -> None:
    assert len(encode_jpeg(photo(), 30)) < len(encode_jpeg(photo())) < len(encode_jpeg(photo(), 99))
    assert decode_image(encode_jpeg(photo()[:, :, 0]), "a").mode == "L"
    with pytest.raises(ValueError, match="no JPEG"):
        encode_jpeg(ramp16())


def test_a_jpeg_too_wide_names_the_cure() -> None:
    with pytest.raises(ImageError, match=r"70000 x 1 pixels do not fit into a JPEG.*write PNG"):
        encode_jpeg(np.zeros((1, 70_000), np.uint8))


def test_webp_keeps_colours_grey_and_opacity() -> None:
    smooth = cv2.GaussianBlur(photo(), (0, 0), 2)
    np.testing.assert_array_equal(decode_image(encode_webp(smooth, 101), "a").pixels, smooth)
    lossy = decode_image(encode_webp(smooth, 90), "a").pixels
    assert peak_signal_noise_ratio(smooth, lossy) > 30
    grey = decode_image(encode_webp(smooth[:, :, 0], 101), "a").pixels
    np.testing.assert_array_equal(grey[:, :, 1], smooth[:, :, 0])
    opacity = np.linspace(1, 255, smooth[:, :, 0].size).astype(np.uint8).reshape(smooth.shape[:2])
    with Image.open(io.BytesIO(encode_webp(np.dstack((smooth, opacity)), 101))) as image:
        np.testing.assert_array_equal(np.asarray(image), np.dstack((smooth, opacity)))
    with pytest.raises(ValueError, match="no WebP"):
        encode_webp(ramp16())


def test_a_webp_too_high_names_the_cure() -> None:
    with pytest.raises(ImageError, match=r"1 x 17000 pixels do not fit into a WebP.*write PNG"):
        encode_webp(np.zeros((17_000, 1), np.uint8))


def test_masks_are_0_and_255() -> None:
    mask = photo()[:, :, 0] > 90
    with Image.open(io.BytesIO(encode_mask(mask))) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))
    with pytest.raises(ValueError, match="a mask is bool"):
        encode_mask(photo()[:, :, 0])


def test_probabilities_keep_16_bits() -> None:
    probabilities = np.random.default_rng(0).random((20, 30), dtype=np.float32)
    probabilities[0, :2] = 0, 1
    with Image.open(io.BytesIO(encode_probabilities(probabilities))) as image:
        stored = np.asarray(image)
    expected = np.rint(probabilities.astype(np.float64) * 65535)
    np.testing.assert_array_equal(stored, expected)
    assert (stored[0, 0], stored[0, 1]) == (0, 65535)


@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1])
def test_other_numbers_are_no_probabilities(value: float) -> None:
    with pytest.raises(ValueError, match="probabilities lie in"):
        encode_probabilities(np.array([[0.5, value]], np.float32))

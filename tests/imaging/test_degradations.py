"""Degradations against their definitions."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.imaging import degradations
from fasa_cli.imaging.degradations import Degradation


@pytest.fixture
def image():
    smooth = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (61, 83, 3)).astype(np.uint8), (0, 0), 3
    )
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)


def error(one, other):
    return np.abs(one.astype(float) - other.astype(float)).mean()


def test_jpeg_errors_grow_as_quality_falls(image):
    errors = [
        error(degradations.jpeg(image, quality, "444"), image) for quality in (100, 90, 70, 50, 20)
    ]
    assert errors == sorted(errors)
    assert errors[0] < 1.5
    assert errors[-1] > 2 * errors[0]


@pytest.mark.parametrize(("subsampling", "layers"), [("444", 0), ("422", 1), ("420", 2)])
def test_jpeg_agrees_with_pillow(image, subsampling, layers):
    """The same quantisation tables and subsampling, so nearly the same pixels, colours in order."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=80, subsampling=layers)
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    assert error(degradations.jpeg(image, 80, subsampling), expected) < 0.5


@pytest.mark.parametrize("quality", [0, 101])
def test_jpeg_quality_has_bounds(image, quality):
    with pytest.raises(ValueError, match="quality"):
        degradations.jpeg(image, quality)


def test_blur_follows_opencvs_sigma_rule(image):
    for kernel in (3, 7, 23):
        sigma = 0.3 * ((kernel - 1) * 0.5 - 1) + 0.8
        weights = np.exp(-((np.arange(kernel) - kernel // 2) ** 2) / (2 * sigma**2))
        weights /= weights.sum()
        margin = kernel // 2
        padded = np.pad(image.astype(float), ((margin,) * 2, (margin,) * 2, (0, 0)), "reflect")
        rows = sum(w * padded[i : i + 61] for i, w in enumerate(weights))
        expected = sum(w * rows[:, i : i + 83] for i, w in enumerate(weights))
        assert np.abs(degradations.blur(image, kernel) - expected).max() < 1.5


def test_severity_zero_changes_nothing(image):
    np.testing.assert_array_equal(degradations.blur(image, 0), image)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(degradations.gaussian_noise(image, 0, rng), image)


@pytest.mark.parametrize("kernel", [-3, 4])
def test_blur_kernels_are_odd(image, kernel):
    with pytest.raises(ValueError, match="odd"):
        degradations.blur(image, kernel)


def test_noise_has_its_variance():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = degradations.gaussian_noise(grey, 23, np.random.default_rng(1)).astype(float)
    assert noisy.var() == pytest.approx(23, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    with pytest.raises(ValueError, match="variance"):
        degradations.gaussian_noise(grey, -1, np.random.default_rng(1))


def test_resize_scales_both_sides_and_masks_follow(image):
    half = degradations.resize(image, 0.5)
    assert half.shape == (30, 42, 3)
    assert degradations.resize(image, 0.001).shape == (1, 1, 3)
    mask = np.zeros((61, 83), bool)
    mask[20:40, 30:60] = True
    small = degradations.resize_mask(mask, half.shape[1::-1])
    assert small.shape == half.shape[:2]
    assert small.mean() == pytest.approx(mask.mean(), rel=0.1)
    with pytest.raises(ValueError, match="factor"):
        degradations.resize(image, 0)


def test_a_resized_mask_lies_as_the_resized_image_does():
    """A mirrored mask gives the mirrored result, which is wrong for places rounded down."""
    mask = np.random.default_rng(0).random((30, 47)) > 0.5
    for size in ((61, 40), (31, 22)):
        small = degradations.resize_mask(mask, size)
        mirrored = degradations.resize_mask(mask[::-1, ::-1], size)
        np.testing.assert_array_equal(mirrored[::-1, ::-1], small)


@pytest.mark.parametrize(
    ("kind", "severity", "expected"),
    [
        ("jpeg", 70, lambda image: degradations.jpeg(image, 70)),
        ("blur", 7, lambda image: degradations.blur(image, 7)),
        ("resize", 50, lambda image: degradations.resize(image, 0.5)),
        ("resize", 200, lambda image: degradations.resize(image, 2)),
        ("clean", 0, lambda image: image),
    ],
)
def test_a_degradation_is_the_function_of_its_kind(image, kind, severity, expected):
    np.testing.assert_array_equal(Degradation(kind, severity)(image), expected(image))


def test_the_same_image_gets_the_same_noise_and_another_image_another(image):
    noise = Degradation("noise", 25)
    np.testing.assert_array_equal(noise(image), noise(image.copy()))
    added = noise(image).astype(int) - image
    other = image.copy()
    other[0, 0] ^= 1
    assert (noise(other).astype(int) - other != added).mean() > 0.5
    flat = np.full((100, 100, 3), 128, np.uint8)
    assert (noise(flat).astype(float) - 128).var() == pytest.approx(25, rel=0.05)


def test_names_and_severity_zero():
    assert Degradation("jpeg", 50).name == "jpeg-50"
    for kind, severity in (("clean", 0), ("blur", 0), ("blur", 1), ("noise", 0), ("resize", 100)):
        assert Degradation(kind, severity).is_clean
        assert Degradation(kind, severity).name == "clean"
    assert not Degradation("jpeg", 100).is_clean  # even quality 100 rounds


@pytest.mark.parametrize(
    ("kind", "severity"),
    [("jpeg", 0), ("jpeg", 101), ("blur", 4), ("noise", -1), ("resize", 0), ("fog", 1)],
)
def test_severities_that_are_none(kind, severity):
    with pytest.raises(ValueError, match=r"JPEG quality|kernel|variance|per cent|no degradation"):
        Degradation(kind, severity)

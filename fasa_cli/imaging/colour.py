"""Decoded pixels of any Pillow mode -> H x W x 3 uint8 RGB, by the rules of `decode_image`."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

from fasa_cli.imaging.tiff import BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT, tiff_tag

_ROWS = 256  # of a photo that are converted at a time
_CROP_PIXELS = 16_000_000


def to_rgb(image: Image.Image, notes: list[str]) -> np.ndarray:
    """Decoded pixels of any Pillow mode as H x W x 3 uint8 RGB, by the rules of decode_image."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_deep_grey_to_8_bits(image, notes)[:, :, None], 3, axis=2)
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image, notes)
    elif image.mode == "LAB":
        notes.append("LAB converted to RGB")
        image = _convert_by_profiles(image, ImageCms.createProfile("LAB"))
    elif image.mode == "La" or image.has_transparency_data:
        image = _without_alpha(image, notes)
    return _rgb_array(image if image.mode == "RGB" else image.convert("RGB"))


def _rgb_array(image: Image.Image) -> np.ndarray:
    """The same as np.array, which would hold a large photo twice more on the way."""
    width, height = image.size
    if width > _CROP_PIXELS:
        return np.array(image)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = min(_ROWS, _CROP_PIXELS // width)  # Pillow has a limit for crops, too
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def _without_alpha(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "La":  # Pillow has no direct way from premultiplied grey to RGBA
        image = image.convert("LA")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image
    notes.append("transparent pixels; composited over white")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _cmyk_to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    if profile := image.info.get("icc_profile"):
        try:
            converted = _convert_by_profiles(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notes.append("embedded CMYK profile unusable")
        else:
            notes.append("CMYK converted to RGB by its embedded profile")
            return converted
    notes.append("CMYK converted to RGB")
    return image.convert("RGB")


def _convert_by_profiles(
    image: Image.Image, profile: ImageCms._CmsProfileCompatible
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
    if converted is None:  # only with inPlace=True
        raise ValueError("no colour conversion")
    return converted


def _deep_grey_to_8_bits(image: Image.Image, notes: list[str]) -> np.ndarray:
    """H x W uint8 from modes I;16 (all byte orders), I (32-bit integers) and F (floats)."""
    samples = np.array(image)
    if image.mode == "F":
        grey = _floats_to_8_bits(samples, notes)
    else:
        if image.mode == "I" and tiff_tag(image, SAMPLE_FORMAT) in (None, 1):
            samples = samples.view(np.uint32)  # Pillow keeps unsigned samples in signed ones
        white = 4095 if tiff_tag(image, BITS_PER_SAMPLE) == 12 else 65535
        grey = _integers_to_8_bits(samples, white, notes)
    return 255 - grey if tiff_tag(image, PHOTOMETRIC) == 0 else grey  # 0: white is zero


def _integers_to_8_bits(samples: np.ndarray, white: int, notes: list[str]) -> np.ndarray:
    low, high = int(samples.min()), int(samples.max())
    if low < 0 or high > 65535:
        notes.append(f"integer samples {low}..{high} stretched to 0..255")
        return _stretch(samples, low, high)
    levels = np.rint(np.arange(65536) * (255 / white)).clip(0, 255).astype(np.uint8)
    return levels[samples]


def _floats_to_8_bits(samples: np.ndarray, notes: list[str]) -> np.ndarray:
    finite = samples[np.isfinite(samples)]
    if finite.size < samples.size:
        notes.append(f"{samples.size - finite.size} samples are not finite numbers")
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return _stretch(samples, 0.0, 1.0)
    notes.append(f"float samples {low:g}..{high:g} stretched to 0..255")
    return _stretch(samples, low, high)


def _stretch(samples: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..255 linearly, rounded; NaN to 0, infinities to the ends."""
    scaled = (samples.astype(np.float64) - low) * (255 / ((high - low) or 1))
    return np.rint(np.nan_to_num(scaled, nan=0.0).clip(0, 255)).astype(np.uint8)

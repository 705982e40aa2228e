"""ICC profiles: which are as good as sRGB, and pixels converted for people's eyes.

The model sees the values as a file stores them, whatever their profile: converting would alter the
statistics that it looks for. What is shown to people is converted to sRGB.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_LONGEST_NAME = 100  # characters
_SAME = 4  # levels by which a colour may move in a profile that is as good as sRGB
_ROWS = 256  # of a photo that are converted at a time


def profile_name(profile: bytes) -> str:
    """The description of an ICC profile; "unreadable" where it is damaged."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.getProfileDescription(opened).strip()[:_LONGEST_NAME] or "without a name"
    except Exception:  # lcms raises nearly anything on damaged profiles
        return "unreadable"


@lru_cache(maxsize=64)  # a folder's photos mostly share theirs
def is_srgb(profile: bytes) -> bool:
    """Whether colours hardly move when they are converted from this profile to sRGB.

    True too for a profile that cannot be used for RGB: then nothing is known of other colours.
    """
    levels = np.arange(0, 256, 51)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3).astype(np.uint8)
    moved = _converted(cube, profile)
    return moved is None or int(np.abs(moved.astype(int) - cube).max()) <= _SAME


def for_display(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """H x W x 3 uint8 RGB with the colours that `profile` gives its values, as sRGB.

    The same array where there is no profile, or one that is as good as sRGB or cannot be used.
    """
    if not profile or is_srgb(profile):
        return pixels
    converted = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS):
        rows = _converted(pixels[top : top + _ROWS], profile)
        if rows is None:
            return pixels
        converted[top : top + _ROWS] = rows
    return converted


def _converted(pixels: np.ndarray, profile: bytes) -> np.ndarray | None:
    try:
        transform = _transform(profile)
        return np.asarray(transform.apply(Image.fromarray(pixels)))
    except Exception:  # as above
        return None


@lru_cache(maxsize=16)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform:
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), "RGB", "RGB")

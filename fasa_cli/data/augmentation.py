"""The life of a picture after the edit, for training (section 4.1): blur, JPEG, scaling,
cropping, horizontal flip. Training samples are square crops; `publish` keeps whole pictures."""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli import degradations
from fasa_cli.config import DataConfig
from fasa_cli.data.synthesis import GRID, Forgery


def augment(forgery: Forgery, config: DataConfig, rng: np.random.Generator) -> Forgery:
    """Degrade the whole picture, then cut and flip: crop x crop, mask along."""
    smallest = config.crop / min(forgery.target_mask.shape)  # a crop must still fit
    image, mask = _scale_and_blur(forgery, config, rng, smallest)
    image, mask = crop_or_pad(image, mask, config.crop, rng)
    if rng.random() < 0.5:
        image, mask = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    # JPEG comes last: a file's block grid starts at its corner, and so must the crop's.
    return Forgery(_compress(image, config, rng), mask, forgery.kind)


def publish(forgery: Forgery, config: DataConfig, rng: np.random.Generator) -> Forgery:
    """Degrade the whole picture as `augment` does, but neither cut nor flip it."""
    image, mask = _scale_and_blur(forgery, config, rng, smallest=0.0)
    return Forgery(_compress(image, config, rng), mask, forgery.kind)


def _scale_and_blur(
    forgery: Forgery, config: DataConfig, rng: np.random.Generator, smallest: float
) -> tuple[np.ndarray, np.ndarray]:
    image, mask = forgery.image, forgery.target_mask
    if rng.random() < config.resize:
        smallest = min(max(0.6, smallest), 1.4)
        image = degradations.resize(image, float(rng.uniform(smallest, 1.4)))
        mask = degradations.resize_mask(mask, image.shape[1::-1])
    if rng.random() < config.blur:
        image = degradations.blur(image, int(rng.choice([3, 5])))
    return image, mask


def _compress(image: np.ndarray, config: DataConfig, rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= config.jpeg:
        return image
    quality = int(rng.integers(50, 101)) if rng.random() < 0.5 else int(rng.integers(75, 97))
    return degradations.jpeg(image, quality, str(rng.choice(["420", "422", "444"])))


def crop_or_pad(
    image: np.ndarray, mask: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A side x side cut on the JPEG grid, holding some of the mask where there is one.

    An image smaller than `side` is mirrored at its lower and right border.
    """
    height, width = mask.shape
    if height < side or width < side:
        border = (0, max(0, side - height), 0, max(0, side - width))
        image = cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT_101)
        mask = cv2.copyMakeBorder(mask.astype(np.uint8), *border, cv2.BORDER_REFLECT_101) > 0
        height, width = mask.shape
    for _ in range(8):
        top = int(rng.integers(0, (height - side) // GRID + 1)) * GRID
        left = int(rng.integers(0, (width - side) // GRID + 1)) * GRID
        cut = np.s_[top : top + side, left : left + side]
        if not mask.any() or 0.002 < mask[cut].mean() < 0.85:
            break
    return np.ascontiguousarray(image[cut]), np.ascontiguousarray(mask[cut])

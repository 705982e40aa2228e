"""The life of a picture after the edit, for training (section 4.1): blur, JPEG, scaling,
cropping, horizontal flip. Training samples are square crops; `publish` keeps whole pictures."""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli.config import DataConfig
from fasa_cli.data.development import framed
from fasa_cli.data.synthesis import Forgery
from fasa_cli.imaging import degradations
from fasa_cli.results import GRID

LARGEST_NOISE = 14.0  # variance, in squared grey levels
SMALLEST_CUT = 0.7  # of a picture's sides, where most of it is to be seen (Ours: not printed)


def augment(forgery: Forgery, config: DataConfig, rng: np.random.Generator) -> Forgery:
    """Degrade the whole picture, then cut and flip: crop x crop, mask along.

    With `config.fit` "resize" the cut is most of the picture, brought to crop x crop at the end.
    """
    whole = config.fit == "resize"
    image, mask = forgery.image, forgery.target_mask
    if not whole:
        image, mask = _near_window(image, mask, 2 * config.crop, rng)
    smallest = 0.0 if whole else config.crop / min(mask.shape)  # a crop must still fit, if it did
    image, mask = _scale_and_blur(image, mask, config, rng, smallest)
    if whole:
        share = rng.uniform(SMALLEST_CUT, 1.0, 2) * mask.shape
        image, mask = _cut(image, mask, max(1, int(share[0])), max(1, int(share[1])), rng)
    else:
        image, mask = crop_or_pad(image, mask, config.crop, rng)
    if rng.random() < 0.5:
        image, mask = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    if rng.random() < config.noise:
        image = degradations.gaussian_noise(image, float(rng.uniform(0.5, LARGEST_NOISE)), rng)
    if rng.random() < config.frames:
        image, mask = framed(image, mask, rng)
    # JPEG comes last: a file's block grid starts at its corner, and so must the crop's.
    image = _compress(image, config, rng)
    if rng.random() < config.recompress:
        image, mask = recompressed(image, mask, rng)
    if whole:
        image, mask = _resized(image, mask, config.crop)
    return Forgery(image, mask, forgery.kind)


def publish(forgery: Forgery, config: DataConfig, rng: np.random.Generator) -> Forgery:
    """Degrade the whole picture as `augment` does, but neither cut nor flip it."""
    image, mask = _scale_and_blur(forgery.image, forgery.target_mask, config, rng, smallest=0.0)
    return Forgery(_compress(image, config, rng), mask, forgery.kind)


def _scale_and_blur(
    image: np.ndarray,
    mask: np.ndarray,
    config: DataConfig,
    rng: np.random.Generator,
    smallest: float,
) -> tuple[np.ndarray, np.ndarray]:
    if rng.random() < config.resize:
        smallest = min(max(0.6, smallest), 1.0)
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


def recompressed(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What messengers and websites do to a finished picture, at the same size; mask along.

    Scaled down (and compressed) and up again, noise or blur; saved as JPEG once more, on another
    grid or cropped off the grid afterwards. A crop is mirrored at its end to keep the size.
    """
    side = mask.shape[1::-1]
    step = rng.random()
    if step < 0.25:
        small = degradations.resize(image, float(rng.uniform(0.5, 0.95)))
        if rng.random() < 0.5:
            small = degradations.jpeg(small, int(rng.integers(60, 98)))
        image = cv2.resize(small, side, interpolation=cv2.INTER_CUBIC)
        if rng.random() < 0.5:
            return image, mask
    elif step < 0.4:
        image = degradations.gaussian_noise(image, float(rng.uniform(0.7, LARGEST_NOISE)), rng)
    elif step < 0.46:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.6)))
    if rng.random() < 0.35:
        image, mask = _off_grid(image, mask, rng)
    if step >= 0.4 or rng.random() < 0.6:
        lowest, highest = (50, 99) if rng.random() < 0.7 else (68, 93)
        subsampling = "444" if rng.random() < 0.4 else "420"
        image = degradations.jpeg(image, int(rng.integers(lowest, highest)), subsampling)
        if rng.random() < 0.25:
            image, mask = _off_grid(image, mask, rng)
    return image, mask


def _off_grid(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Up to seven rows and columns less at the top and left, as many mirrored at the other end."""
    top, left = (int(count) for count in rng.integers(0, GRID, 2))
    top, left = min(top, mask.shape[0] - 1), min(left, mask.shape[1] - 1)
    border = (0, top, 0, left, cv2.BORDER_REFLECT_101)
    image = cv2.copyMakeBorder(image, *border)[top:, left:]
    mask = cv2.copyMakeBorder(mask.astype(np.uint8), *border)[top:, left:] > 0
    return np.ascontiguousarray(image), np.ascontiguousarray(mask)


def crop_or_pad(
    image: np.ndarray, mask: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A side x side cut on the JPEG grid, holding some of the mask where there is one.

    An image smaller than `side` is mirrored, at the last lines of the JPEG grid: what is mirrored
    has the same blocks, and the image's mean is nearly the same.
    """
    if min(mask.shape) < side:
        rows, columns = (
            length if length >= side else max(1, length // GRID * GRID) for length in mask.shape
        )
        border = (0, max(0, side - rows), 0, max(0, side - columns))
        image = cv2.copyMakeBorder(image[:rows, :columns], *border, cv2.BORDER_REFLECT)
        mask = mask[:rows, :columns].astype(np.uint8)
        mask = cv2.copyMakeBorder(mask, *border, cv2.BORDER_REFLECT) > 0
    return _cut(image, mask, side, side, rng)


def _cut(
    image: np.ndarray, mask: np.ndarray, rows: int, columns: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A cut on the JPEG grid, if possible one that holds some of the mask, and not only that."""
    height, width = mask.shape
    for _ in range(8):
        top = int(rng.integers(0, (height - rows) // GRID + 1)) * GRID
        left = int(rng.integers(0, (width - columns) // GRID + 1)) * GRID
        cut = np.s_[top : top + rows, left : left + columns]
        if not mask.any() or 0.002 < mask[cut].mean() < 0.85:
            break
    return np.ascontiguousarray(image[cut]), np.ascontiguousarray(mask[cut])


def _near_window(
    image: np.ndarray, mask: np.ndarray, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A window of at most side x side on the JPEG grid, around a manipulated pixel if there is one.

    A published picture can have many times the pixels that a crop needs, and a random crop of it
    would mostly miss what was manipulated.
    """
    if max(mask.shape) <= side:
        return image, mask
    pixels = np.flatnonzero(mask)
    place = rng.choice(pixels) if pixels.size else rng.integers(mask.size)
    box = []
    for length, middle in zip(mask.shape, divmod(int(place), mask.shape[1]), strict=True):
        start = middle - int(rng.integers(min(side, length)))
        start = max(0, min(start, length - side)) // GRID * GRID
        box.append(slice(start, start + side))
    return image[tuple(box)], mask[tuple(box)]


def _resized(image: np.ndarray, mask: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    shrinks = side * side < mask.size
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    image = cv2.resize(image, (side, side), interpolation=interpolation)
    return image, degradations.resize_mask(mask, (side, side))

"""What cameras, phones and editors do to a whole photo: no part of it is manipulated.

Applied to authentic windows and, as often, to the hosts of forgeries before the edit, so that a
network cannot take the development itself for a sign of either.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fasa_cli.data.shapes import random_region
from fasa_cli.imaging import degradations

_Step = Callable[[np.ndarray, np.random.Generator, np.ndarray | None], np.ndarray]


def develop(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """One to three steps drawn at random, then mostly JPEG; H x W x 3 uint8 RGB in and out.

    `region` is the mask of the photo's object, if known: shallow focus keeps it sharp.
    """
    names = list(STEPS)
    weights = np.array([STEPS[name][0] for name in names])
    count = int(rng.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
    for name in rng.choice(names, count, replace=False, p=weights / weights.sum()):
        photo = STEPS[name][1](photo, rng, region)
    if rng.random() < 0.7:
        subsampling = str(rng.choice(["420", "444"]))
        photo = degradations.jpeg(photo, int(rng.integers(60, 99)), subsampling)
    return photo


def sharpen(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """Unsharp masking, with a threshold half the time, as cameras and exports do."""
    soft = cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.6, 2)))
    amount = float(rng.uniform(0.3, 1.6))
    sharp = cv2.addWeighted(photo, 1 + amount, soft, -amount, 0)
    if rng.random() < 0.5:
        return sharp
    least = float(rng.uniform(1, 5))  # grey levels: quiet places stay as they are
    loud = (np.abs(photo.astype(np.int16) - soft).max(2) > least)[..., None]
    return np.where(loud, sharp, photo)


def denoise(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """Noise reduction: one that keeps edges, a blur of the colour differences, or both."""
    kind = rng.choice(["bilateral", "chroma", "both"])
    if kind != "chroma":
        photo = cv2.bilateralFilter(photo, 5, float(rng.uniform(6, 30)), float(rng.uniform(1, 2.5)))
    if kind != "bilateral":
        ycc = cv2.cvtColor(photo, cv2.COLOR_RGB2YCrCb)
        ycc[..., 1:] = cv2.GaussianBlur(ycc[..., 1:], (0, 0), float(rng.uniform(0.8, 3)))
        photo = cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)
    return photo


def tone(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """A curve: gamma, contrast, white balance and saturation."""
    levels = np.arange(256)[:, None] / 255
    curve = levels ** (rng.uniform(0.65, 1.5) * rng.uniform(0.93, 1.07, 3))
    contrast = rng.uniform(-0.1, 0.6)
    curve = (1 - contrast) * curve + contrast * (3 * curve**2 - 2 * curve**3)
    table = np.rint(255 * curve).clip(0, 255).astype(np.uint8)
    photo = np.stack([cv2.LUT(photo[..., c], table[:, c]) for c in range(3)], axis=-1)
    if rng.random() < 0.5:
        grey = photo.mean(2, keepdims=True)
        photo = (grey + (photo - grey) * rng.uniform(0.3, 1.7)).clip(0, 255).astype(np.uint8)
    return photo


def exposure(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """More light than the sensor holds, or shadows cut to black: clipped skies and dark rooms."""
    if rng.random() < 0.65:
        bright = np.percentile(photo, rng.uniform(60, 97))
        gain = 255 / max(bright, 60.0)
        gains = gain * rng.uniform(0.95, 1.05, 3)
        return np.rint(photo * gains).clip(0, 255).astype(np.uint8)
    dark = np.percentile(photo, rng.uniform(3, 45))
    dark = min(dark, 110.0)
    return np.rint((photo - dark) * 255 / (255 - dark)).clip(0, 255).astype(np.uint8)


def grain(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """A sensor's noise: of the photons, so stronger where it is bright, plus that of reading."""
    photons, reading = float(rng.uniform(0, 0.5)), float(rng.uniform(0, 20))
    noise: np.ndarray = rng.standard_normal(photo.shape, np.float32)
    if rng.random() < 0.5:  # as demosaicing and noise reduction leave it: coarser
        noise = cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.4, 0.9)))
        noise = noise / float(noise.std())
    noisy = photo + noise * np.sqrt(photons * photo + reading)
    return np.rint(noisy).clip(0, 255).astype(np.uint8)


def local_contrast(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """What phones call HDR: contrast equalised from place to place."""
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)
    tiles = int(rng.integers(2, 7))
    clahe = cv2.createCLAHE(float(rng.uniform(1, 3.5)), (tiles, tiles))
    share = float(rng.uniform(0.3, 1))
    lab[..., 0] = cv2.addWeighted(clahe.apply(lab[..., 0]), share, lab[..., 0], 1 - share, 0)
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def vignette(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """Darker (or lighter) towards the corners."""
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre = rng.uniform(0.3, 0.7, 2) * (height, width)
    radius = np.hypot((y - centre[0]) / height, (x - centre[1]) / width)
    gain = 1 - rng.uniform(-0.2, 0.9) * radius**2
    return np.rint(photo * gain[..., None]).clip(0, 255).astype(np.uint8)


def shallow_focus(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """A background (or foreground) out of focus, more the farther away; sensor noise after."""
    height, width = photo.shape[:2]
    if region is None or not region.any() or rng.random() < 0.3:
        region = random_region((height, width), rng, 0.7)
    near = cv2.GaussianBlur(region.astype(np.float32), (0, 0), float(rng.uniform(0.8, 4)))
    if rng.random() < 0.2:
        near = 1 - near
    ramp = np.linspace(rng.uniform(0.2, 1), rng.uniform(0.2, 1), height, dtype=np.float32)
    depth = (1 - near) * (ramp[:, None] if rng.random() < 0.5 else 1.0)
    largest = float(np.exp(rng.uniform(np.log(1.5), np.log(max(3.0, min(height, width) / 24)))))
    levels = [photo.astype(np.float32)]
    for step in (0.33, 0.66, 1.0):
        size = 2 * max(1, round(largest * step)) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.float32)
        levels.append(cv2.filter2D(photo, -1, disc / disc.sum()).astype(np.float32))
    place = depth * (len(levels) - 1)
    mixed = np.zeros_like(levels[0])
    for number, level in enumerate(levels):
        mixed += level * np.maximum(0, 1 - np.abs(place - number))[..., None]
    return grain(np.rint(mixed).clip(0, 255).astype(np.uint8), rng)


def enlarge(
    photo: np.ndarray, rng: np.random.Generator, region: np.ndarray | None = None
) -> np.ndarray:
    """Fewer pixels enlarged to as many, as digital zoom and some apps do."""
    small = degradations.resize(photo, float(rng.uniform(0.5, 0.95)))
    kind = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    return cv2.resize(small, photo.shape[1::-1], interpolation=kind)


# name -> how often it is drawn, relative to the others, and the step
STEPS: dict[str, tuple[float, _Step]] = {
    "sharpen": (1.2, sharpen),
    "denoise": (1.2, denoise),
    "tone": (1.2, tone),
    "exposure": (1.4, exposure),
    "grain": (1.0, grain),
    "local_contrast": (0.6, local_contrast),
    "vignette": (0.5, vignette),
    "shallow_focus": (1.4, shallow_focus),
    "enlarge": (0.3, enlarge),
}


def framed(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Bars, a frame or a caption over a picture, as it is published; the size stays.

    Nobody means these when asking what was manipulated, so they are not marked; a mask that lies
    under a bar is gone.
    """
    image, mask = image.copy(), mask.copy()
    kind = rng.choice(["bars", "frame", "text"], p=[0.35, 0.2, 0.45])
    colour = _ink(rng)
    if kind == "text":
        _write_captions(image, colour, rng)
        return image, mask
    height, width = mask.shape
    top, below, left, right = (
        int(share * side)
        for share, side in zip(
            rng.uniform(0.02, 0.16, 4), (height, height, width, width), strict=True
        )
    )
    across = rng.random() < 0.5
    covered = np.zeros_like(mask)
    if kind == "frame" or across:
        covered[:top] = covered[height - below :] = True
    if kind == "frame" or not across:
        covered[:, :left] = covered[:, width - right :] = True
    image[covered], mask[covered] = colour, False
    return image, mask


def _ink(rng: np.random.Generator) -> list[int]:
    """Mostly black or white, else grey or any colour."""
    if rng.random() < 0.15:
        return [int(value) for value in rng.integers(0, 256, 3)]
    return [int(rng.choice([0, 255])) if rng.random() < 0.8 else int(rng.integers(256))] * 3


def _write_captions(image: np.ndarray, colour: list[int], rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        codes = rng.integers(ord("a"), ord("z") + 1, int(rng.integers(3, 16)))
        letters = "".join(map(chr, codes))
        letters = letters.upper() if rng.random() < 0.5 else letters.title()
        scale = float(np.exp(rng.uniform(np.log(0.35), np.log(1.8))))
        place = (int(rng.integers(-20, max(1, width // 2))), int(rng.integers(10, max(11, height))))
        thickness = max(1, int(scale * rng.uniform(1, 3)))
        font = int(rng.integers(0, 8))  # OpenCV has eight
        cv2.putText(image, letters, place, font, scale, colour, thickness, cv2.LINE_AA)

"""Make the example photos: authentic ones, forged ones, and the masks of the forgeries.

Run as `python examples/make_examples.py`. Everything comes from public-domain and CC0 pictures
that ship inside scikit-image (see README.md), without any network. The same versions of
scikit-image, OpenCV and Pillow write the same bytes.

A forgery is made the way forgers make one: the host and the donor were saved as JPEG before,
each at a quality of its own; the donor is resampled; its edge is soft; the result is saved once
more. A mask is white (255) where at least half of a pixel comes from the forgery.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage import data

FOLDER = Path(__file__).parent
Points = list[tuple[float, float]]
Forgery = tuple[np.ndarray, np.ndarray]  # H x W x 3 uint8 picture, H x W float alpha in [0, 1]

ROCKET: Points = [
    *[(309, 407), (309, 182), (308, 160), (311, 158), (311, 143), (316, 132), (323, 125)],
    *[(330, 132), (335, 143), (335, 172), (337, 182), (336, 407)],
]
TOWER: Points = [(408, 113), (437, 113), (437, 187), (408, 187)]
CUP: Points = [
    *[(173, 100), (182, 68), (205, 42), (240, 23), (285, 17), (330, 25), (365, 41), (398, 70)],
    *[(412, 66), (425, 74), (424, 88), (418, 102), (440, 124), (462, 160), (475, 200), (479, 232)],
    *[(470, 275), (445, 318), (405, 356), (350, 381), (290, 390), (225, 380), (165, 352)],
    *[(118, 312), (88, 262), (77, 215), (79, 165), (100, 124), (135, 90), (180, 69)],
]


def polygon(size: tuple[int, int], points: Points) -> np.ndarray:
    """H x W float32, 1 inside the polygon; `size` is (height, width)."""
    area = np.zeros(size, np.float32)
    cv2.fillPoly(area, [np.rint(points).astype(np.int32)], 1.0)
    return area


def ellipse(size: tuple[int, int], centre: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
    """H x W float32, 1 inside the ellipse with half-axes `axes` (x, y)."""
    area = np.zeros(size, np.float32)
    cv2.ellipse(area, (centre, (2 * axes[0], 2 * axes[1]), 0), 1.0, -1)
    return area


def saved(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after one round through JPEG at `quality` (1-100)."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def moved(
    donor: np.ndarray,
    area: np.ndarray,
    size: tuple[int, int],
    anchor: tuple[float, float],
    to: tuple[float, float],
    scale: tuple[float, float] = (1.0, 1.0),
) -> Forgery:
    """Resample donor and area onto a canvas of (height, width) so that `anchor` lands on `to`."""
    matrix = np.array(
        [
            [scale[0], 0, to[0] - scale[0] * anchor[0]],
            [0, scale[1], to[1] - scale[1] * anchor[1]],
        ]
    )
    canvas = (size[1], size[0])
    # Smaller donors are smoothed first, as any editor's resampling does.
    sigma = max(0.0, 0.5 * (1 / min(scale) - 1))
    smooth = cv2.GaussianBlur(donor, (0, 0), sigma) if sigma > 0 else donor
    picture = cv2.warpAffine(smooth, matrix, canvas, flags=cv2.INTER_CUBIC)
    return picture, cv2.warpAffine(area, matrix, canvas, flags=cv2.INTER_LINEAR)


def pasted(host: np.ndarray, forgery: Forgery, softness: float = 0.8) -> Forgery:
    """Blend a forgery into the host with an edge of sigma `softness` pixels."""
    donor, area = forgery
    alpha = cv2.GaussianBlur(area, (0, 0), softness)
    weight = alpha if host.ndim == 2 else alpha[..., None]
    mixed = host * (1 - weight) + donor * weight
    return np.rint(mixed).clip(0, 255).astype(np.uint8), alpha


def filled(host: np.ndarray, area: np.ndarray, grain: float, floor: int | None = None) -> Forgery:
    """Remove an area: fill it from its surroundings and add grain (sigma in grey levels).

    The filling sees nothing from row `floor` on.
    """
    fill, hole = host.copy(), (area > 0).astype(np.uint8)
    fill[:floor] = cv2.inpaint(host[:floor], hole[:floor], 5, cv2.INPAINT_TELEA)
    noise = np.random.default_rng(0).normal(0, grain, host.shape[:2])  # a flat fill looks false
    noise = noise if host.ndim == 2 else noise[..., None]
    return pasted(host, ((fill + noise).clip(0, 255), area), softness=0.6)


def rocket_second_rocket() -> Forgery:
    """Copy-move: the rocket once more, smaller, on the left edge of its launch pad."""
    host = saved(data.rocket(), 92)
    size = host.shape[:2]
    copy = moved(host, polygon(size, ROCKET), size, (322, 407), (284, 408), (0.9, 0.9))
    return pasted(host, copy)


def coins_copied_coin() -> Forgery:
    """Copy-move: a coin of the third row replaces the third coin of the second row."""
    host = saved(data.coins(), 90)
    size = host.shape[:2]
    coin = ellipse(size, (101, 195), (23, 23))
    return pasted(host, moved(host, coin, size, (101, 195), (153, 126)), softness=1.2)


def camera_tower_removed() -> Forgery:
    """Removal: the tall tower on the horizon is filled with sky."""
    host = saved(data.camera(), 93)
    # Below lies a line of trees, which must not grow into the sky.
    return filled(host, polygon(host.shape[:2], TOWER), grain=1.2, floor=188)


def astronaut_badge_removed() -> Forgery:
    """Removal: the round mission badge on the suit is filled with cloth."""
    host = saved(data.astronaut(), 90)
    return filled(host, ellipse(host.shape[:2], (171, 387), (41, 42)), grain=3.5)


def chelsea_with_coffee() -> Forgery:
    """Splice: the cup of coffee, scaled down, beside the cat."""
    host, donor = saved(data.chelsea(), 95), saved(data.coffee(), 80)
    area = polygon(donor.shape[:2], CUP)
    return pasted(host, moved(donor, area, host.shape[:2], (278, 205), (372, 224), (0.34, 0.34)))


def coffee_with_coin() -> Forgery:
    """Splice: an ancient coin, scaled up and tinted, on the table."""
    host, donor = saved(data.coffee(), 92), saved(data.coins(), 75)
    area = ellipse(donor.shape[:2], (347, 187), (31, 30))
    tint = np.array([1.0, 0.84, 0.66])  # the table's warm light
    bronze = (donor[..., None] * tint).astype(np.uint8)
    return pasted(host, moved(bronze, area, host.shape[:2], (347, 187), (528, 318), (1.25, 0.95)))


def chelsea_larger_eye() -> Forgery:
    """Local resampling: one eye, taken from a worse copy of the photo, made larger."""
    host, donor = saved(data.chelsea(), 95), saved(data.chelsea(), 60)
    size = host.shape[:2]
    eye = ellipse(size, (321, 134), (30, 34))
    larger = moved(donor, eye, size, (321, 134), (321, 134), (1.2, 1.2))
    return pasted(host, larger, softness=3.0)


FORGED: dict[Callable[[], Forgery], int] = {  # maker -> JPEG quality of the file
    rocket_second_rocket: 88,
    coins_copied_coin: 85,
    camera_tower_removed: 90,
    astronaut_badge_removed: 85,
    chelsea_with_coffee: 90,
    coffee_with_coin: 82,
    chelsea_larger_eye: 93,
}
AUTHENTIC: dict[Callable[[], np.ndarray], int] = {
    data.rocket: 92,
    data.camera: 85,
    data.coffee: 90,
    data.chelsea: 95,
}


def main() -> None:
    """Write `images/`, `masks/` and `authentic/` beside this script."""
    images, masks, authentic = (FOLDER / name for name in ("images", "masks", "authentic"))
    for folder in (images, masks, authentic):
        folder.mkdir(exist_ok=True)
    for make, quality in FORGED.items():
        picture, alpha = make()
        Image.fromarray(picture).save(images / f"{make.__name__}.jpg", quality=quality)
        mask = np.where(alpha >= 0.5, 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(masks / f"{make.__name__}.png", optimize=True)
    for load, quality in AUTHENTIC.items():
        Image.fromarray(load()).save(authentic / f"{load.__name__}.jpg", quality=quality)


if __name__ == "__main__":
    main()

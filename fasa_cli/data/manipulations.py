"""Manipulations: a window -> the forged window and its exact mask, H x W bool.

Each takes the window, the mask of the object that it shows (or None) and a generator.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from fasa_cli.data.shapes import (
    crop_to_region,
    grown,
    hole_to_fill,
    natural_region,
    region_to_change,
)
from fasa_cli.imaging import degradations
from fasa_cli.results import GRID

PLACES = 12  # of which a careful forger takes the one where a copy fits best
LEAST_CHANGE = 6.0  # grey levels, on average, that such a place changes
MARGIN = 32  # pixels around a region that is changed in place: what a filter or decoder looks at


def paste(
    window: np.ndarray, donor: np.ndarray, region: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste `donor` through its `region`: scaled, sometimes turned, edges softened, toned to fit.

    Both arrays are any size; returns the window's size. The mask is where the paste is at least
    half opaque.
    """
    height, width = window.shape[:2]
    target = float(np.exp(rng.uniform(np.log(0.12), np.log(0.75)))) * min(height, width)
    scale = target / max(donor.shape[0], donor.shape[1])
    if 0.8 < scale < 1.25 and rng.random() < 0.5:
        scale = 1.0  # unresampled donors exist too: then only history and light differ
    angle = float(rng.uniform(-25, 25)) if rng.random() < 0.3 else 0.0
    if rng.random() < 0.3:
        donor, region = donor[:, ::-1], region[:, ::-1]
    donor, alpha = _transform(donor, region, scale, angle, rng)
    if rng.random() < 0.5:
        donor = match_tone(donor, alpha > 0.5, window, rng.uniform(0.3, 1.0))
    alpha = softened(alpha, (0.0, 0.6, 1.0, 2.0), rng)
    patch_height, patch_width = alpha.shape
    # The object may hang over the border, as objects in photos do.
    top = int(rng.integers(-patch_height // 4, max(1, height - patch_height * 3 // 4)))
    left = int(rng.integers(-patch_width // 4, max(1, width - patch_width * 3 // 4)))
    return blend(window, donor, alpha, top, left)


def replace(
    window: np.ndarray, behind: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put the picture `behind`, of any size, in place of a part with borders of its own, as when a
    sky is replaced."""
    region = natural_region(window, rng, largest=0.6)
    behind = cv2.resize(behind, window.shape[1::-1], interpolation=cv2.INTER_AREA)
    if rng.random() < 0.7:
        behind = match_tone(behind, region, window, rng.uniform(0.3, 1.0))
    return blend(window, behind, softened(region, (0.0, 1.0, 2.0), rng), 0, 0)


def copy_move(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Copy a region of the window to another place in it; the mask marks the copy only.

    Half of them as a careful forger would: cut out with some of what is around, and put where the
    surroundings fit.
    """
    careful = rng.random() < 0.5
    chosen = region_to_change(window, own_object, rng)
    if careful:
        chosen = grown(chosen, int(rng.integers(2, 12)))
    donor, region = crop_to_region(window, chosen)
    plain = rng.random() < 0.5
    scale = 1.0 if plain else float(rng.uniform(0.6, 1.5))
    angle = 0.0 if plain or rng.random() < 0.5 else float(rng.uniform(-30, 30))
    donor, alpha = _transform(donor, region, scale, angle, rng)
    alpha = softened(alpha, (0.8, 1.5, 3.0) if careful else (0.0, 0.8, 1.5), rng)
    height, width = window.shape[:2]
    places = [
        (
            int(rng.integers(0, max(1, height - alpha.shape[0] + 1))),
            int(rng.integers(0, max(1, width - alpha.shape[1] + 1))),
        )
        for _ in range(PLACES if careful else 1)
    ]
    top, left = min(places, key=lambda place: _mismatch(window, donor, alpha, *place))
    return blend(window, donor, alpha, top, left)


def removal(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fill a region from its surroundings: by diffusion inpainting, or with texture from near by.

    The mask is the whole hole: everything in it was made up.
    """
    hole = hole_to_fill(window, own_object, rng)
    fill = filled(window, hole, rng)
    if rng.random() < 0.5:
        fill = _as_generated(fill, rng)
    alpha = np.maximum(hole, softened(hole, (0.0, 1.0, 2.0), rng))
    forged, _ = blend(window, fill, alpha, 0, 0)
    return forged, hole


def local_change(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Retouch a region in place: blur, noise, resampling, denoising, sharpening, recompression."""
    region = region_to_change(window, own_object, rng)
    operation = rng.choice(["blur", "noise", "resample", "median", "sharpen", "jpeg", "tone"])
    if operation == "blur":
        changed = degradations.blur(window, int(rng.choice([3, 5, 7])))
    elif operation == "noise":
        changed = degradations.gaussian_noise(window, float(rng.uniform(15, 150)), rng)
    elif operation == "resample":
        small = degradations.resize(window, float(rng.uniform(0.4, 0.8)))
        changed = cv2.resize(small, window.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    elif operation == "median":
        changed = cv2.medianBlur(window, int(rng.choice([3, 5])))
    elif operation == "sharpen":
        soft = cv2.GaussianBlur(window, (0, 0), float(rng.uniform(1, 2)))
        amount = float(rng.uniform(0.5, 1.5))
        changed = cv2.addWeighted(window, 1 + amount, soft, -amount, 0)
    elif operation == "jpeg":
        shift = (int(rng.integers(1, GRID)), int(rng.integers(1, GRID)))
        rolled = degradations.jpeg(np.roll(window, shift, (0, 1)), int(rng.integers(40, 80)))
        changed = np.roll(rolled, (-shift[0], -shift[1]), (0, 1))
    else:
        gains = rng.uniform(0.75, 1.3, 3) * (1.0 if rng.random() < 0.5 else rng.uniform(0.8, 1.25))
        table = (np.arange(256)[:, None] * gains + rng.uniform(-15, 15)).clip(0, 255)
        changed = np.stack(
            [cv2.LUT(window[..., c], table[:, c].astype(np.uint8)) for c in range(3)], axis=-1
        )
    return blend(window, changed, softened(region, (0.0, 1.0, 2.5), rng), 0, 0)


def denoise(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Take the noise out of a region by non-local means, as retouching tools do."""
    strength = float(rng.uniform(3, 9))

    def smoothed(cut: np.ndarray) -> np.ndarray:
        bgr = cv2.cvtColor(cut, cv2.COLOR_RGB2BGR)  # what this filter takes for luma
        bgr = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 5, 15)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    return change_in_place(window, region_to_change(window, own_object, rng), smoothed, rng)


def superres(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make a region anew from fewer pixels, enlarged and sharpened as upscalers do."""
    factor, amount = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.0, 1.5))
    interpolation = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))

    def enlarged(cut: np.ndarray) -> np.ndarray:
        small = degradations.resize(cut, factor)
        large = cv2.resize(small, cut.shape[1::-1], interpolation=interpolation)
        soft = cv2.GaussianBlur(large, (0, 0), 1.5)
        return cv2.addWeighted(large, 1 + amount, soft, -amount, 0)

    return change_in_place(window, region_to_change(window, own_object, rng), enlarged, rng)


# --- How it is done ----------------------------------------------------------------------------


def change_in_place(
    window: np.ndarray,
    region: np.ndarray,
    change: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Blend `change(cut)` into a region; the cut is its bounding box with `MARGIN` around it."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if rows.size == 0:
        return window, region
    top, left = max(0, rows[0] - MARGIN), max(0, columns[0] - MARGIN)
    cut = np.s_[top : rows[-1] + 1 + MARGIN, left : columns[-1] + 1 + MARGIN]
    alpha = softened(region[cut], (0.0, 1.0, 2.5), rng)
    changed = change(np.ascontiguousarray(window[cut]))
    return blend(window, changed, alpha, int(top), int(left))


def filled(window: np.ndarray, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The window with its hole filled: by diffusion inpainting, or with texture from near by."""
    return _inpaint(window, hole, rng) if rng.random() < 0.5 else _retexture(window, hole, rng)


def _inpaint(window: np.ndarray, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill by diffusion at half size (as fast fillers work), then add grain more or less alike."""
    method = int(rng.choice([cv2.INPAINT_TELEA, cv2.INPAINT_NS]))
    small = degradations.resize(window, 0.5)
    small_hole = cv2.resize(hole.astype(np.uint8), small.shape[1::-1])
    small_hole = cv2.dilate(small_hole, np.ones((3, 3), np.uint8))
    filled = cv2.inpaint(small, small_hole, 3, method)
    filled = cv2.resize(filled, window.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return degradations.gaussian_noise(filled, float(rng.choice([0.0, 2.0, 8.0, 20.0])), rng)


def _retexture(window: np.ndarray, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill with texture from near by, its low frequencies bent to meet the hole's surroundings."""
    height, width = hole.shape
    shift = rng.integers(-min(height, width) // 2, min(height, width) // 2, 2)
    source = np.roll(window, tuple(int(s) for s in shift), (0, 1)).astype(np.float32)
    if rng.random() < 0.5:
        source = source[:, ::-1]
    sigma = float(rng.uniform(4, 12))
    texture = source - cv2.GaussianBlur(source, (0, 0), sigma)
    base = _inpaint(window, hole, rng) if rng.random() < 0.5 else None
    if base is None:
        outside = (~hole).astype(np.float32)
        spread = max(8.0, float(hole.sum()) ** 0.5 / 2)
        weight = cv2.GaussianBlur(outside, (0, 0), spread)[..., None] + 1e-3
        base = cv2.GaussianBlur(window * outside[..., None], (0, 0), spread) / weight
    return (base + texture).clip(0, 255).astype(np.uint8)


def _as_generated(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as a generator's last layers leave it: no grain of a camera, colour often less
    detailed than brightness, and a faint pattern with the period of the grid that they enlarge, in
    the strength of details and in the level."""
    if rng.random() < 0.5:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)
        picture[..., 1:] = cv2.GaussianBlur(picture[..., 1:], (0, 0), float(rng.uniform(0.7, 3)))
        picture = cv2.cvtColor(picture, cv2.COLOR_YCrCb2RGB)
    denoised = cv2.bilateralFilter(picture, 5, float(rng.uniform(5, 20)), 2.0).astype(np.float32)
    detail = denoised - cv2.GaussianBlur(denoised, (0, 0), float(rng.uniform(1, 3)))
    period = int(rng.choice([2, 4, 8]))
    repeats = (picture.shape[0] // period + 1, picture.shape[1] // period + 1, 1)
    cell = rng.standard_normal((2, period, period, 3))
    gain, level = (np.tile(part, repeats)[: len(picture), : picture.shape[1]] for part in cell)
    gain, level = gain * rng.uniform(0.0, 0.4), level * rng.uniform(0.0, 1.0)
    return np.rint(denoised + detail * gain + level).clip(0, 255).astype(np.uint8)


def _mismatch(
    window: np.ndarray, donor: np.ndarray, alpha: np.ndarray, top: int, left: int
) -> float:
    """Mean difference, in grey levels, of a cut-out's rim and what would lie under it.

    Where the whole cut-out is like what lies there, nothing would be changed: the worst place.
    """
    opaque = (alpha > 0.5).astype(np.uint8)
    under = window[top : top + opaque.shape[0], left : left + opaque.shape[1]]
    opaque = opaque[: under.shape[0], : under.shape[1]]
    if not opaque.any():
        return 255.0
    cut = donor[: under.shape[0], : under.shape[1]].astype(np.float32)
    difference = np.abs(cut - under).mean(2)
    rim = opaque > cv2.erode(opaque, np.ones((7, 7), np.uint8))
    changes = difference[opaque > 0].mean() > LEAST_CHANGE
    return float(difference[rim].mean()) if changes and rim.any() else 255.0


def match_tone(
    donor: np.ndarray, region: np.ndarray, window: np.ndarray, strength: float
) -> np.ndarray:
    """Move the donor's colour mean and spread towards the window's, as a careful forger would."""
    if not region.any():
        return donor
    own, other = donor[region].astype(np.float32), window.reshape(-1, 3).astype(np.float32)
    mean, spread = own.mean(0), own.std(0) + 1
    matched = (donor - mean) * (other.std(0) + 1).clip(spread * 0.5, spread * 2) / spread
    matched += other.mean(0)
    blended = donor * (1 - 0.6 * strength) + matched * 0.6 * strength
    return blended.clip(0, 255).astype(np.uint8)


def _transform(
    donor: np.ndarray, region: np.ndarray, scale: float, angle: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scale and turn a cut-out; returns uint8 pixels and float32 opacity of one size."""
    alpha: np.ndarray = np.ascontiguousarray(region).astype(np.float32)
    donor = np.ascontiguousarray(donor)
    if scale == 1.0 and angle == 0.0:
        return donor, alpha
    if scale < 0.5:  # warpAffine does not average: shrink first, or the donor would alias
        donor = degradations.resize(donor, scale)
        alpha = cv2.resize(alpha, donor.shape[1::-1], interpolation=cv2.INTER_AREA)
        scale = 1.0
    height, width = alpha.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    new_width = max(1, int(np.ceil(height * sine + width * cosine)))
    new_height = max(1, int(np.ceil(height * cosine + width * sine)))
    matrix[:, 2] += [(new_width - width) / 2, (new_height - height) / 2]
    interpolation = int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]))
    size = (new_width, new_height)
    turned = cv2.warpAffine(
        donor, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE
    )
    return turned, cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR)


def softened(region: np.ndarray, sigmas: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """The opacity of a region or an opacity, float32, its edge blurred by one of `sigmas`."""
    opacity: np.ndarray = region.astype(np.float32)
    sigma = float(rng.choice(sigmas))
    return cv2.GaussianBlur(opacity, (0, 0), sigma) if sigma else opacity


def blend(
    window: np.ndarray, patch: np.ndarray, alpha: np.ndarray, top: int, left: int
) -> tuple[np.ndarray, np.ndarray]:
    """Blend `patch` by `alpha` at (top, left), clipped to the window; untouched pixels stay."""
    height, width = window.shape[:2]
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(height, top + alpha.shape[0]), min(width, left + alpha.shape[1])
    mask = np.zeros((height, width), bool)
    if y1 <= y0 or x1 <= x0:
        return window, mask
    inside = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    opacity = alpha[inside][..., None]
    forged = window.copy()
    mixed = patch[inside] * opacity + window[y0:y1, x0:x1] * (1 - opacity)
    forged[y0:y1, x0:x1] = np.rint(mixed).clip(0, 255).astype(np.uint8)
    mask[y0:y1, x0:x1] = opacity[..., 0] > 0.5
    return forged, mask

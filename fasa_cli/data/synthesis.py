"""Forgeries made from authentic photos, with exact masks.

A forgery is made as a forger would: an authentic host with its own compression history, one
manipulation, then the life of the whole picture after it (augmentation.py). So the manipulated
region differs from the rest in history: JPEG grid and quality, resampling, noise, sharpness.

Everything is drawn from the generator that is passed in: the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fasa_cli import degradations
from fasa_cli.config import DataConfig
from fasa_cli.data.photos import PhotoPool
from fasa_cli.errors import ConfigError

if TYPE_CHECKING:
    from fasa_cli.data.autoencoder import Autoencoder

GRID = 8  # JPEG's block size in pixels
SMALLEST_SHARE, LARGEST_SHARE = 0.004, 0.6  # of the window; outside it a region teaches little
TRIES = 10  # until a whole photo has a forgery of a fitting size
MARGIN = 32  # pixels around a region that is changed in place: what a filter or decoder looks at
LONGEST_RERENDERED = 640  # pixels; an autoencoder takes seconds for more


AUTHENTIC = "authentic"  # the kind of a forgery that is none
RENDERED = ("rerender", "regenerate")  # the kinds that need an autoencoder

_Maker = Callable[
    [np.ndarray, np.ndarray | None, np.random.Generator], tuple[np.ndarray, np.ndarray]
]


@dataclass(frozen=True)
class Forgery:
    """`image` H x W x 3 uint8 RGB; `target_mask` H x W bool; `kind` names the manipulation."""

    image: np.ndarray
    target_mask: np.ndarray
    kind: str


class Forger:
    """Makes forgeries from a pool of photos."""

    def __init__(
        self, pool: PhotoPool, config: DataConfig, autoencoder: Autoencoder | None = None
    ) -> None:
        """`autoencoder` makes the kind `rerender` available.

        Raises:
            ConfigError: `config.kinds` has an unknown name, or no weight above 0.
        """
        self.pool = pool
        self.config = config
        self.autoencoder = autoencoder
        unknown = sorted(set(config.kinds) - set(self._makers()))
        if unknown and set(unknown) <= set(RENDERED):
            names = " and ".join(unknown)
            raise ConfigError(f"data.kinds: {names} needs a file; name it with --autoencoder")
        if unknown:
            known = ", ".join(self._makers())
            raise ConfigError(f"data.kinds: no {', '.join(unknown)}; there are {known}")
        if min(config.kinds.values(), default=0) < 0 or not any(config.kinds.values()):
            raise ConfigError("data.kinds: weights are not negative, and one is above 0")

    def forge(self, rng: np.random.Generator) -> Forgery:
        """One forgery, or with the share `authentic_share` an untouched window."""
        window, own_object = self._host_window(rng)
        if rng.random() < self.config.authentic_share:
            return _authentic(window)
        return self._manipulate(window, own_object, rng)

    def forge_photo(self, rng: np.random.Generator, longest: int = 0) -> tuple[Forgery, int]:
        """A forgery of a whole photo, or that photo untouched; and the photo's place in the pool.

        Photos whose longer side has more than `longest` pixels are scaled down first; 0 keeps all.
        """
        index = int(rng.integers(len(self.pool)))
        photo = self.pool.photo(index)
        mask = self.pool.object_mask(index) if index in self.pool.masks else None
        if longest and max(photo.shape[:2]) > longest:
            photo = degradations.resize(photo, longest / max(photo.shape[:2]))
            mask = mask if mask is None else degradations.resize_mask(mask, photo.shape[1::-1])
        forgery = _authentic(photo)
        if rng.random() < self.config.authentic_share:
            return forgery, index
        for _ in range(TRIES):
            forgery = self._manipulate(photo, mask, rng)
            if forgery.kind != AUTHENTIC:
                break
        return forgery, index

    def _manipulate(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> Forgery:
        """One manipulation, drawn by the configured weights."""
        kinds = list(self.config.kinds)
        weights = np.array([self.config.kinds[kind] for kind in kinds])
        kind = kinds[rng.choice(len(kinds), p=weights / weights.sum())]
        forged, mask = self._makers()[kind](window, own_object, rng)
        # What the manipulation left as it was is not manipulated (a flat region copied over
        # itself, say); a mask that ends up too small or too large is an untouched window instead.
        share = mask.mean()
        if not SMALLEST_SHARE / 2 <= share <= 0.8 or np.array_equal(forged, window):
            return _authentic(window)
        return Forgery(forged, mask, kind)

    def _makers(self) -> dict[str, _Maker]:
        makers: dict[str, _Maker] = {
            "splice": self._splice,
            "copy_move": copy_move,
            "removal": removal,
            "local": local_change,
            "denoise": denoise,
            "superres": superres,
        }
        if self.autoencoder is not None:
            makers |= {"rerender": self._rerender, "regenerate": self._regenerate}
        return makers

    def _rerender(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Send a region through the autoencoder, as editing by latent diffusion does."""
        region = _shrunk(_region(window, own_object, rng), LONGEST_RERENDERED)
        return _change_in_place(window, region, self._renderer(rng), rng)

    def _regenerate(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put other contents into a hole and decode it, as generative fillers do.

        The contents are made from the surroundings, or an object of another photo; with an object
        what lies around it is decoded too, as within the mask that a user brushes.
        """
        if rng.random() < 0.5:
            region = _shrunk(_hole(window, own_object, rng), LONGEST_RERENDERED)
            filled = np.where(region[..., None], _fill(window, region, rng), window)
        else:
            filled, region = paste(window, *self._donor(window.shape[:2], rng), rng)
            region = _shrunk(_grown(region, int(rng.integers(1, 12))), LONGEST_RERENDERED)
            filled = np.where(region[..., None], filled, window)
        rendered, mask = _change_in_place(filled, region, self._renderer(rng), rng)
        # Outside the soft edge of the region nothing has changed.
        return rendered, mask | region

    def _renderer(self, rng: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
        """The autoencoder or one like it, half the time at another scale: generators have their
        own. What it renders keeps its mean colour."""
        assert self.autoencoder is not None
        autoencoder, factor = self.autoencoder, 1.0
        if rng.random() < 0.6:
            autoencoder = autoencoder.varied(float(rng.uniform(0.03, 0.25)), rng)
        if rng.random() < 0.5:
            factor = float(rng.uniform(0.5, 1.25))

        def rendered(cut: np.ndarray) -> np.ndarray:
            small = degradations.resize(cut, factor) if factor != 1 else cut
            result = autoencoder.rerender(small)
            shift = small.mean((0, 1)) - result.mean((0, 1))
            result = np.rint(result + shift).clip(0, 255).astype(np.uint8)
            if factor == 1:
                return result
            return cv2.resize(result, cut.shape[1::-1], interpolation=cv2.INTER_CUBIC)

        return rendered

    def _host_window(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """A window of an authentic photo, cut on its JPEG grid, and its object's mask there."""
        index = int(rng.integers(len(self.pool)))
        photo = self.pool.photo(index)
        mask = self.pool.object_mask(index) if index in self.pool.masks else None
        photo, mask = _as_published(photo, mask, self.config.crop, rng)
        side = int(self.config.crop * rng.uniform(1.0, 1.5))
        window, mask = _cut(photo, mask, side, rng)
        return (_developed(window, rng) if rng.random() < 0.2 else window), mask

    def _splice(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Paste an object, or any region, of other photos (one to three times).

        Or fill a part of the window that has borders of its own with another photo's contents, as
        when a sky is replaced.
        """
        if rng.random() < 0.15:
            region = natural_region(window, rng, largest=0.6)
            side = int(max(window.shape[:2]) * rng.uniform(0.8, 2.0))
            photo, _ = _cut(self.pool.photo(int(rng.integers(len(self.pool)))), None, side, rng)
            behind = cv2.resize(photo, window.shape[1::-1], interpolation=cv2.INTER_AREA)
            if rng.random() < 0.7:
                behind = match_tone(behind, region, window, rng.uniform(0.3, 1.0))
            return _blend(window, behind, _softened(region, (0.0, 1.0, 2.0), rng), 0, 0)
        forged, mask = window, np.zeros(window.shape[:2], bool)
        for _ in range(int(rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1]))):
            donor, region = self._donor(window.shape[:2], rng)
            forged, pasted = paste(forged, donor, region, rng)
            mask |= pasted
        return forged, mask

    def _donor(
        self, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A cut-out of another photo, of a size to fit, and the region within it."""
        if self.pool.with_object and rng.random() < 0.75:
            index = int(rng.choice(self.pool.with_object))
            photo, region = self.pool.photo(index), self.pool.object_mask(index)
        else:
            photo = self.pool.photo(int(rng.integers(len(self.pool))))
            photo, _ = _cut(photo, None, int(max(size) * rng.uniform(0.5, 1.5)), rng)
            region = _region(photo, None, rng)
        donor, region = crop_to_region(photo, region)
        if rng.random() < 0.3:
            donor = degradations.jpeg(donor, int(rng.integers(50, 96)))
        return donor, region


# --- Manipulations: window -> (forged window, mask) --------------------------------------------


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
    alpha = _softened(alpha, (0.0, 0.6, 1.0, 2.0), rng)
    patch_height, patch_width = alpha.shape
    # The object may hang over the border, as objects in photos do.
    top = int(rng.integers(-patch_height // 4, max(1, height - patch_height * 3 // 4)))
    left = int(rng.integers(-patch_width // 4, max(1, width - patch_width * 3 // 4)))
    return _blend(window, donor, alpha, top, left)


def copy_move(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Copy a region of the window to another place in it; the mask marks the copy only."""
    donor, region = crop_to_region(window, _region(window, own_object, rng))
    plain = rng.random() < 0.5
    scale = 1.0 if plain else float(rng.uniform(0.6, 1.5))
    angle = 0.0 if plain or rng.random() < 0.5 else float(rng.uniform(-30, 30))
    donor, alpha = _transform(donor, region, scale, angle, rng)
    alpha = _softened(alpha, (0.0, 0.8, 1.5), rng)
    height, width = window.shape[:2]
    top = int(rng.integers(0, max(1, height - alpha.shape[0] + 1)))
    left = int(rng.integers(0, max(1, width - alpha.shape[1] + 1)))
    return _blend(window, donor, alpha, top, left)


def removal(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Fill a region from its surroundings: by diffusion inpainting, or with texture from near by.

    The mask is the whole hole: everything in it was made up.
    """
    hole = _hole(window, own_object, rng)
    fill = _fill(window, hole, rng)
    alpha = np.maximum(hole, _softened(hole, (0.0, 1.0, 2.0), rng))
    forged, _ = _blend(window, fill, alpha, 0, 0)
    return forged, hole


def local_change(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Retouch a region in place: blur, noise, resampling, denoising, sharpening, recompression."""
    region = _region(window, own_object, rng)
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
    return _blend(window, changed, _softened(region, (0.0, 1.0, 2.5), rng), 0, 0)


def denoise(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Take the noise out of a region by non-local means, as retouching tools do."""
    strength = float(rng.uniform(3, 9))

    def smoothed(cut: np.ndarray) -> np.ndarray:
        bgr = cv2.cvtColor(cut, cv2.COLOR_RGB2BGR)  # what this filter takes for luma
        bgr = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 5, 15)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    return _change_in_place(window, _region(window, own_object, rng), smoothed, rng)


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

    return _change_in_place(window, _region(window, own_object, rng), enlarged, rng)


def _change_in_place(
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
    alpha = _softened(region[cut], (0.0, 1.0, 2.5), rng)
    changed = change(np.ascontiguousarray(window[cut]))
    return _blend(window, changed, alpha, int(top), int(left))


def _shrunk(region: np.ndarray, longest: int) -> np.ndarray:
    """The part of a region within a box of `longest` pixels around its bounding box's middle."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if rows.size == 0 or max(np.ptp(rows), np.ptp(columns)) < longest:
        return region
    top = max(0, (rows[0] + rows[-1] - longest) // 2)
    left = max(0, (columns[0] + columns[-1] - longest) // 2)
    kept = np.zeros_like(region)
    box = np.s_[top : top + longest, left : left + longest]
    kept[box] = region[box]
    return kept


# --- Regions and blending ----------------------------------------------------------------------


def _region(
    window: np.ndarray,
    own_object: np.ndarray | None,
    rng: np.random.Generator,
    largest: float = 0.4,
) -> np.ndarray:
    """What to change: the window's own object, a part with borders of its own, or any shape."""
    if own_object is not None and 0.01 < own_object.mean() < largest and rng.random() < 0.45:
        return own_object
    if rng.random() < 0.3:
        return natural_region(window, rng, largest)
    return random_region(window.shape[:2], rng, largest)


def natural_region(
    window: np.ndarray, rng: np.random.Generator, largest: float = 0.4
) -> np.ndarray:
    """A region whose border follows the picture (a sky, a wall, a dress), as H x W bool.

    One segment of Felzenszwalb and Huttenlocher's graph segmentation, found on a small copy; a
    random shape where no segment has a fitting size.
    """
    from skimage.segmentation import felzenszwalb

    height, width = window.shape[:2]
    factor = min(1.0, 96 / max(height, width))
    small = degradations.resize(window, factor)
    segments = felzenszwalb(small, scale=float(rng.uniform(40, 300)), sigma=0.4, min_size=30)
    shares = np.bincount(segments.ravel()) / segments.size
    fitting = np.flatnonzero((shares > 2 * SMALLEST_SHARE) & (shares < largest))
    if fitting.size == 0:
        return random_region((height, width), rng, largest)
    weights = shares[fitting] ** 0.5  # many small segments are mere seams between large ones
    segment = rng.choice(fitting, p=weights / weights.sum())
    chosen = (segments == segment).astype(np.float32)
    smooth = cv2.resize(chosen, (width, height), interpolation=cv2.INTER_CUBIC)
    region = cv2.GaussianBlur(smooth, (0, 0), max(0.5, 0.5 / factor)) > 0.5
    # Strands thinner than a soft edge would be changed and yet not marked.
    region = cv2.morphologyEx(region.astype(np.uint8), cv2.MORPH_OPEN, _disc(4)).astype(bool)
    return region if region.any() else random_region((height, width), rng, largest)


def _grown(region: np.ndarray, pixels: int) -> np.ndarray:
    return cv2.dilate(region.astype(np.uint8), _disc(pixels)).astype(bool)


def _disc(radius: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def random_region(
    size: tuple[int, int], rng: np.random.Generator, largest: float = 0.4
) -> np.ndarray:
    """A random region of an H x W window, as bool: a blob, a polygon, an ellipse, a box, a brush.

    Its share of the window is roughly log-uniform up to `largest`, so that small ones are common.
    """
    height, width = size
    share = float(np.exp(rng.uniform(np.log(SMALLEST_SHARE * 2), np.log(largest))))
    area = share * height * width
    canvas = np.zeros(size, np.uint8)
    aspect = float(np.exp(rng.uniform(-0.7, 0.7)))
    half_width = max(2.0, min(width / 2, (area * aspect) ** 0.5 / 2))
    half_height = max(2.0, min(height / 2, (area / aspect) ** 0.5 / 2))
    x = float(rng.uniform(min(half_width, width / 2), max(width - half_width, width / 2)))
    y = float(rng.uniform(min(half_height, height / 2), max(height - half_height, height / 2)))
    shape = rng.choice(
        ["blob", "polygon", "ellipse", "box", "brush"], p=[0.3, 0.25, 0.2, 0.1, 0.15]
    )
    if shape == "box":
        corner = (int(x - half_width), int(y - half_height))
        cv2.rectangle(canvas, corner, (int(x + half_width), int(y + half_height)), 1, -1)
    elif shape == "ellipse":
        axes = (int(half_width * 1.13), int(half_height * 1.13))
        cv2.ellipse(canvas, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    elif shape == "brush":
        points = np.stack(
            [
                rng.uniform(x - half_width, x + half_width, 5),
                rng.uniform(y - half_height, y + half_height, 5),
            ],
            axis=1,
        )
        thickness = max(3, int(min(half_width, half_height) * 0.7))
        cv2.polylines(canvas, [points.astype(np.int32)], False, 1, thickness)
    else:
        corners = int(rng.integers(5, 12))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.6, 1.35, corners)
        points = np.stack(
            [x + radii * half_width * np.cos(angles), y + radii * half_height * np.sin(angles)],
            axis=1,
        )
        cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
        if shape == "blob":
            smooth = cv2.GaussianBlur(
                canvas.astype(np.float32), (0, 0), max(1.0, min(half_width, half_height) / 4)
            )
            canvas = (smooth > 0.4).astype(np.uint8)
    return canvas.astype(bool)


def crop_to_region(photo: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both cut to the region's bounding box; an empty region becomes one pixel."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    if rows.size == 0:
        return photo[:1, :1], np.ones((1, 1), bool)
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return photo[box], region[box]


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


def _softened(
    region: np.ndarray, sigmas: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """The opacity of a region or an opacity, float32, its edge blurred by one of `sigmas`."""
    opacity: np.ndarray = region.astype(np.float32)
    sigma = float(rng.choice(sigmas))
    return cv2.GaussianBlur(opacity, (0, 0), sigma) if sigma else opacity


def _blend(
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


def _hole(
    window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    return _grown(_region(window, own_object, rng, largest=0.3), int(rng.integers(0, 5)))


def _fill(window: np.ndarray, hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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


# --- Hosts -------------------------------------------------------------------------------------


def _authentic(window: np.ndarray) -> Forgery:
    return Forgery(window, np.zeros(window.shape[:2], bool), AUTHENTIC)


def _as_published(
    photo: np.ndarray, mask: np.ndarray | None, crop: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The host as its forger found it: as it was shot, or scaled and saved for the web.

    Most are scaled down, a few up. A photo smaller than the crop is enlarged, since a window must
    be filled.
    """
    shortest = min(photo.shape[:2])
    side = shortest
    if rng.random() < 0.5:
        side = int(rng.uniform(min(shortest, crop * 1.1), min(shortest, crop * 3.5)))
    elif rng.random() < 0.15 and shortest < 3 * crop:
        side = int(shortest * rng.uniform(1.2, 2.0))
    side = max(side, crop)
    if side == shortest:
        return photo, mask
    factor = side / shortest
    photo = degradations.resize(photo, factor)
    if mask is not None:
        mask = degradations.resize_mask(mask, photo.shape[1::-1])
    if rng.random() < 0.6:
        subsampling = str(rng.choice(["420", "444"]))
        photo = degradations.jpeg(photo, int(rng.integers(60, 99)), subsampling)
    return photo, mask


def _developed(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change the whole picture as phones and photographers do: no part is manipulated."""
    operation = rng.choice(["sharpen", "denoise", "tone", "grain"])
    if operation == "sharpen":
        soft = cv2.GaussianBlur(window, (0, 0), float(rng.uniform(0.7, 2)))
        amount = float(rng.uniform(0.3, 1.5))
        window = cv2.addWeighted(window, 1 + amount, soft, -amount, 0)
    elif operation == "denoise":
        strength = float(rng.uniform(8, 30))
        window = cv2.bilateralFilter(window, 5, strength, 2.0)
    elif operation == "tone":
        gammas = rng.uniform(0.7, 1.4) * rng.uniform(0.9, 1.1, 3)
        table = 255 * (np.arange(256)[:, None] / 255) ** gammas
        window = np.stack(
            [cv2.LUT(window[..., c], np.rint(table[:, c]).astype(np.uint8)) for c in range(3)],
            axis=-1,
        )
    else:
        window = degradations.gaussian_noise(window, float(rng.uniform(4, 80)), rng)
    if rng.random() < 0.7:
        window = degradations.jpeg(window, int(rng.integers(60, 99)))
    return window


def _cut(
    photo: np.ndarray, mask: np.ndarray | None, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """A window of up to side x side, its corner on the JPEG grid, so that its history shows."""
    height, width = photo.shape[:2]
    top = int(rng.integers(0, max(0, height - side) // GRID + 1)) * GRID
    left = int(rng.integers(0, max(0, width - side) // GRID + 1)) * GRID
    box = np.s_[top : top + side, left : left + side]
    return photo[box], None if mask is None else mask[box]

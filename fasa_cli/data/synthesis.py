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

from fasa_cli.config import DataConfig
from fasa_cli.data.development import develop
from fasa_cli.data.manipulations import (
    change_in_place,
    copy_move,
    denoise,
    filled,
    local_change,
    paste,
    removal,
    replace,
    superres,
)
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.shapes import (
    SMALLEST_SHARE,
    crop_to_region,
    grown,
    hole_to_fill,
    region_to_change,
    within_box,
)
from fasa_cli.errors import ConfigError
from fasa_cli.imaging import degradations
from fasa_cli.results import GRID

if TYPE_CHECKING:
    from fasa_cli.data.autoencoder import Autoencoder

TRIES = 10  # until a whole photo has a forgery of a fitting size
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
        region = within_box(region_to_change(window, own_object, rng), LONGEST_RERENDERED)
        return change_in_place(window, region, self._renderer(rng), rng)

    def _regenerate(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put other contents into a hole and decode it, as generative fillers do.

        The contents are made from the surroundings, or an object of another photo; with an object
        what lies around it is decoded too, as within the mask that a user brushes.
        """
        if rng.random() < 0.5:
            region = within_box(hole_to_fill(window, own_object, rng), LONGEST_RERENDERED)
            contents = filled(window, region, rng)
        else:
            contents, region = paste(window, *self._donor(window.shape[:2], rng), rng)
            region = within_box(grown(region, int(rng.integers(1, 12))), LONGEST_RERENDERED)
        contents = np.where(region[..., None], contents, window)
        rendered, mask = change_in_place(contents, region, self._renderer(rng), rng)
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
        return (develop(window, rng, mask) if rng.random() < self.config.develop else window), mask

    def _splice(
        self, window: np.ndarray, own_object: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Paste an object, or any region, of other photos (one to three times).

        Or fill a part of the window that has borders of its own with another photo's contents, as
        when a sky is replaced.
        """
        if rng.random() < 0.15:
            side = int(max(window.shape[:2]) * rng.uniform(0.8, 2.0))
            photo, _ = _cut(self.pool.photo(int(rng.integers(len(self.pool)))), None, side, rng)
            return replace(window, photo, rng)
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
            region = region_to_change(photo, None, rng)
        donor, region = crop_to_region(photo, region)
        if rng.random() < 0.3:
            donor = degradations.jpeg(donor, int(rng.integers(50, 96)))
        return donor, region


# --- Hosts -------------------------------------------------------------------------------------


def _authentic(window: np.ndarray) -> Forgery:
    return Forgery(window, np.zeros(window.shape[:2], bool), AUTHENTIC)


def _as_published(
    photo: np.ndarray, mask: np.ndarray | None, crop: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The host as its forger found it: as it was shot, or scaled and saved for the web.

    Most are scaled down, a few up, but none that is smaller than the crop is made smaller still.
    """
    shortest = min(photo.shape[:2])
    side = shortest
    if rng.random() < 0.5:
        # From the whole scene in one crop, as in small pictures from the web, to a part of it.
        smallest, largest = np.log(min(shortest, crop)), np.log(min(shortest, crop * 3.5))
        side = int(np.exp(rng.uniform(smallest, largest)))
    elif rng.random() < 0.15 and shortest < 3 * crop:
        side = int(shortest * rng.uniform(1.2, 2.0))
    side = max(side, min(crop, shortest))
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


def _cut(
    photo: np.ndarray, mask: np.ndarray | None, side: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """A window of up to side x side, its corner on the JPEG grid, so that its history shows."""
    height, width = photo.shape[:2]
    top = int(rng.integers(0, max(0, height - side) // GRID + 1)) * GRID
    left = int(rng.integers(0, max(0, width - side) // GRID + 1)) * GRID
    box = np.s_[top : top + side, left : left + side]
    return photo[box], None if mask is None else mask[box]

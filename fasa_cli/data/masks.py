"""Ground-truth masks as data sets store them -> H x W bool, True where manipulated.

What marks a pixel as manipulated differs from data set to data set:

    bright   the mean of the channels is above 127, as in IMDL-BenCo; a mask of small values only
             (0 and 1, say) is refused, for it would silently mean "authentic"
    nonzero  any value above 0, as CAT-Net reads its sets; above 127 in a lossy file, where
             compression leaves small values around every edge
    dark     the mean of the channels is at most 127 (NIST16 draws in black on white)
    green    more green than red: Columbia's edge masks paint the parts from one camera red and
             those pasted in from another green, each in a bright tone near the seam (255) and a
             darker one elsewhere (200)
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.images import read_image
from fasa_cli.imaging.limits import Arrays

Convention = Literal["bright", "nonzero", "dark", "green"]

MASK_SUFFIXES = frozenset({".npz"})  # beside those of images
_HALF = 127


def read_mask(path: Path, convention: Convention = "bright") -> np.ndarray:
    """Read an image, or the array of an .npz (FantasticReality), as H x W bool.

    Raises:
        ImageError: the file cannot be read or decoded.
        DatasetError: its values do not follow the convention.
    """
    if path.suffix.lower() == ".npz":
        return _read_array(path) > 0
    decoded = read_image(path)
    if convention == "nonzero" and decoded.format == "JPEG":
        convention = "bright"
    return mark(decoded.pixels, convention, str(path))


def mark(pixels: np.ndarray, convention: Convention, name: str) -> np.ndarray:
    """H x W x 3 uint8 RGB -> H x W bool by `convention`; `name` is what messages call the mask.

    Raises:
        DatasetError: the mask is to be bright where manipulated, but no value is above 127.
    """
    if convention == "bright" and 0 < pixels.max() <= _HALF:
        raise DatasetError(
            f"{name}: a mask is 0 and 255, but its highest value is {pixels.max()}; scale it"
        )
    return _RULES[convention](pixels)


def turn_to_fit(mask: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, str]:
    """Turn a W x H mask to fit its H x W image; returns it and what was done, in words.

    Four ways fit. The one is taken whose outline lies on the strongest edges of the image, since a
    manipulated region mostly ends where the picture changes.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    turned = {how: np.ascontiguousarray(turn(mask)) for how, turn in _TURNS.items()}
    how = max(turned, key=lambda name: _edge_strength(turned[name], edges))
    return turned[how], how


def _edge_strength(mask: np.ndarray, edges: np.ndarray) -> float:
    """Mean of `edges` along the outline of `mask`; 0 without an outline."""
    outline = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float(edges[outline > 0].mean()) if outline.any() else 0.0


def _read_array(path: Path) -> np.ndarray:
    try:
        arrays = Arrays(path)
        array = arrays.read(arrays.names[0]).squeeze()
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise ImageError(f"{path}: cannot be read as a mask ({error}); get a fresh copy") from error
    if array.ndim != 2:
        raise DatasetError(f"{path}: a mask has two dimensions, not {array.ndim}")
    return array


def _bright(pixels: np.ndarray) -> np.ndarray:
    return pixels.sum(axis=2, dtype=np.uint16) > 3 * _HALF


_RULES: dict[Convention, Callable[[np.ndarray], np.ndarray]] = {
    "bright": _bright,
    "nonzero": lambda pixels: pixels.max(axis=2) > 0,
    "dark": lambda pixels: ~_bright(pixels),
    "green": lambda pixels: pixels[..., 1] > pixels[..., 0],
}
_TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "turned a quarter to the left": lambda mask: np.rot90(mask, 1),
    "turned a quarter to the right": lambda mask: np.rot90(mask, 3),
    "transposed": lambda mask: mask.T,
    "transposed about the other diagonal": lambda mask: mask[::-1, ::-1].T,
}

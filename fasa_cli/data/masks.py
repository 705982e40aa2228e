"""Ground-truth masks as data sets store them -> H x W bool, True where manipulated.

What marks a pixel as manipulated differs from data set to data set:

    bright   the highest channel is above 127 (grey masks: as in IMDL-BenCo; coloured ones: red
             on black, say); a mask of small values only (0 and 1, say) is refused, for it would
             silently mean "authentic", and so is one in several bright colours
    nonzero  any value above 0, as CAT-Net reads its sets; above 127 in a lossy file, where
             compression leaves small values around every edge
    dark     the mean of the channels is at most 127 (NIST16 draws in black on white)
    green    more green than red: Columbia's edge masks paint the parts from one camera red and
             those pasted in from another green, each in a bright tone near the seam (255) and a
             darker one elsewhere (200)

A mask can lie in the alpha channel: where opacity varies, what is opaque is marked if all of it is
bright (white paint on nothing) or all of it dark, or if it shows a picture (a cut-out). Where its
colour and opacity contradict each other, a mask is refused. None is ever laid over a background.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.imaging.decode import open_image, read_image
from fasa_cli.imaging.limits import Arrays

Convention = Literal["bright", "nonzero", "dark", "green"]

MASK_SUFFIXES = frozenset({".npz"})  # beside those of images
_HALF = 127
_COLOURED = 64  # grey levels between the channels of a pixel that is no grey
_SHADES = 16  # of one channel; with more, what is opaque is a picture and no paint


def read_mask(path: Path, convention: Convention = "bright") -> np.ndarray:
    """Read an image, or the array of an .npz (FantasticReality), as H x W bool.

    Raises:
        ImageError: the file cannot be read or decoded.
        DatasetError: its values do not follow the convention.
    """
    if path.suffix.lower() == ".npz":
        return _read_array(path) > 0
    opaque = _by_opacity(path)
    if opaque is not None:
        return opaque
    decoded = read_image(path)
    if convention == "nonzero" and decoded.format == "JPEG":
        convention = "bright"
    return mark(decoded.pixels, convention, str(path))


def mark(pixels: np.ndarray, convention: Convention, name: str) -> np.ndarray:
    """H x W x 3 uint8 RGB -> H x W bool by `convention`; `name` is what messages call the mask.

    Raises:
        DatasetError: the mask is to be bright where manipulated, but no value is above 127, or it
            is bright in several colours.
    """
    if convention == "bright" and 0 < pixels.max() <= _HALF:
        raise DatasetError(
            f"{name}: a mask is 0 and 255, but its highest value is {pixels.max()}; scale it"
        )
    if convention == "bright" and _bright_colours(pixels) > 1:
        raise DatasetError(
            f"{name}: a mask is black and white, but this one has several bright colours; name the "
            "data set's --layout, or save it in black and white"
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
    return pixels.max(axis=2) > _HALF


def _bright_colours(pixels: np.ndarray) -> int:
    """How many of grey, red, green and blue (and their mixtures) bright pixels have."""
    bright = pixels[_bright(pixels)]
    spread = bright.max(axis=1).astype(np.int16) - bright.min(axis=1)
    coloured = bright[spread > _COLOURED]
    kinds = set(np.unique((coloured > _HALF) @ np.array([1, 2, 4])).tolist())
    return len(kinds) + bool((spread <= _COLOURED).any())


def _by_opacity(path: Path) -> np.ndarray | None:
    """H x W bool where a mask lies in the alpha channel; None where it does not.

    Raises:
        DatasetError: nothing is opaque, or colour and opacity contradict each other.
    """
    image = open_image(path)
    if image is None or not (image.mode.endswith(("A", "a")) or "transparency" in image.info):
        return None
    pixels = np.asarray(image.convert("RGBA"))
    opaque = pixels[..., 3] > _HALF
    if opaque.all():
        return None
    if not opaque.any():
        raise DatasetError(f"{path}: the mask is transparent everywhere; save it without alpha")
    colours = pixels[opaque][:, :3]
    bright = colours.max(axis=1) > _HALF
    if bright.all() or not bright.any() or len(np.unique(colours[:, 1])) > _SHADES:
        return opaque
    raise DatasetError(
        f"{path}: the mask's colours and its transparency say different things; save it in black "
        "and white, without alpha"
    )


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

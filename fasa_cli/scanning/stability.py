"""Whether marks survive small re-deliveries of a photo, such as being sent once more.

A mark that comes from the pixels of an edit mostly stays; one that comes from how compression
happened to fall often goes. It costs up to three more runs of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np

from fasa_cli.imaging.degradations import jpeg, resize
from fasa_cli.results import Finding, Region

_DOWN, _RIGHT = 5, 3  # pixels that are cropped above and at the left
REDELIVERIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG 90": lambda photo: jpeg(photo, 90),
    "half size": lambda photo: resize(photo, 0.5),
    "a crop by 3 and 5 pixels": lambda photo: np.ascontiguousarray(photo[_DOWN:, _RIGHT:]),
}
_LEAST_SIDE = 64  # pixels of a photo; half of it, or less by a crop, must still be one
_SURVIVES = 0.5  # share of a region's pixels that are marked again


def masks_after(
    predict: Callable[[np.ndarray], np.ndarray], photo: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    """For each of REDELIVERIES what is marked then, H x W bool in the photo's own place.

    `predict` gives the probabilities, h x w, of an h x w x 3 uint8 RGB photo. Empty for a photo
    that is too small.
    """
    height, width = photo.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        return {}
    masks = {}
    for name, change in REDELIVERIES.items():
        changed = change(photo)
        probabilities = predict(changed)
        if probabilities.shape == (height - _DOWN, width - _RIGHT):
            mask = np.zeros((height, width), bool)
            mask[_DOWN:, _RIGHT:] = probabilities > threshold
        else:
            full = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
            mask = full > threshold
        masks[name] = mask
    return masks


def stability(region: Region, own: np.ndarray, masks: Mapping[str, np.ndarray]) -> Finding | None:
    """Which re-deliveries a region survives; `own` are its pixels in its box, h x w bool.

    None where nothing was tried.
    """
    if not masks:
        return None
    x, y, width, height = region.box
    shares = {
        name: float(mask[y : y + height, x : x + width][own].mean()) for name, mask in masks.items()
    }
    stays = [name for name, share in shares.items() if share >= _SURVIVES]
    goes = [name for name in shares if name not in stays]
    mean = round(sum(shares.values()) / len(shares), 4)
    if not goes:
        return Finding("stability", "for", mean, f"It is marked again after {_listed(stays)}.")
    if not stays:
        return Finding("stability", "against", mean, f"It is gone after {_listed(goes)}.")
    text = f"It is marked again after {_listed(stays)}, and gone after {_listed(goes)}."
    return Finding("stability", "neither", mean, text)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

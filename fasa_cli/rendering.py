"""Pictures of a probability map: arrays in, arrays out, pixel for pixel on the image."""

from __future__ import annotations

import cv2
import numpy as np

_WHITE, _DARK = 255, 24


def heat_map(probabilities: np.ndarray) -> np.ndarray:
    """Colour an H x W map in [0, 1] with viridis: H x W x 3 uint8 RGB, dark blue 0 to yellow 1.

    Viridis is perceptually uniform and reads without red-green vision and in greyscale.
    """
    levels = np.rint(probabilities * 255).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def overlay(
    image: np.ndarray, probabilities: np.ndarray, threshold: float, alpha: float = 0.5
) -> np.ndarray:
    """Lay the heat map and the contour at `threshold` over an image: H x W x 3 uint8 RGB.

    `image` is H x W x 3 uint8 RGB, `probabilities` H x W in [0, 1]. The heat map's opacity is
    `alpha` times the probability, so that what the model did not react to stays a photo. A white
    line with a dark rim follows the inner edge of the pixels above `threshold`.
    """
    if image.shape[:2] != probabilities.shape:
        raise ValueError(f"image {image.shape[:2]} and map {probabilities.shape} differ in size")
    opacity = np.float32(alpha) * probabilities.astype(np.float32)
    photo = np.ascontiguousarray(image)
    blended = cv2.blendLinear(heat_map(probabilities), photo, opacity, 1 - opacity)
    edge = _inner_edge(probabilities > threshold)
    radius = max(edge.shape) // 1000  # a line of 1 pixel, of 9 pixels on a 4000 pixel photo
    blended[_thickened(edge, 2 * radius + 1)] = _DARK
    blended[_thickened(edge, radius)] = _WHITE
    return blended


def _inner_edge(mask: np.ndarray) -> np.ndarray:
    """H x W uint8: the marked pixels that touch an unmarked one or the border of the image."""
    marked = mask.astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(marked, cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return marked - inside


def _thickened(edge: np.ndarray, radius: int) -> np.ndarray:
    """H x W bool: the pixels within `radius` of the edge."""
    size = 2 * radius + 1
    return cv2.dilate(edge, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))) > 0

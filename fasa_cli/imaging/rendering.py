"""Pictures of a probability map: arrays in, arrays out, pixel for pixel on the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fasa_cli.results import GRID, Box, within

# Perceptually uniform, lightness rising all the way: they read without red-green vision and in
# greyscale. Cividis looks nearly the same to everyone.
_COLORMAPS = {
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
    "magma": cv2.COLORMAP_MAGMA,
    "inferno": cv2.COLORMAP_INFERNO,
}
COLORMAPS = tuple(_COLORMAPS)

_WHITE, _DARK = 255, 24
_STRIP_PIXELS = 4_000_000
_PAPER, _INK, _GREY = (255, 255, 255), (24, 24, 24), (110, 110, 110)


def heat_map(probabilities: np.ndarray, colormap: str = "viridis") -> np.ndarray:
    """Colour an H x W map in [0, 1]: H x W x 3 uint8 RGB, from dark 0 to light 1."""
    levels = np.rint(probabilities * 255).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, _COLORMAPS[colormap])
    return cv2.cvtColor(coloured, cv2.COLOR_BGR2RGB)


def overlay(
    image: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    alpha: float = 0.5,
    colormap: str = "viridis",
) -> np.ndarray:
    """Lay the heat map and the contour at `threshold` over an image: H x W x 3 uint8 RGB.

    See `blend` and `contour` for the inputs and the look.
    """
    drawn = blend(image, probabilities, alpha, colormap)
    _outline(drawn, probabilities > threshold)
    return drawn


def blend(
    image: np.ndarray, probabilities: np.ndarray, alpha: float = 0.5, colormap: str = "viridis"
) -> np.ndarray:
    """Lay the heat map over an image: H x W x 3 uint8 RGB.

    `image` is H x W x 3 uint8 RGB, `probabilities` H x W in [0, 1]. The heat map's opacity is
    `alpha` times the probability, so that what the model did not react to stays a photo.
    """
    _check_sizes(image, probabilities)
    blended = np.empty(image.shape, np.uint8)
    for rows in _strips(image):  # what follows takes 17 bytes a pixel
        opacity = np.float32(alpha) * probabilities[rows].astype(np.float32)
        photo = np.ascontiguousarray(image[rows])
        heat = heat_map(probabilities[rows], colormap)
        blended[rows] = cv2.blendLinear(heat, photo, opacity, 1 - opacity)
    return blended


def contour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw a white line with a dark rim along the inner edge of an H x W bool mask on an image."""
    _check_sizes(image, mask)
    drawn = image.copy()
    _outline(drawn, mask)
    return drawn


def hatched(picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Hatch boxes of damaged pixels on an H x W x 3 picture: dark and light lines from lower left
    to upper right."""
    if not boxes:
        return picture
    drawn = picture.copy()
    period = max(8, max(picture.shape[:2]) // 40)  # pixels from line to line
    line = max(1, period // 8)
    for x, y, width, height in boxes:
        down, right = np.ogrid[y : y + height, x : x + width]
        phase = (down + right) % period
        part = within(drawn, (x, y, width, height))
        part[phase < line] = _DARK
        part[(phase >= line) & (phase < 2 * line)] = _WHITE
    return drawn


def hatched_cells(picture: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Draw thin diagonal lines on an H x W x 3 uint8 picture, in place, where `cells` is not 0.

    `cells` is h x w, one for each 8 x 8 pixels. The lines are darker where the picture is light.
    """
    if not cells.any():
        return picture
    height, width = picture.shape[:2]
    apart = max(2 * GRID, max(height, width) // 64)
    line = max(1, apart // 12)
    for rows in _strips(picture):
        down = np.arange(rows.start, rows.stop)[:, None]
        across = np.arange(width)[None, :]
        row = np.minimum(down // GRID, len(cells) - 1)
        column = np.minimum(across // GRID, cells.shape[1] - 1)
        drawn = ((down + across) % apart < line) & (cells[row, column] > 0)
        part = picture[rows]
        part[drawn] = np.where(part[drawn] > 127, part[drawn] // 2, 128 + part[drawn] // 2)
    return picture


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Put two H x W x 3 pictures next to each other, a white gap between them."""
    _check_sizes(left, right)
    height, width = left.shape[:2]
    gap = np.full((height, max(2, width // 100), 3), 255, np.uint8)
    return np.concatenate((left, gap, right), axis=1)


def with_scale(picture: np.ndarray, threshold: float, colormap: str = "viridis") -> np.ndarray:
    """Add a scale bar with the threshold's place below a picture, which itself is not touched.

    The result is H + h x W x 3, h growing with the picture. A picture too narrow to letter gets
    the bar without text.
    """
    width = picture.shape[1]
    size = int(np.clip(min(width, picture.shape[0]) // 36, 11, 120))  # of the text, in pixels
    height, margin = 5 * size, size
    left, right = margin, max(margin + 1, min(width - margin, margin + 40 * size))
    strip = np.full((height, width, 3), 255, np.uint8)
    ramp = np.linspace(0, 1, max(2, right - left), dtype=np.float32)
    top, bottom = int(1.6 * size), int(2.7 * size)
    bar = heat_map(np.broadcast_to(ramp, (bottom - top, len(ramp))), colormap)
    strip[top:bottom, left : left + len(ramp)] = bar[:, : width - left]
    lettered = Image.fromarray(strip)
    draw = ImageDraw.Draw(lettered)
    place = left + threshold * (len(ramp) - 1)
    line = max(1, size // 8)
    draw.line((place, top - size // 3, place, bottom + size // 3), _INK, 3 * line)
    draw.line((place, top - size // 3, place, bottom + size // 3), _PAPER, line)
    font = ImageFont.load_default(size)
    note = f"outline: above {threshold:g}"
    if draw.textlength(note, font) < right - left:
        half = draw.textlength(note, font) / 2
        middle = float(np.clip(place, left + half, max(left + half, right - half)))
        draw.text((middle, top - size // 2), note, _INK, font, anchor="ms")
        for value in (0.0, 0.25, 0.5, 0.75, 1.0):
            where = left + value * (len(ramp) - 1)
            anchor = "lt" if value == 0 else "rt" if value == 1 else "mt"
            draw.text((where, bottom + size // 2), f"{value:g}", _GREY, font, anchor=anchor)
    return np.concatenate((picture, np.asarray(lettered)), axis=0)


def _check_sizes(image: np.ndarray, other: np.ndarray) -> None:
    if image.shape[:2] != other.shape[:2]:
        raise ValueError(f"image {image.shape[:2]} and map {other.shape[:2]} differ in size")


def _strips(image: np.ndarray) -> Iterator[slice]:
    """The rows of an image, some at a time: of a large one, temporary arrays are then small."""
    step = max(1, _STRIP_PIXELS // image.shape[1])
    for top in range(0, len(image), step):
        yield slice(top, min(top + step, len(image)))


def _outline(picture: np.ndarray, mask: np.ndarray) -> None:
    """Draw what `contour` promises on H x W x 3 uint8 itself."""
    radius = max(mask.shape) // 1000  # a line of 1 pixel, of 9 pixels on a 4000 pixel photo
    rim = 2 * radius + 1
    for rows in _strips(mask):
        # One row more than the rim reaches, since the edge of what is cut out is none of the mask.
        first = max(0, rows.start - rim - 1)
        edge = _inner_edge(mask[first : rows.stop + rim + 1])
        if not edge.any():
            continue
        own = slice(rows.start - first, rows.stop - first)
        picture[rows][_thickened(edge, rim)[own]] = _DARK
        picture[rows][_thickened(edge, radius)[own]] = _WHITE


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

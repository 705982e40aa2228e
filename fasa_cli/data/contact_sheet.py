"""A data set at a glance: each image, what its mask marks, and its name, in one picture."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fasa_cli.data.samples import Dataset, Sample
from fasa_cli.imaging.degradations import resize, resize_mask
from fasa_cli.imaging.rendering import overlay

SIDE = 220  # pixels of a thumbnail's longer side
GAP = 12
CAPTION = 34
PAPER, INK, FAINT = (250, 250, 248), (30, 30, 30), (120, 120, 120)


def spread(dataset: Dataset, count: int) -> list[Sample]:
    """`count` samples at even distances through a data set, or all of a smaller one."""
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    return [dataset[int(place)] for place in places]


def contact_sheet(samples: Iterable[Sample], columns: int = 3) -> np.ndarray:
    """Draw samples in rows of `columns`: H x W x 3 uint8 RGB.

    A cell holds the image, beside it the image with its mask's area tinted and outlined, below
    the name and the share that is marked.
    """
    cells = [_cell(sample) for sample in samples]
    if not cells:
        raise ValueError("a contact sheet needs a sample")
    columns = min(columns, len(cells))
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    sheet = np.empty((rows * (height + GAP) + GAP, columns * (width + 2 * GAP), 3), np.uint8)
    sheet[:] = PAPER
    for place, cell in enumerate(cells):
        top = GAP + place // columns * (height + GAP)
        left = GAP + place % columns * (width + 2 * GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _cell(sample: Sample) -> np.ndarray:
    cell = np.empty((SIDE + CAPTION, 2 * SIDE + GAP, 3), np.uint8)
    cell[:] = PAPER
    image = resize(sample.image, SIDE / max(sample.image.shape[:2]))[:SIDE, :SIDE]
    height, width = image.shape[:2]
    cell[SIDE - height : SIDE, :width] = image
    beside = np.s_[SIDE - height : SIDE, SIDE + GAP : SIDE + GAP + width]
    if sample.target_mask is None:
        # Pale, so that nobody takes it for a mask that marks nothing.
        cell[beside] = cv2.addWeighted(image, 0.25, np.full_like(image, 235), 0.75, 0)
        return _written(cell, sample.name, "authentic")
    mask = resize_mask(sample.target_mask, (width, height))
    cell[beside] = overlay(image, mask.astype(np.float32), 0.5, alpha=0.45)
    return _written(cell, sample.name, f"{sample.target_mask.mean():.1%} marked")


def _written(cell: np.ndarray, name: str, remark: str) -> np.ndarray:
    picture = Image.fromarray(cell)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(12)
    name = name.encode("ascii", "backslashreplace").decode()  # what Pillow's own font can write
    while draw.textlength(name, font) > 2 * SIDE + GAP:  # a name's end says more than its start
        name = "..." + name.removeprefix("...")[1:]
    draw.text((0, SIDE + 3), name, INK, font)
    draw.text((0, SIDE + 17), remark, FAINT, font)
    return np.asarray(picture)

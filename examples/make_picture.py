"""Draw the README's picture: an example photo, the heat map over it, and its mask.

python examples/make_picture.py [PHOTO] [OUT]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import fasa_cli
from fasa_cli.imaging.rendering import overlay

HERE = Path(__file__).resolve().parent
HEIGHT, GAP = 300, 8  # pixels


def main() -> None:
    photo = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images/coins_copied_coin.jpg"
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE.parent / "docs/picture.png"
    pixels = fasa_cli.read_image(photo).pixels
    prediction = fasa_cli.load_model().predict(pixels)
    mask = np.repeat(prediction.mask(0.5)[..., None] * np.uint8(255), 3, axis=2)
    panels = [pixels, overlay(pixels, prediction.probabilities, 0.5), mask]
    width = round(HEIGHT * pixels.shape[1] / pixels.shape[0])
    scaled = [cv2.resize(one, (width, HEIGHT), interpolation=cv2.INTER_AREA) for one in panels]
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    row = np.concatenate([scaled[0], gap, scaled[1], gap, scaled[2]], axis=1)
    cv2.imwrite(str(out), cv2.cvtColor(row, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()

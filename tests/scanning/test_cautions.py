"""What a record says of the limits of its result."""

import numpy as np
import pytest

from fasa_cli.imaging.metadata import PhotoMetadata
from fasa_cli.results import DecodedImage, Frame, Prediction
from fasa_cli.scanning.cautions import cautions


def said(size=(400, 300), effective=None, quality=None, warnings=(), **prediction):
    image = DecodedImage(
        np.zeros((size[1], size[0], 3), np.uint8), "JPEG", "RGB", size, warnings=warnings
    )
    answer = Prediction(np.zeros((2, 2), np.float32), 0.0, effective or size, **prediction)
    return cautions(image, PhotoMetadata(jpeg_quality=quality), answer)


def test_an_ordinary_photo_has_none():
    assert said(quality=90) == ()
    assert said(frame=Frame(0, 300, 0, 400, (5, 3))) == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"quality": 62}, "quality is about 62"),
        ({"effective": (200, 150)}, "200 x 150 of 400 x 300"),
        ({"size": (200, 300)}, "Small: 200 x 300"),
        ({"warnings": ("ends in grey",)}, "ends in grey"),
        ({"tiles": 30, "size": (6000, 4000)}, "30 overlapping tiles"),
        ({"frame": Frame(20, 290, 0, 400)}, "400 x 270 pixels at (0, 20)"),
    ],
)
def test_each_limit_is_said(arguments, words):
    (sentence,) = said(**arguments)
    assert words in sentence
    assert sentence.endswith(".")


def test_tiles_that_keep_everything_are_no_limit():
    assert said(tiles=6) == ()

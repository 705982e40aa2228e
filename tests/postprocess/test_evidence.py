"""What a found copy-move pair must never do: hide another forgery of the same photo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fasa_cli.assets import shipped_weights
from fasa_cli.config import TINY, PostprocessConfig
from fasa_cli.imaging.decode import read_image
from fasa_cli.model.fasa import Fasa
from fasa_cli.postprocess.copy_move import at_full_size
from fasa_cli.predictor import Predictor
from fasa_cli.results import Prediction

EXAMPLES = Path(__file__).parents[2] / "examples"
TOP, LEFT, SIDE = 170, 250, 90  # where the other forgery is
SOURCE, COPY, COPIED = (40, 40), (330, 60), 80  # (row, column) of the pair's regions


def texture(seed: int) -> np.ndarray:
    """A photo-like picture without repetition: blurred noise of all sizes."""
    rng = np.random.default_rng(seed)
    light = np.zeros((440, 480, 3), np.float32)
    for sigma in (1.0, 3.0, 9.0, 27.0):
        noise = rng.standard_normal(light.shape, np.float32)
        light += cv2.GaussianBlur(noise, (0, 0), sigma) * sigma
    return cv2.normalize(light, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def spliced(image: np.ndarray) -> None:
    image[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = texture(99)[:SIDE, :SIDE]


def removed(image: np.ndarray) -> None:
    hole = np.zeros(image.shape[:2], np.uint8)
    hole[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 1
    image[:] = cv2.inpaint(image, hole, 3, cv2.INPAINT_TELEA)


def blurred(image: np.ndarray) -> None:
    part = image[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    part[:] = cv2.GaussianBlur(part, (0, 0), 3)


def brightened(image: np.ndarray) -> None:
    part = image[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    part[:] = cv2.convertScaleAbs(part, alpha=1.1, beta=30)


def recompressed(image: np.ndarray) -> None:
    part = image[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    _, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, 20])
    part[:] = cv2.imdecode(data, cv2.IMREAD_COLOR)


def second_copy(image: np.ndarray) -> None:
    image[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = image[250 : 250 + SIDE, 340 : 340 + SIDE]


OTHERS = [spliced, removed, blurred, brightened, recompressed, second_copy]


def with_pair(image: np.ndarray) -> np.ndarray:
    (top, left), (down, across) = SOURCE, COPY
    part = image[top : top + COPIED, left : left + COPIED].copy()
    image[down : down + COPIED, across : across + COPIED] = part
    return image


def predictor_that_sees(network: np.ndarray, postprocess: PostprocessConfig) -> Predictor:
    """A predictor whose network answers with `network`, whatever it is shown."""
    predictor = Predictor(Fasa(TINY).eval(), "cpu", postprocess=postprocess)
    answer = Prediction(network, float(network.max()), network.shape[::-1])
    predictor._predict_equal = lambda images: [answer] * len(images)  # type: ignore[method-assign]
    return predictor


@pytest.mark.parametrize("prominence", [0.0, 2.0])
@pytest.mark.parametrize("other", OTHERS)
def test_a_pair_beside_another_forgery_takes_nothing_from_it(
    other: Callable[[np.ndarray], None], prominence: float
) -> None:
    image = texture(1)
    other(image)
    image = with_pair(image)
    network = np.full(image.shape[:2], 0.02, np.float32)
    network[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = 0.7
    network[TOP + 20 : TOP + 40, LEFT + 20 : LEFT + 40] = 0.95
    given = network.copy()

    def predict(copy_move: bool) -> Prediction:
        config = PostprocessConfig(minimum_prominence=prominence, copy_move=copy_move)
        return predictor_that_sees(network.copy(), config).predict(image)

    alone, both = predict(False), predict(True)
    assert both.pairs
    assert (both.probabilities >= alone.probabilities).all()
    forged = np.s_[TOP : TOP + SIDE, LEFT : LEFT + SIDE]
    assert both.mask(0.5)[forged].all()
    assert both.score >= alone.score
    np.testing.assert_array_equal(both.network_map, given)
    assert both.network_score == alone.network_score == float(given.max())
    marks = at_full_size(both.copy_move, given.shape)
    assert float(marks.max()) == pytest.approx(both.copy_move_score)
    np.testing.assert_allclose(both.probabilities, np.maximum(alone.probabilities, marks))
    (down, across) = COPY
    assert both.mask(0.5)[down + 20 : down + 60, across + 20 : across + 60].mean() > 0.8


def test_both_regions_are_marked_and_a_lesser_mark_is_on_record() -> None:
    image = with_pair(texture(2))
    (top, left), (down, across) = SOURCE, COPY
    first = np.s_[top + 20 : top + 60, left + 20 : left + 60]
    second = np.s_[down + 20 : down + 60, across + 20 : across + 60]
    even = np.full(image.shape[:2], 0.1, np.float32)
    config = PostprocessConfig(copy_move=True)
    alike = predictor_that_sees(even, config).predict(image)
    assert alike.mask(0.5)[first].mean() > 0.8
    assert alike.mask(0.5)[second].mean() > 0.8
    (pair,) = alike.pairs
    assert pair.marks == pytest.approx((pair.probability, pair.probability), abs=1e-5)
    uneven = even.copy()
    uneven[down : down + COPIED, across : across + COPIED] = 0.6
    uneven[top : top + COPIED, left : left + COPIED] = 0.3
    apart = predictor_that_sees(uneven, config).predict(image)
    assert (apart.probabilities >= uneven).all()
    (pair,) = apart.pairs
    assert pair.marks is not None
    assert min(pair.marks) < 0.9 * pair.probability
    assert max(pair.marks) == pytest.approx(pair.probability, abs=1e-5)
    marks = at_full_size(apart.copy_move, even.shape)
    assert {round(float(value), 4) for value in np.unique(marks)} == {
        0.0,
        *(round(value, 4) for value in pair.marks),
    }


def test_a_pair_pasted_into_a_forgery_erases_no_mark_of_the_shipped_weights() -> None:
    """A square of fur that lies there twice must not hide what else was done to the cat."""
    image = read_image(EXAMPLES / "images/chelsea_larger_eye.jpg").pixels
    image[:72, :72] = image[152:224, 8:80]
    without = Predictor.from_checkpoint(shipped_weights(), "cpu", copy_move=False).predict(image)
    both = Predictor.from_checkpoint(shipped_weights(), "cpu", copy_move=True).predict(image)
    assert (both.probabilities >= without.probabilities).all()
    assert both.network_score == without.network_score

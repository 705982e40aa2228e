"""evaluate() against predictors that know, that guess, and that fail."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fasa_cli.data.datasets import Sample, SampleError
from fasa_cli.errors import ImageError
from fasa_cli.evaluation import scoring
from fasa_cli.evaluation.localizers import ModelLocalizer
from fasa_cli.evaluation.metrics import pixel_f1
from fasa_cli.evaluation.predictions import SavedPredictions
from fasa_cli.evaluation.scoring import Evaluation, degraded
from fasa_cli.results import Prediction


@dataclass
class FakePredictor:
    """Predicts by a function of the image and remembers what it saw."""

    answer: Callable[[np.ndarray], np.ndarray]
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def predict(self, image: np.ndarray) -> Prediction:
        self.shapes.append(image.shape)
        probabilities = self.answer(image)
        return Prediction(probabilities, float(probabilities.max()), image.shape[1::-1])


def evaluate(
    method: FakePredictor | SavedPredictions,
    samples: Iterable[Sample | SampleError],
    protocol: str = "native",
    **named: Any,
) -> Evaluation:
    """As `scoring.evaluate`, which takes no bare predictor."""
    localizer = method if isinstance(method, SavedPredictions) else ModelLocalizer(method)  # type: ignore[arg-type]
    return scoring.evaluate(localizer, samples, protocol=protocol, **named)


def reads_red(image: np.ndarray) -> np.ndarray:
    return image[..., 0].astype(np.float32) / 255


def make_sample(name: str, manipulated: bool, height: int = 20, width: int = 30) -> Sample:
    """Red where manipulated, so that `reads_red` is right."""
    image = np.full((height, width, 3), 20, np.uint8)
    mask = np.zeros((height, width), bool)
    if manipulated:
        mask[2:9, 5:20] = True
        image[mask, 0] = 250
    return Sample(image, mask if manipulated else None, "made", name)


SAMPLES = [make_sample("a", True), make_sample("b", True, 33, 17), make_sample("c", False)]


def test_a_perfect_predictor_scores_one() -> None:
    evaluation = evaluate(FakePredictor(reads_red), SAMPLES)
    scores = evaluation.scores
    assert (scores.protocol, scores.threshold) == ("native", 0.5)
    assert (scores.images, scores.manipulated, scores.skipped) == (3, 2, 0)
    for name in ("pixel_f1", "pixel_iou", "pixel_auc", "image_f1", "image_accuracy", "image_auc"):
        assert getattr(scores, name) == pytest.approx(1)
    assert scores.false_alarm_share == 0
    assert [image.name for image in evaluation.images] == ["a", "b", "c"]
    assert evaluation.intervals["pixel_f1"] == pytest.approx((1, 1))
    assert evaluation.seconds_per_image == pytest.approx(evaluation.seconds / 3)


def test_native_predicts_every_image_at_its_own_size() -> None:
    predictor = FakePredictor(reads_red)
    evaluate(predictor, SAMPLES)
    assert predictor.shapes == [(20, 30, 3), (33, 17, 3), (20, 30, 3)]


@pytest.mark.parametrize("protocol", ["benco", "opensdi"])
def test_public_protocols_resize_image_and_mask_to_512(protocol: str) -> None:
    predictor = FakePredictor(reads_red)
    evaluation = evaluate(predictor, SAMPLES, protocol)
    assert set(predictor.shapes) == {(512, 512, 3)}
    assert evaluation.scores.protocol == protocol
    assert evaluation.scores.pixel_f1 is not None
    assert evaluation.scores.pixel_f1 > 0.95


def test_the_threshold_is_used_and_named() -> None:
    half = FakePredictor(lambda image: np.full(image.shape[:2], 0.5, np.float32))
    low = evaluate(half, SAMPLES, threshold=0.4).scores
    mask = SAMPLES[0].target_mask
    assert mask is not None
    assert low.threshold == 0.4
    assert low.false_alarm_share == 1
    assert evaluate(half, SAMPLES[:1], threshold=0.4).scores.pixel_f1 == pixel_f1(
        np.ones(mask.shape), mask
    )
    assert evaluate(half, SAMPLES).scores.pixel_f1 == 0


def test_an_image_the_predictor_refuses_is_skipped_counted_and_named() -> None:
    def refuses_narrow(image: np.ndarray) -> np.ndarray:
        if image.shape[1] < 20:
            raise ImageError("too narrow")
        return reads_red(image)

    evaluation = evaluate(FakePredictor(refuses_narrow), SAMPLES)
    assert evaluation.skipped == ("b: too narrow",)
    assert (evaluation.scores.images, evaluation.scores.skipped) == (2, 1)
    assert evaluation.scores.pixel_f1 == pytest.approx(1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda image: np.full(image.shape[:2], np.nan, np.float32), "b: probabilities"),
        (lambda image: np.zeros((5, 6), np.float32), "b: the map is 6 x 5 but the mask is 17 x 33"),
    ],
)
def test_a_broken_prediction_is_an_error_with_the_images_name(
    answer: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(FakePredictor(answer), SAMPLES[1:2])


def test_a_broken_prediction_of_an_authentic_image_is_an_error_too() -> None:
    smaller = FakePredictor(lambda image: np.zeros((5, 6), np.float32))
    with pytest.raises(ValueError, match="c: the map is 6 x 5 but the mask is 30 x 20"):
        evaluate(smaller, SAMPLES[2:])


def test_a_sample_that_cannot_be_read_is_skipped_counted_and_named() -> None:
    broken = SampleError("size mismatch", "b is 4 x 5 pixels but its mask 5 x 4")
    done = []
    evaluation = evaluate(
        FakePredictor(reads_red), [SAMPLES[0], broken], advance=lambda: done.append(1)
    )
    assert evaluation.skipped == ("b is 4 x 5 pixels but its mask 5 x 4",)
    assert (evaluation.scores.images, evaluation.scores.skipped, len(done)) == (1, 1, 2)
    assert list(degraded([broken], lambda image: image)) == [broken]


@pytest.mark.parametrize("protocol", ["native", "benco", "opensdi"])
def test_saved_maps_score_as_the_predictor_that_made_them(tmp_path: Path, protocol: str) -> None:
    for sample in SAMPLES:
        image = sample.image
        if protocol != "native":
            image = cv2.resize(image, (512, 512), interpolation=cv2.INTER_LINEAR)
        np.save(tmp_path / f"{sample.name}.npy", reads_red(image))
    saved = evaluate(SavedPredictions(tmp_path), SAMPLES, protocol)
    direct = evaluate(FakePredictor(reads_red), SAMPLES, protocol)
    assert saved.scores == direct.scores
    assert saved.images == direct.images
    assert saved.intervals == direct.intervals


def test_a_missing_saved_map_is_skipped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", reads_red(SAMPLES[0].image))
    evaluation = evaluate(SavedPredictions(tmp_path), SAMPLES)
    assert (evaluation.scores.images, evaluation.scores.skipped) == (1, 2)
    assert "no prediction for b" in evaluation.skipped[0]


def test_a_mask_too_small_to_survive_resizing_stays_manipulated() -> None:
    image = np.full((1200, 1200, 3), 20, np.uint8)
    mask = np.zeros((1200, 1200), bool)
    mask[601, 601] = True
    one_pixel = Sample(image, mask, "made", "dot")
    scores = evaluate(FakePredictor(reads_red), [one_pixel], "benco").scores
    assert (scores.manipulated, scores.pixel_f1) == (1, 0)
    small = next(degraded([one_pixel], lambda image: image[::40, ::40]))
    assert isinstance(small, Sample)
    assert small.target_mask is not None
    assert np.argwhere(small.target_mask).tolist() == [[15, 15]]


def test_scores_depend_neither_on_order_nor_on_neighbours() -> None:
    predictor = FakePredictor(lambda image: (image[..., 0] / np.float32(300)).astype(np.float32))
    forward, backward = evaluate(predictor, SAMPLES), evaluate(predictor, SAMPLES[::-1])
    assert (forward.scores, forward.intervals) == (backward.scores, backward.intervals)
    assert evaluate(predictor, SAMPLES[1:2]).images[0].pixel_f1 == forward.images[1].pixel_f1


def test_no_samples_give_no_numbers() -> None:
    evaluation = evaluate(FakePredictor(reads_red), [])
    assert evaluation.scores.images == 0
    assert evaluation.scores.pixel_f1 is None
    assert evaluation.seconds_per_image is None


def test_unknown_protocol_is_an_error() -> None:
    with pytest.raises(ValueError, match="no protocol 'coco'"):
        evaluate(FakePredictor(reads_red), SAMPLES, "coco")


def test_samples_are_taken_one_by_one() -> None:
    alive = []

    def stream() -> object:
        for sample in SAMPLES:
            alive.append(sample.name)
            yield sample

    predictor = FakePredictor(lambda image: np.full(image.shape[:2], len(alive) / 10, np.float32))
    evaluation = evaluate(predictor, stream())
    assert [image.score for image in evaluation.images] == pytest.approx([0.1, 0.2, 0.3])


def test_masks_follow_a_degradation_that_changes_the_size() -> None:
    halved = list(degraded(SAMPLES, lambda image: image[::2, ::2]))
    assert [sample.image.shape for sample in halved] == [(10, 15, 3), (17, 9, 3), (10, 15, 3)]
    first = halved[0].target_mask
    assert first is not None
    assert first.dtype == bool
    assert first.shape == (10, 15)
    assert halved[2].target_mask is None
    assert evaluate(FakePredictor(reads_red), halved).scores.pixel_f1 > 0.85


def test_masks_stay_when_the_size_stays() -> None:
    darker = next(degraded(SAMPLES, lambda image: image // 2))
    assert darker.target_mask is SAMPLES[0].target_mask
    assert darker.name == "a"

"""What gives a map for a sample of a data set: a model here, other methods in predictions.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2

from fasa_cli.data.samples import Sample
from fasa_cli.results import Prediction

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor


class Localizer(Protocol):
    """A method whose maps can be scored. `source` is its weights file or its folder of maps."""

    @property
    def source(self) -> Path | None: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its scores must know, once all samples were predicted."""
        ...

    def identity(self) -> dict[str, Any]:
        """What makes two of its evaluations comparable, as plain JSON values."""
        ...

    def predict_sample(self, sample: Sample, size: tuple[int, int] | None) -> Prediction:
        """The map of a sample at `size` (width, height); None: at the image's own.

        Raises:
            ImageError: there is no map of this sample.
        """
        ...


class ModelLocalizer:
    """A model, which sees the image at the asked size and nothing else of the sample."""

    notes: tuple[str, ...] = ()

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def source(self) -> Path | None:
        return self.predictor.weights.path

    def identity(self) -> dict[str, Any]:
        weights = self.predictor.weights
        return {
            "kind": "weights",
            "sha256": weights.sha256,
            "preset": weights.preset,
            "parameters": weights.parameters,
            "device": self.predictor.device.type,
        }

    def predict_sample(self, sample: Sample, size: tuple[int, int] | None) -> Prediction:
        image = sample.image
        if size is not None:
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return self.predictor.predict(image)

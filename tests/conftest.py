"""What several tests share: photos made of noise, and an untrained `tiny` model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasa_cli.config import TINY, PostprocessConfig
from fasa_cli.results import CopyMovePair, DecodedImage, Prediction
from fasa_cli.scanning.discovery import discover

# The models of tests are so small that on a busy machine threads mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    """A small picture of noise at `path`, its folders made; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@dataclass(frozen=True)
class Weights:
    path: Path | None = None
    sha256: str = "0" * 64
    preset: str = "tiny"
    parameters: int = 1


class RedPredictor:
    """Finds red, and `pairs`. `before` is called with the images of every batch."""

    pairs: tuple[CopyMovePair, ...] = ()

    device = "cpu"
    precision = "float32"
    config = TINY
    postprocess = PostprocessConfig()

    def __init__(self, sha256: str = "0" * 64) -> None:
        self.weights = Weights(sha256=sha256)
        self.calls = 0
        self.images = 0
        self.before: Callable[[Sequence[np.ndarray]], None] = lambda images: None

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        self.calls += 1
        self.before(images)
        self.images += len(images)
        return [self._predict(image) for image in images]

    def predict(self, image: np.ndarray | DecodedImage) -> Prediction:
        pixels = image.pixels if isinstance(image, DecodedImage) else image
        return self.predict_batch([pixels])[0]

    def _predict(self, image: np.ndarray) -> Prediction:
        probabilities = image[:, :, 0].astype(np.float32) / 255
        score, size = float(probabilities.max()), image.shape[1::-1]
        return Prediction(probabilities, score, size, pairs=self.pairs)


def scan_red(*inputs: str, out: str = "masks", **options: Any) -> Path:
    """A scan with `RedPredictor`, written to the folder `out`."""
    from fasa_cli.scanning.options import ScanOptions
    from fasa_cli.scanning.scanner import scan

    folder = Path(out)
    found = discover(inputs or ("photos",), folder)
    scan(RedPredictor(), found, ScanOptions(folder, **options), argv=["fasa", "scan", *inputs])  # type: ignore[arg-type]
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of the `tiny` preset, untrained, the same in every run."""
    import torch

    from fasa_cli.config import TINY
    from fasa_cli.model.fasa import Fasa
    from fasa_cli.model.weights import save_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(Fasa(TINY).eval(), path)
    return path


def write_set(folder: Path, manipulated: int = 3, authentic: int = 2) -> Path:
    """A data set of the layout `folder`: photos of noise of growing size, a square marked."""
    for number in range(manipulated):
        size = (40 + number, 32)
        write_photo(folder / "images" / f"m{number}.png", number, size)
        mask = np.zeros(size[::-1], np.uint8)
        mask[4 : 14 + number, 6:20] = 255
        path = folder / "masks" / f"m{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    for number in range(authentic):
        write_photo(folder / "authentic" / f"a{number}.png", 100 + number)
    return folder

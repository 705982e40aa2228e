"""What several tests share: photos made of noise, and an untrained `tiny` model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The models of tests are so small that on a busy machine threads mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (40, 32)) -> Path:
    """A small picture of noise at `path`, its folders made; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


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

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

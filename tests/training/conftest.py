"""A tiny run: its configuration, photos, and a data set with known contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fasa_cli.config import FasaConfig, config_from_dict
from fasa_cli.data.photos import PhotoPool
from fasa_cli.training.processes import Processes
from tests.conftest import write_photo

ALONE = Processes(torch.device("cpu"))


def tiny_config(data: dict[str, Any] | None = None, **training: Any) -> FasaConfig:
    return config_from_dict(
        {
            "model": {"preset": "tiny"},
            "data": {"crop": 32, "workers": 0, **(data or {})},
            "training": {
                "epochs": 2,
                "samples_per_epoch": 6,
                "batch": 2,
                "warmup_steps": 1,
                "learning_rate": 1e-3,
                **training,
            },
        }
    )


def write_mask(path: Path, size: tuple[int, int] = (48, 40)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[::-1], np.uint8)
    mask[5:20, 10:30] = 255
    Image.fromarray(mask).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed in range(3):
        write_photo(tmp_path / "photos" / f"{seed}.png", seed, (70, 60))
    return tmp_path / "photos"


@pytest.fixture
def pool(photos: Path) -> PhotoPool:
    return PhotoPool(photos)


@pytest.fixture
def write_set(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set of the layout `folder` and returns it."""

    def write(name: str, manipulated: int = 2, authentic: int = 1) -> Path:
        root = tmp_path / name
        first = sum(name.encode()) * 100
        for number in range(manipulated):
            write_photo(root / "images" / f"m{number}.png", first + number, (48, 40))
            write_mask(root / "masks" / f"m{number}.png")
        for number in range(authentic):
            write_photo(root / "authentic" / f"a{number}.png", first + 50 + number, (48, 40))
        return root

    return write

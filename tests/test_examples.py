"""The example photos: complete, small, explained, and readable as a data set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
IMAGES = sorted((EXAMPLES / "images").iterdir())
AUTHENTIC = sorted((EXAMPLES / "authentic").iterdir())
MASKS = sorted((EXAMPLES / "masks").iterdir())


def test_there_are_forged_and_authentic_photos() -> None:
    assert len(IMAGES) >= 5
    assert len(AUTHENTIC) >= 3


def test_every_mask_belongs_to_a_forged_photo() -> None:
    assert [mask.stem for mask in MASKS] == [image.stem for image in IMAGES]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_mask_fits_its_photo(path: Path) -> None:
    mask = Image.open(EXAMPLES / "masks" / f"{path.stem}.png")
    values = np.asarray(mask)
    assert mask.mode == "L"
    assert mask.size == Image.open(path).size
    assert set(np.unique(values)) == {0, 255}
    assert 0.002 < (values == 255).mean() < 0.3


@pytest.mark.parametrize("path", IMAGES + AUTHENTIC, ids=lambda path: path.stem)
def test_photo_is_small_and_its_provenance_is_told(path: Path) -> None:
    assert max(Image.open(path).size) <= 640
    assert f"| `{path.name}` |" in (EXAMPLES / "README.md").read_text(encoding="utf-8")


def test_whole_folder_is_small() -> None:
    files = [path for path in EXAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2.5e6


@pytest.mark.parametrize("name", ["rocket", "camera", "coffee", "chelsea"])
def test_photo_differs_from_its_authentic_version_mostly_inside_the_mask(name: str) -> None:
    authentic = np.asarray(Image.open(EXAMPLES / "authentic" / f"{name}.jpg")).astype(float)
    for path in EXAMPLES.glob(f"images/{name}_*.jpg"):
        difference = np.abs(np.asarray(Image.open(path)) - authentic)
        mask = np.asarray(Image.open(EXAMPLES / "masks" / f"{path.stem}.png")) > 127
        assert difference[mask].mean() > 3 * difference[~mask].mean()

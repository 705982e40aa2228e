"""Layouts, pairing by stem, and every way in which images and masks can fail to fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.datasets import read_folder
from fasa_cli.errors import DatasetError

EXAMPLES = Path(__file__).parents[2] / "examples"


def save_image(path: Path, width: int = 6, height: int = 4, value: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def save_mask(path: Path, width: int = 6, height: int = 4, value: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((height, width), np.uint8)
    mask[:2, :3] = value
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize(
    ("images", "masks", "authentic"), [("images", "masks", "authentic"), ("Tp", "Gt", "Au")]
)
def test_layouts(tmp_path: Path, images: str, masks: str, authentic: str) -> None:
    save_image(tmp_path / images / "b.png", value=10)
    save_mask(tmp_path / masks / "b.png")
    save_image(tmp_path / images / "sub" / "a.jpg", width=8)
    save_mask(tmp_path / masks / "sub" / "a.png", width=8)
    save_image(tmp_path / authentic / "camera" / "c.png")
    (tmp_path / images / "notes.txt").write_text("not an image")
    (tmp_path / images / "._b.png").write_bytes(b"a resource fork")
    dataset = read_folder(tmp_path)
    assert len(dataset) == 3
    first, second, third = dataset
    assert (first.name, first.source) == (f"{images}/b.png", tmp_path.name)
    assert (second.name, third.name) == (f"{images}/sub/a.jpg", f"{authentic}/camera/c.png")
    assert first.image.shape == (4, 6, 3)
    assert first.image.dtype == np.uint8
    assert first.target_mask is not None
    assert first.target_mask.dtype == bool
    assert first.target_mask.sum() == 6
    assert second.image.shape == (4, 8, 3)
    assert third.target_mask is None


def test_masks_are_matched_by_stem_not_by_order(tmp_path: Path) -> None:
    names = {"a": "a_mask", "a1": "a1_gt", "a_gt": "a_gt", "z": "z"}
    for width, (image, mask) in enumerate(names.items(), start=10):
        save_image(tmp_path / "images" / f"{image}.jpg", width=width)
        save_mask(tmp_path / "masks" / f"{mask}.png", width=width)
    dataset = read_folder(tmp_path)
    pairs = {entry.image.stem: entry.mask.stem for entry in dataset.entries if entry.mask}
    assert pairs == names
    assert len(list(dataset)) == 4  # every size fits


def test_authentic_photos_alone_are_a_data_set(tmp_path: Path) -> None:
    save_image(tmp_path / "authentic" / "a.png")
    assert [sample.target_mask for sample in read_folder(tmp_path)] == [None]


def test_examples_are_readable() -> None:
    dataset = read_folder(EXAMPLES)
    masks = [sample.target_mask for sample in dataset]
    assert len(masks) == len(dataset)
    assert any(mask is None for mask in masks)
    assert any(mask is not None and mask.any() for mask in masks)


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path) -> None:
    save_image(tmp_path / "authentic" / "a.png")
    (tmp_path / "authentic" / "b.png").write_bytes(b"damaged")
    dataset = read_folder(tmp_path)
    assert dataset[0].name == "authentic/a.png"
    with pytest.raises(DatasetError, match=r"b\.png"):
        dataset[1]


def test_mask_threshold_is_127(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    mask = np.full((4, 6), 127, np.uint8)
    mask[0, 0] = 128
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    target = read_folder(tmp_path)[0].target_mask
    assert target is not None
    assert target.sum() == 1


def test_mask_of_zeros_and_ones_is_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    save_mask(tmp_path / "masks" / "a.png", value=1)
    with pytest.raises(DatasetError, match=r"masks/a\.png.*highest value is 1"):
        read_folder(tmp_path)[0]


def test_size_mismatch_names_both_files_and_sizes(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png", width=6, height=4)
    save_mask(tmp_path / "masks" / "a.png", width=4, height=6)
    with pytest.raises(DatasetError, match=r"images/a\.png is 6 x 4 .*masks/a\.png is 4 x 6"):
        read_folder(tmp_path)[0]


def test_unpaired_files_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    save_mask(tmp_path / "masks" / "b.png")
    with pytest.raises(DatasetError, match=r"without a mask: .*images/a\.png"):
        read_folder(tmp_path)
    save_mask(tmp_path / "masks" / "a.png")
    with pytest.raises(DatasetError, match=r"without an image: .*masks/b\.png"):
        read_folder(tmp_path)


def test_long_lists_of_files_are_cut_with_their_number(tmp_path: Path) -> None:
    for index in range(8):
        save_image(tmp_path / "images" / f"{index}.png")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DatasetError, match="and 3 more"):
        read_folder(tmp_path)


def test_ambiguous_names_are_refused(tmp_path: Path) -> None:
    save_image(tmp_path / "images" / "a.png")
    save_mask(tmp_path / "masks" / "a.png")
    save_mask(tmp_path / "masks" / "a_gt.png")
    with pytest.raises(DatasetError, match=r"more than one mask for: .*a\.png"):
        read_folder(tmp_path)
    (tmp_path / "masks" / "a_gt.png").unlink()
    save_image(tmp_path / "images" / "a.jpg")
    with pytest.raises(DatasetError, match=r"a\.jpg and a\.png"):
        read_folder(tmp_path)


@pytest.mark.parametrize("folders", [[], ["images"], ["masks"], ["masks", "authentic"]])
def test_unknown_layout_says_what_is_expected(tmp_path: Path, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(DatasetError, match="expected images/ and masks/"):
        read_folder(tmp_path)


def test_missing_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "authentic").mkdir()
    with pytest.raises(DatasetError, match="holds no image"):
        read_folder(tmp_path)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_that_ignore_exif_are_turned_with_their_image(
    tmp_path: Path, orientation: int
) -> None:
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[5:15, 30:50] = 255
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "images" / "a.jpg", exif=exif)
    Image.fromarray(stored).save(tmp_path / "masks" / "a.png")
    sample = read_folder(tmp_path)[0]
    assert sample.target_mask is not None
    assert sample.target_mask.shape == (60, 40)
    assert ((sample.image[..., 0] > 127) == sample.target_mask).mean() > 0.99
    assert "turned upright" in sample.notes[0]

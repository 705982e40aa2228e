"""The pool of authentic photos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.photos import PhotoPool
from fasa_cli.errors import DatasetError
from tests.conftest import write_photo
from tests.imaging.samples import HEIC


@pytest.fixture
def folders(tmp_path):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    write_photo(photos / "a.png", 1)
    write_photo(photos / "sub" / "b.jpg", 2)
    (masks / "sub").mkdir(parents=True)
    mask = np.zeros((32, 40), np.uint8)
    mask[5:20, 7:30] = 255
    Image.fromarray(mask).save(masks / "sub" / "b.png")
    return photos, masks


def test_masks_belong_to_photos_by_path(folders):
    pool = PhotoPool(*folders)
    assert [path.name for path in pool.photos] == ["a.png", "b.jpg"]
    assert pool.with_object == [1]
    assert pool.object_mask(1).sum() == 15 * 23
    assert pool.check() == []


def test_the_cache_is_bounded_and_changes_nothing(folders):
    one_photo = 32 * 40 * 3
    pool = PhotoPool(*folders, cache_bytes=one_photo)
    first = pool.photo(0)
    assert pool.photo(0) is first
    assert pool.photo(1) is not pool.photo(1)
    np.testing.assert_array_equal(pool.photo(1), pool.photo(1))


def test_unreadable_photos_are_named_and_left_out(folders):
    photos, masks = folders
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff but no more")
    pool = PhotoPool(photos, masks)
    (problem,) = pool.check()
    assert "broken.jpg" in problem
    assert len(pool) == 2
    assert pool.object_mask(pool.with_object[0]).any()


def test_a_mask_of_another_size_names_both(folders):
    photos, masks = folders
    Image.new("L", (10, 12)).save(masks / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png.*10 x 12.*40 x 32"):
        PhotoPool(photos, masks).check()


def test_missing_and_empty_folders_are_named(tmp_path, folders):
    with pytest.raises(DatasetError, match="nowhere"):
        PhotoPool(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="no photo"):
        PhotoPool(empty)
    with pytest.raises(DatasetError, match="no such folder"):
        PhotoPool(folders[0], tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="no mask has the name"):
        PhotoPool(folders[0], empty)


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(DatasetError, match=r"a\.jpg"):
        PhotoPool(tmp_path).check()


def test_photos_are_told_by_content_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    (tmp_path / "no_suffix").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.jpg_large").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "c.psd").write_bytes(b"8BPS\0\x01" + bytes(60))
    (tmp_path / "phone.HEIC").write_bytes(HEIC)
    (tmp_path / "d.jpg").write_bytes(b"no picture at all")
    (tmp_path / "notes.txt").write_text("not meant as a photo")
    pool = PhotoPool(tmp_path)
    assert [path.name for path in pool.photos] == [
        "a.png",
        "b.jpg_large",
        "no_suffix",
        "phone.HEIC",
    ]
    problems = pool.check()
    assert len(problems) == 2
    assert "c.psd" in problems[0]
    assert "d.jpg" in problems[1]


@pytest.mark.parametrize("suffix", [".PNG", ".jpg", ".bmp"])
def test_object_masks_are_found_with_any_suffix(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / "photos/a.jpg")
    mask = Image.new("L", (40, 32))
    mask.paste(255, (8, 8, 24, 24))
    (tmp_path / "masks").mkdir()
    mask.save(tmp_path / f"masks/a{suffix}")
    pool = PhotoPool(tmp_path / "photos", tmp_path / "masks")
    assert pool.object_mask(0).mean() == pytest.approx(0.2, abs=0.02)


def test_object_masks_of_zeros_and_ones_are_refused_by_name(tmp_path: Path) -> None:
    write_photo(tmp_path / "photos/a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(32, 40, dtype=np.uint8)).save(tmp_path / "masks/a.png")
    with pytest.raises(DatasetError, match=r"masks/a\.png"):
        PhotoPool(tmp_path / "photos", tmp_path / "masks").check()

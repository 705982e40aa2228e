"""Predictions of other methods: which file is an image's, and what its values mean."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.datasets import Sample
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.evaluation.predictions import SavedPredictions, read_map
from fasa_cli.imaging.encode import encode_probabilities

RAMP = np.linspace(0, 1, 12).reshape(3, 4)


def sample(name: str, width: int = 4, height: int = 3) -> Sample:
    return Sample(np.zeros((height, width, 3), np.uint8), None, "set", name)


def write(path: Path, values: np.ndarray = RAMP) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(path)
    return path


# --- Values ---------------------------------------------------------------------------------


def test_8_and_16_bits_are_scaled_and_floats_are_taken_as_they_are(tmp_path: Path) -> None:
    eight, _ = read_map(write(tmp_path / "8.png"))
    assert eight.dtype == np.float32
    np.testing.assert_allclose(eight, np.rint(RAMP * 255) / 255, atol=1e-7)
    (tmp_path / "16.png").write_bytes(encode_probabilities(RAMP))
    np.testing.assert_allclose(read_map(tmp_path / "16.png")[0], RAMP, atol=1 / 65535)
    np.save(tmp_path / "f.npy", RAMP[None])
    np.testing.assert_allclose(read_map(tmp_path / "f.npy")[0], RAMP, atol=1e-7)
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "f.tif")
    np.testing.assert_allclose(read_map(tmp_path / "f.tif")[0], RAMP, atol=1e-7)
    np.save(tmp_path / "bool.npy", RAMP > 0.5)
    assert set(np.unique(read_map(tmp_path / "bool.npy")[0])) == {0, 1}


def test_a_grey_picture_stored_in_colour_and_in_one_bit(tmp_path: Path) -> None:
    grey = Image.open(write(tmp_path / "grey.png"))
    grey.convert("RGB").save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(
        read_map(tmp_path / "rgb.png")[0], read_map(tmp_path / "grey.png")[0]
    )
    Image.fromarray(RAMP > 0.5).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_map(tmp_path / "bit.png")[0], RAMP > 0.5)


def test_an_npz_has_a_map_and_may_have_a_score(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", map=RAMP, conf=RAMP, score=0.25)
    values, score = read_map(tmp_path / "a.npz")
    np.testing.assert_allclose(values, RAMP, atol=1e-7)
    assert score == 0.25
    np.savez(tmp_path / "b.npz", anything=RAMP)
    assert read_map(tmp_path / "b.npz")[1] is None
    np.savez(tmp_path / "c.npz", first=RAMP, second=RAMP)
    with pytest.raises(ImageError, match="no array `map`; it has first, second"):
        read_map(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (RAMP * 2, r"in \[0, 1\], not in \[0.0, 2.0\]"),
        (np.full((3, 4), np.nan), "not in"),
        (np.zeros((2, 3, 4)), "two dimensions"),
        (np.zeros((0, 4)), "two dimensions"),
    ],
)
def test_arrays_that_are_no_maps(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ImageError, match=f"a.npy.*{message}"):
        read_map(tmp_path / "a.npy")


def test_pictures_that_are_no_maps(tmp_path: Path) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[..., 0] = 200
    Image.fromarray(pixels).save(tmp_path / "overlay.png")
    with pytest.raises(ImageError, match=r"overlay.png.*in colour"):
        read_map(tmp_path / "overlay.png")
    noise = np.random.default_rng(0).random((60, 60))
    whole = write(tmp_path / "a.png", noise).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"cut.png: cannot be read"):
        read_map(tmp_path / "cut.png")
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ImageError, match=r"pickled.npy"):
        read_map(tmp_path / "pickled.npy")


# --- Names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "images/sub/a.jpg.prob.png",
        "images/sub/a.jpg.mask.png",
        "images/sub/a.png",
        "images/sub/a.jpg.png",
        "sub/a.png",
        "a.png",
        "a.jpg",
    ],
)
def test_a_file_belongs_to_the_image_whose_name_it_bears(tmp_path: Path, file: str) -> None:
    write(tmp_path / file)
    write(tmp_path / "other" / "b.png", 1 - RAMP)
    found = SavedPredictions(tmp_path).predict_sample(sample("images/sub/a.jpg"))
    np.testing.assert_allclose(found.probabilities, RAMP, atol=0.1)  # JPEG is lossy
    assert found.score == found.probabilities.max()


def test_arrays_and_dotted_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.v2.jpg.npz", map=RAMP, score=0.3)
    found = SavedPredictions(tmp_path).predict_sample(sample("a.v2.jpg"))
    assert found.score == 0.3


def test_a_map_is_preferred_to_a_mask_and_overlays_are_none(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg.mask.png", np.zeros((3, 4)))
    write(tmp_path / "a.jpg.prob.png")
    write(tmp_path / "a.jpg.overlay.jpg")
    write(tmp_path / "_fasa" / "a.png")
    predictions = SavedPredictions(tmp_path)
    assert predictions.predict_sample(sample("a.jpg")).score == 1
    assert predictions.unused == 0


def test_two_files_for_one_name_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "a.bmp")
    with pytest.raises(DatasetError, match="two predictions for one image"):
        SavedPredictions(tmp_path)


def test_one_file_for_two_images_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    predictions = SavedPredictions(tmp_path)
    predictions.predict_sample(sample("images/a.jpg"))
    predictions.predict_sample(sample("images/a.jpg"))  # the same image may be asked for again
    with pytest.raises(DatasetError, match=r"both images/a.jpg and authentic/a.jpg"):
        predictions.predict_sample(sample("authentic/a.jpg"))


def test_a_missing_prediction_names_the_image(tmp_path: Path) -> None:
    write(tmp_path / "other" / "a.png")
    with pytest.raises(ImageError, match=r"no prediction for images/a.jpg; expected, say, a.png"):
        SavedPredictions(tmp_path).predict_sample(sample("images/a.jpg"))


def test_folders_without_predictions(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        SavedPredictions(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DatasetError, match="holds no mask"):
        SavedPredictions(tmp_path)


# --- Sizes and notes ------------------------------------------------------------------------


def test_a_map_has_the_images_or_the_protocols_size(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "b.png", np.ones((8, 8)))
    predictions = SavedPredictions(tmp_path)
    assert predictions.predict_sample(sample("a.jpg"), (8, 8)).probabilities.shape == (8, 8)
    assert predictions.predict_sample(sample("b.jpg"), (8, 8)).probabilities.shape == (8, 8)
    with pytest.raises(ImageError, match="is 8 x 8 pixels but its image 4 x 3; resize"):
        predictions.predict_sample(sample("b.jpg"))
    message = "is 8 x 8 pixels but its image 4 x 3 and the protocol 9 x 9"
    with pytest.raises(ImageError, match=re.escape(message)):
        predictions.predict_sample(sample("b.jpg"), (9, 9))


def test_notes_tell_masks_unused_files_and_forgotten_scales(tmp_path: Path) -> None:
    write(tmp_path / "a.png", RAMP > 0.5)
    write(tmp_path / "b.png")
    predictions = SavedPredictions(tmp_path)
    predictions.predict_sample(sample("a.jpg"))
    assert any("all predictions are masks" in note for note in predictions.notes)
    assert any("1 of 2 predictions belong to no image" in note for note in predictions.notes)
    predictions.predict_sample(sample("b.jpg"))
    assert predictions.notes == ()
    write(tmp_path / "dark" / "c.png", (RAMP > 0.5) / 255)
    dark = SavedPredictions(tmp_path / "dark")
    dark.predict_sample(sample("c.jpg"))
    assert dark.notes == ("no prediction is above 1 of 255; scale masks of 0 and 1 to 0 and 255",)


def test_the_hash_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a.png")
    write(tmp_path / "two" / "a.png")
    one, two = (SavedPredictions(tmp_path / name).sha256 for name in ("one", "two"))
    assert one == two
    write(tmp_path / "two" / "a.png", 1 - RAMP)
    assert SavedPredictions(tmp_path / "two").sha256 != one


def test_maps_that_leave_the_range_by_rounding_are_read(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0000002, -1e-7], [0.5, 0]], np.float32))
    values, _ = read_map(tmp_path / "a.npy")
    assert values.tolist() == [[1.0, 0.0], [0.5, 0.0]]
    np.save(tmp_path / "b.npy", np.array([[1.01, 0.0], [0, 0]], np.float32))
    with pytest.raises(ImageError, match=r"b\.npy"):
        read_map(tmp_path / "b.npy")

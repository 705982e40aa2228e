"""The Python face: what the README shows, and that importing it costs nothing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fasa_cli
from fasa_cli.errors import ImageError
from tests.conftest import write_photo


@pytest.fixture(scope="module")
def model(tiny_weights):
    return fasa_cli.load_model(tiny_weights, device="cpu")


def test_a_path_bytes_a_pillow_image_and_an_array_give_one_answer(model, tmp_path: Path) -> None:
    path = write_photo(tmp_path / "photo.png")
    pixels = fasa_cli.read_image(path).pixels
    expected = model.predict(pixels)
    assert isinstance(expected, fasa_cli.Prediction)
    assert expected.mask(0.5).shape == pixels.shape[:2]
    with Image.open(path) as image:
        for photo in (path, str(path), path.read_bytes(), image):
            answer = model.predict(photo)
            np.testing.assert_array_equal(answer.probabilities, expected.probabilities)


def test_a_pillow_image_is_turned_upright_as_a_file_is(model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (48, 32), "red").save(path, exif=exif)
    with Image.open(path) as image:
        assert model.predict(image).probabilities.shape == (48, 32)
    assert model.predict(path).probabilities.shape == (48, 32)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "alpha", "empty"],
)
def test_other_arrays_are_refused_with_the_cure(model, array) -> None:
    with pytest.raises(ImageError, match="uint8"):
        model.predict(array)


def test_missing_files_are_named(model) -> None:
    with pytest.raises(fasa_cli.FasaError, match=r"nowhere\.jpg"):
        model.predict("nowhere.jpg")


def test_a_folder_is_scanned_as_on_the_command_line(model, tmp_path: Path) -> None:
    write_photo(tmp_path / "photos/sub/a.png")
    (tmp_path / "photos/b.jpg").write_bytes(b"")
    summary = fasa_cli.scan(tmp_path / "photos", tmp_path / "masks", model=model)
    assert (summary.found, summary.analysed, summary.failed) == (2, 1, 1)
    assert (tmp_path / "masks/sub/a.png.mask.png").is_file()


def test_importing_changes_nothing_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, fasa_cli, PIL.Image as image; before = image.MAX_IMAGE_PIXELS\n"
        "heavy = {'torch', 'numpy', 'cv2', 'timm'} & set(sys.modules); assert not heavy, heavy\n"
        "assert 'load_model' in dir(fasa_cli)\n"
        "assert fasa_cli.__version__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="detect"):
        fasa_cli.detect  # noqa: B018


def test_a_file_is_inspected_without_torch(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")
    script = (
        "import sys, fasa_cli\n"
        f"inspection = fasa_cli.inspect_file({str(tmp_path / 'a.jpg')!r})\n"
        "assert inspection.coding.quality == 75, inspection.coding\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_scan_inspects_and_reads_all_pages(model, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (24, 16), (shade, 0, 0)) for shade in (10, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    out = tmp_path / "masks"
    summary = fasa_cli.scan(tmp_path / "a.tif", out, model=model, inspect=True, all_pages=True)
    assert (summary.found, summary.analysed) == (2, 2)
    lines = (out / "_fasa/results.jsonl").read_text().splitlines()
    assert [json.loads(line)["page"] for line in lines] == [1, 2]
    assert all(json.loads(line)["inspection"] for line in lines)

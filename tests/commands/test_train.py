"""`fasa train` as typed."""

import subprocess
import sys

import pytest

from tests.conftest import write_photo

SMALL = [
    *("--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0"),
    *("--set", "training.epochs=1", "--set", "training.samples_per_epoch=4"),
    *("--set", "training.batch=2", "--device", "cpu"),
]


def fasa(*arguments, cwd):
    command = [sys.executable, "-m", "fasa_cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_without_photos_it_trains_on_the_examples_and_says_so(tmp_path):
    tiny = ("--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0")
    done = fasa("train", *tiny, "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "example photos" in done.stderr
    weights = tmp_path / "runs" / "train" / "last.safetensors"
    assert weights.is_file()
    photo = write_photo(tmp_path / "photos" / "a.png")
    scanned = fasa(
        "scan",
        photo.parent,
        "--out",
        "masks",
        "--weights",
        weights,
        "--device",
        "cpu",
        cwd=tmp_path,
    )
    assert scanned.returncode == 0, scanned.stderr
    assert (tmp_path / "masks" / "a.png.mask.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no such folder"),
        (["photos", "--masks", "nowhere"], 1, "nowhere: no such folder"),
        (["photos", "--recipe", "gigantic"], 2, "there are: compact"),
        (["photos", "--set", "training.epoch=1"], 2, "did you mean 'epochs'"),
        (["photos", "--init", "nowhere.safetensors"], 1, "nowhere.safetensors"),
        (["photos", "--device", "cuda:77"], 1, "CUDA"),
    ],
)
def test_mistakes_name_the_cure(tmp_path, arguments, code, message):
    write_photo(tmp_path / "photos" / "a.png", size=(60, 60))
    done = fasa("train", *SMALL, *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr

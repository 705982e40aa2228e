"""`fasa train` as typed."""

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from tests.conftest import write_photo
from tests.training.conftest import write_mask

SMALL = [
    *("--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0"),
    *("--set", "training.epochs=1", "--set", "training.samples_per_epoch=4"),
    *("--set", "training.batch=2", "--device", "cpu"),
]


@pytest.fixture
def fasa(tmp_path, monkeypatch):
    """The command line, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_photos_it_trains_on_the_examples_and_says_so(fasa, tmp_path):
    tiny = ("--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0")
    done = fasa("train", *tiny, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert "example photos" in done.stderr
    weights = tmp_path / "runs" / "train" / "last.safetensors"
    assert weights.is_file()
    photo = write_photo(tmp_path / "photos" / "a.png")
    scanned = fasa("scan", photo.parent, "--out", "masks", "--weights", weights, "--device", "cpu")
    assert scanned.exit_code == 0, scanned.stderr
    assert (tmp_path / "masks" / "a.png.mask.png").is_file()


@pytest.fixture
def dataset(tmp_path):
    for seed in range(2):
        write_photo(tmp_path / "set" / "images" / f"m{seed}.png", seed, (60, 50))
        write_mask(tmp_path / "set" / "masks" / f"m{seed}.png", (60, 50))
    write_photo(tmp_path / "set" / "authentic" / "a.png", 9, (60, 50))
    return tmp_path / "set"


def test_data_sets_are_read_checked_and_resumed(fasa, tmp_path, dataset):
    write_photo(tmp_path / "photos" / "a.png", 3, size=(60, 60))
    command = ["train", *SMALL, "photos", "--data", "set", "--val", "set", "--variant", "dct"]
    done = fasa(*command)
    assert done.exit_code == 0, done.stderr
    for said in (
        "photos: photos, 1 images",
        "set: set, 3 images, 2 manipulated",
        "warning: set is both learned from and scored on",
        "tiny, variant dct",
        "3 steps on 1 x cpu, from step 0",  # 4 forged and 3 read, in batches of 2
        "samples/s",
        "waiting for data",
        "images 3  skipped 0",
    ):
        assert said in done.stderr
    assert done.stdout == ""
    run = tmp_path / "runs" / "train"
    for name in ("config.yaml", "data.json", "metrics.csv", "curves.png", "MODEL_CARD.md"):
        assert (run / name).is_file(), name
    again = fasa(*command)
    assert again.exit_code == 0, again.stderr
    assert "from step 3" in again.stderr
    other = fasa(*command, "--set", "training.seed=1")
    assert other.exit_code == 1
    assert "another configuration" in other.stderr
    same = fasa("train", "photos", "--config", run / "config.yaml", "--data", "set", "--val", "set",
                "--device", "cpu")  # fmt: skip
    assert "from step 3" in same.stderr


def test_what_cannot_be_used_stops_before_training(fasa, tmp_path, dataset):
    (dataset / "images" / "m1.png").write_bytes((dataset / "images" / "m1.png").read_bytes()[:99])
    command = ["train", *SMALL, "--data", "set"]
    done = fasa(*command)
    assert done.exit_code == 1
    assert "m1.png" in done.stderr
    assert "step" not in done.stderr
    lenient = fasa(*command, "--lenient")
    assert lenient.exit_code == 0, lenient.stderr
    assert "left out: unreadable: set/images/m1.png" in lenient.stderr
    assert "set: set, 2 images, 1 manipulated" in lenient.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "nowhere: no such folder"),
        (["--data", "nowhere"], 1, "nowhere: no such file"),
        (["photos", "--data", "photos"], 1, "photos: not a layout that is known"),
        (["photos", "--variant", "all"], 2, "model.variant"),
        (["photos", "--set", "training.accumulate=3"], 2, "cannot be divided"),
        (["photos", "--masks", "nowhere"], 1, "nowhere: no such folder"),
        (
            ["photos", "--recipe", "gigantic"],
            2,
            "there are: catnet-protocol, compact, ",
        ),
        (["photos", "--set", "training.epoch=1"], 2, "did you mean 'epochs'"),
        (["photos", "--init", "nowhere.safetensors"], 1, "nowhere.safetensors"),
        (["photos", "--device", "cuda:77"], 1, "CUDA"),
    ],
)
def test_mistakes_name_the_cure(fasa, tmp_path, arguments, code, message):
    write_photo(tmp_path / "photos" / "a.png", size=(60, 60))
    done = fasa("train", *SMALL, *arguments)
    assert done.exit_code == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_epochs_batch_and_rate_are_plain_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / "photos/a.png", size=(64, 64))
    small = ["--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0"]
    small += ["--set", "training.samples_per_epoch=4"]
    command = ["train", "photos", "--epochs", "1", "--batch", "2", "--lr", "0.003", *small]
    result = CliRunner().invoke(app, [*command, "--out", "run", "--device", "cpu"])
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "run/config.yaml").read_text()
    for line in ("epochs: 1", "batch: 2", "learning_rate: 0.003"):
        assert line in text

"""`fasa train` as typed."""

import json

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.training.folder import locked
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
        "photos: photos, 1 image",
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
    assert "training.seed (0 there, 1 here)" in other.stderr
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


def test_a_finished_run_can_be_extended_and_not_shortened(fasa, tmp_path):
    write_photo(tmp_path / "photos/a.png", size=(64, 64))
    command = ["train", "photos", *SMALL]
    assert fasa(*command).exit_code == 0
    more = fasa(*command, "--epochs", "3")
    assert more.exit_code == 0, more.stderr
    assert "extended from 1 to 3 epochs" in more.stderr
    assert "from step 2" in more.stderr
    run = tmp_path / "runs/train"
    assert "epochs: 3" in (run / "config.yaml").read_text()
    assert json.loads((run / "run.json").read_text())["extended"] == [{"epochs": 1, "to": 3}]
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").open()] == [2, 4, 6]
    fewer = fasa(*command)
    assert fewer.exit_code == 1
    assert "training.epochs (3 there, 1 here)" in fewer.stderr
    again = fasa(*command, "--epochs", "3")
    assert "nothing is left to do" in again.stderr
    (run / "trainer.safetensors").unlink()
    weights = (run / "last.safetensors").read_bytes()
    gone = fasa(*command, "--epochs", "3")
    assert gone.exit_code == 1
    assert "trainer.safetensors" in gone.stderr
    assert (run / "last.safetensors").read_bytes() == weights


def test_a_refusal_names_the_data_that_differ(fasa, tmp_path):
    write_photo(tmp_path / "photos/a.png", size=(64, 64))
    command = ["train", "photos", *SMALL]
    assert fasa(*command).exit_code == 0
    write_photo(tmp_path / "photos/b.png", 1, size=(64, 64))
    other = fasa(*command)
    assert other.exit_code == 1
    assert "photos (1 image," in other.stderr
    assert "2 images" in other.stderr


def test_object_masks_are_counted(fasa, tmp_path):
    for seed in range(2):
        write_photo(tmp_path / f"photos/{seed}.png", seed, (64, 64))
    write_mask(tmp_path / "objects/0.png", (64, 64))
    done = fasa("train", "photos", "--masks", "objects", *SMALL)
    assert done.exit_code == 0, done.stderr
    assert "of 1 of 2 photos" in done.stderr


def test_a_step_that_does_not_fit_is_refused_before_it(fasa, tmp_path, monkeypatch):
    monkeypatch.setattr("fasa_cli.training.memory.free_memory", lambda: 1000)
    write_photo(tmp_path / "photos/a.png", size=(64, 64))
    done = fasa("train", "photos", *SMALL)
    assert done.exit_code == 2
    assert "free on cpu" in done.stderr
    assert not (tmp_path / "runs/train/run.json").exists()


def test_a_second_training_is_kept_out_of_the_folder(fasa, tmp_path):
    write_photo(tmp_path / "photos/a.png", size=(64, 64))
    with locked(tmp_path / "runs/train"):
        other = fasa("train", "photos", *SMALL)
    assert other.exit_code == 1
    assert "another training" in other.stderr
    assert not (tmp_path / "runs/train/run.json").exists()
    assert fasa("train", "photos", *SMALL).exit_code == 0


def test_a_disk_that_was_full_at_the_last_checkpoint_keeps_no_run_from_resuming(
    fasa, tmp_path, monkeypatch
):
    write_photo(tmp_path / "photos/a.png", size=(64, 64))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("fasa_cli.training.folder.save_file", full)
        stopped = fasa("train", "photos", *SMALL)
    assert stopped.exit_code == 1
    assert "make room" in stopped.stderr
    again = fasa("train", "photos", *SMALL)
    assert again.exit_code == 0, again.stderr

"""`fasa ablate` as typed: five trainings, one table, resumable."""

import json

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from tests.conftest import write_photo
from tests.training.conftest import write_mask

SMALL = [
    *("--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0"),
    *("--set", "training.epochs=1", "--set", "training.batch=2", "--device", "cpu"),
]


@pytest.fixture
def fasa(tmp_path, monkeypatch):
    """The command line, in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def dataset(tmp_path):
    for seed in range(2):
        write_photo(tmp_path / "set" / "images" / f"m{seed}.png", seed, (60, 50))
        write_mask(tmp_path / "set" / "masks" / f"m{seed}.png", (60, 50))
    return tmp_path / "set"


def test_five_variants_fill_the_papers_table(fasa, tmp_path, dataset):
    command = ["ablate", "--data", "set", "--val", "set", *SMALL, "--out", "ablation"]
    done = fasa(*command)
    assert done.exit_code == 0, done.stderr
    header, rule, *rows = done.stdout.splitlines()
    assert header == "| Model Variation | Pixel F1 | Pixel IoU |"
    assert rule == "|---|---|---|"
    names = ["Baseline", "+ ADB-DCT", "+ PSA", "+ SF-SA", "+ PG-FMD (Full FASA)"]
    assert [row.split("|")[1].strip() for row in rows] == names
    out = tmp_path / "ablation"
    assert (out / "ablation.md").read_text() == done.stdout
    for row, variant in zip(rows, ("baseline", "dct", "psa", "sfsa", "full"), strict=True):
        line = json.loads((out / variant / "metrics.jsonl").read_text().splitlines()[-1])
        scores = [line["validation"][name] for name in ("pixel_f1", "pixel_iou")]
        assert row.split("|")[2:4] == [f" {score:.4f} " for score in scores]

    # Cut off in the fourth: the first three are not trained again, and the table is the same.
    for name in ("trainer.safetensors", "metrics.jsonl"):
        (out / "sfsa" / name).unlink()
    about = json.loads((out / "sfsa" / "run.json").read_text())
    (out / "sfsa" / "run.json").write_text(json.dumps(about | {"finished": False}))
    again = fasa(*command)
    assert again.exit_code == 0, again.stderr
    assert again.stdout == done.stdout
    assert "sfsa: step 1/1" in again.stderr
    for variant in ("baseline", "dct", "psa", "full"):
        assert f"{variant}: step" not in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "set"], "give a validation set with --val"),
        (["--val", "set"], "nothing to train on"),
    ],
)
def test_mistakes_name_the_cure(fasa, tmp_path, dataset, arguments, message):
    done = fasa("ablate", *SMALL, *arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr

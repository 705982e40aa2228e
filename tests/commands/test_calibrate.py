"""fasa calibrate, through the real command line."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.calibration import calibration_path, read_calibration
from tests.conftest import write_photo, write_set

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(70):
        write_photo(folder / ("one", "other")[number % 2] / f"{number}.png", number)
    write_set(folder.parent / "forged" / "set", manipulated=24, authentic=3)
    return folder


def calibrate(*arguments: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["calibrate", *map(str, arguments), "--device", "cpu"])
    return result.exit_code, result.output


def test_folders_and_data_sets_give_a_calibration_beside_a_file(
    photos: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c.json"
    sets = ("--authentic", photos, "--manipulated", photos.parent / "forged", "--recompress")
    code, said = calibrate(*sets, "--weights", tiny_weights, "--out", out)
    assert code == 0, said
    ours = read_calibration(out).calibration
    assert [(each.name, each.authentic, each.manipulated) for each in ours.sources] == [
        ("one", 35, 0),
        ("other", 35, 0),
        ("set", 3, 24),
    ]
    reference = ours.populations["all"]
    assert len(reference.authentic.scores) == 73
    assert len(reference.manipulated) == 24
    assert reference.ratio is not None
    assert all(len(each.sha256) == 64 for each in ours.sources)
    assert set(ours.populations) == {"all", "small", "recompressed"}
    assert sum(each.recompressed for each in ours.sources) == 97
    low, high = ours.populations["recompressed"].jpeg_quality or (0, 0)
    assert 50 <= low < high < 75
    assert "0.0135" in said  # the smallest rate
    assert calibration_path(tiny_weights).name == "tiny.calibration.json"


def test_too_few_photos_end_in_an_error_with_the_cure(
    photos: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c.json"
    chosen = ("--weights", tiny_weights, "--out", out, "--limit", 20)
    code, said = calibrate("--authentic", photos, *chosen)
    assert code == 1
    assert "40" in said
    assert "--authentic" in said
    assert not out.exists()


def test_what_is_not_there_is_named(tiny_weights: Path, tmp_path: Path) -> None:
    code, said = calibrate("--authentic", tmp_path / "nowhere", "--weights", tiny_weights)
    assert code == 1
    assert "nowhere" in said
    code, said = calibrate("--authentic", tmp_path, "--half", "third", "--weights", tiny_weights)
    assert code == 2

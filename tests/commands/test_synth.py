"""`fasa synth` as people call it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from tests.data.test_autoencoder import two_files  # noqa: F401  (a fixture)

PHOTOS = Path(__file__).parents[2] / "examples" / "authentic"


def fasa_synth(*arguments: object) -> Result:
    small = ["--longest", "160", "--count", "4"]
    return CliRunner().invoke(app, ["synth", str(PHOTOS), *small, *map(str, arguments)])


def test_a_data_set_that_other_commands_read(tmp_path: Path) -> None:
    result = fasa_synth("--out", tmp_path / "set", "--kinds", "splice,local", "--authentic", 0)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert "4 pictures in" in result.stderr
    assert "copy_move" not in result.stderr
    assert len(list((tmp_path / "set" / "masks").iterdir())) == 4
    check = CliRunner().invoke(app, ["data", "check", str(tmp_path / "set")])
    assert check.exit_code == 0, check.stderr


def test_rerendering_with_an_autoencoder(tmp_path: Path, two_files: Path) -> None:  # noqa: F811
    file = two_files / "tiny_encoder.safetensors"
    result = fasa_synth("--out", tmp_path / "set", "--autoencoder", file, "--authentic", 0)
    assert result.exit_code == 0, result.stderr
    assert "(4 rerender)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--kinds", "teleport"], 2, "no teleport; there are splice"),
        (["--kinds", "rerender"], 2, "--autoencoder"),
        (["--autoencoder", "nowhere.safetensors"], 1, "nowhere.safetensors"),
        (["--masks", "nowhere"], 1, "nowhere: no such folder"),
        (["--authentic", "2"], 2, "--authentic"),
    ],
)
def test_errors(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    result = fasa_synth("--out", tmp_path / "set", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not (tmp_path / "set").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    result = fasa_synth("--out", tmp_path)
    assert result.exit_code == 1
    assert "holds something already" in result.stderr

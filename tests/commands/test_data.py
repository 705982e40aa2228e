"""`fasa data` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fasa_cli.app import app
from fasa_cli.imaging.decode import read_image
from tests.data.test_layouts import casia2, mask, photo

EXAMPLES = Path(__file__).parents[2] / "examples"


def fasa_data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_0_nothing_is_wrong() -> None:
    result = fasa_data("check", EXAMPLES)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "7 manipulated, 4 authentic" in result.stderr
    assert "nothing is wrong" in result.stderr


def test_3_problems_and_the_report_as_json(tmp_path: Path) -> None:
    casia2(tmp_path)
    photo(tmp_path / "Tp" / "lost.jpg")
    result = fasa_data("check", tmp_path, "--json")
    assert result.exit_code == 3
    report = json.loads(result.stdout)
    where = str(tmp_path / "Tp" / "lost.jpg")
    assert {"kind": "images without a mask", "where": where} in report["problems"]
    assert report["shares"] == [0.125, 0.125, 0.125]
    assert "images without a mask: 1\n" in result.stderr


def test_3_pictures_shared_with_another_set() -> None:
    result = fasa_data("check", EXAMPLES, "--against", EXAMPLES)
    assert result.exit_code == 3
    assert "pictures that the other data set holds too: 11" in result.stderr
    assert "and 6 more" in result.stderr


@pytest.mark.parametrize("command", [["check"], ["show", "--out", "sheet.png"]])
def test_no_data_set_and_no_layout(tmp_path: Path, command: list[str]) -> None:
    result = fasa_data(*command, tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "nowhere: no such file or folder" in result.stderr
    result = fasa_data(*command, tmp_path, "--layout", "casio")
    assert (result.exit_code, "there are columbia" in result.stderr) == (2, True)


def test_lists_with_a_root(tmp_path: Path) -> None:
    photo(tmp_path / "there" / "a.jpg")
    mask(tmp_path / "there" / "a.png")
    (tmp_path / "list.txt").write_text("a.jpg a.png\n")
    assert fasa_data("check", tmp_path / "list.txt").exit_code == 3
    assert fasa_data("check", tmp_path / "list.txt", "--root", tmp_path / "there").exit_code == 0


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_show_writes_a_picture(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"sheet{suffix}"
    result = fasa_data("show", EXAMPLES, "--out", out, "--count", 4)
    assert result.exit_code == 0, result.stderr
    assert read_image(out).format == {".png": "PNG", ".jpg": "JPEG"}[suffix]
    assert "4 samples" in result.stderr


def test_2_a_picture_of_another_kind(tmp_path: Path) -> None:
    assert fasa_data("show", EXAMPLES, "--out", tmp_path / "sheet.gif").exit_code == 2


def test_help_names_every_layout_and_protocol() -> None:
    from fasa_cli.commands.options import LAYOUTS, PROTOCOLS
    from fasa_cli.data.datasets import LAYOUT_NAMES
    from fasa_cli.evaluation.metrics import PROTOCOLS as KNOWN

    assert sorted(LAYOUTS.split(", ")) == sorted(LAYOUT_NAMES)
    assert tuple(KNOWN) == PROTOCOLS

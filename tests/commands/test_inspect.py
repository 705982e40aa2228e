"""fasa inspect through the real command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from fasa_cli.app import app
from tests.inspection.files import exif_block, jpeg, scene, small


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/plain.jpg").write_bytes(jpeg(scene(), 77))
    block = exif_block(small(scene(seed=4)), Make="M", Software="GIMP 2.10")
    (tmp_path / "photos/other.jpg").write_bytes(jpeg(scene(), exif=block))
    return tmp_path


def test_one_photo_is_described_in_full(folder: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", "photos/other.jpg"])
    assert done.exit_code == 0
    for word in ("HIGH", "thumbnail", "GIMP 2.10", "Quantisation table 0", "photos/other.jpg"):
        assert word in done.stdout


def test_several_photos_get_a_line_each(folder: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", "photos"])
    assert done.exit_code == 0
    other, plain = done.stdout.splitlines()
    assert "preview shows something else" in other
    assert "quality 77" in plain


def test_json_lines_hold_everything(folder: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", "photos", "--json"])
    other, plain = map(json.loads, done.stdout.splitlines())
    assert plain["coding"]["quality"] == 77
    assert plain["jpeg"]["tables"]["0"]
    assert other["metadata"]["exif"]["Software"] == "GIMP 2.10"
    assert other["previews"][0]["size"] == [160, 120]


def test_exit_codes(folder: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["inspect", "photos", "--fail-on", "high"]).exit_code == 10
    assert run(app, ["inspect", "photos/plain.jpg", "--fail-on", "low"]).exit_code == 0
    Path("photos/text.jpg").write_text("no picture")
    failed = run(app, ["inspect", "photos", "--fail-on", "high"])
    assert failed.exit_code == 3
    assert "text.jpg" in failed.stderr
    Path("empty").mkdir()
    assert run(app, ["inspect", "empty"]).exit_code == 4
    assert run(app, ["inspect"]).exit_code == 2


def test_no_torch_is_imported(folder: Path) -> None:
    script = (
        "import sys\n"
        "from fasa_cli.app import app\n"
        "try: app(['inspect', 'photos', '--json'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'skimage', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_maps_are_written_beside_their_captions(folder: Path) -> None:
    done = CliRunner().invoke(app, ["inspect", "photos", "--maps", "maps", "--json"])
    assert done.exit_code == 0, done.stderr
    for line in map(json.loads, done.stdout.splitlines()):
        assert set(line["maps"]) == {"double-compression", "ghosts", "grids"}
        for kind, one in line["maps"].items():
            assert Path(one["path"]) == Path("maps") / f"{Path(line['path']).name}.{kind}.png"
            assert Image.open(one["path"]).size == (320, 240)
            assert len(one["caption"]) > 20
    Path("file").write_text("no folder")
    failed = CliRunner().invoke(app, ["inspect", "photos", "--maps", "file/maps"])
    assert failed.exit_code == 1
    assert "--maps" in failed.stderr

"""Another version of a photo and its place in an archive, against known changes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.inspection.archive import find_origins, read_archive
from fasa_cli.inspection.versions import compare_versions, register
from tests.inspection.files import jpeg, scene


def drawn(seed: int = 0) -> np.ndarray:
    """480 x 640 x 3 uint8: a scene with shapes that have corners, each picture its own."""
    generator = np.random.default_rng(seed + 100)
    picture = scene(640, 480, seed)
    for _ in range(60):
        x, y = (int(generator.integers(side)) for side in (600, 440))
        colour = tuple(int(one) for one in generator.integers(0, 256, 3))
        size = int(generator.integers(6, 40))
        if generator.random() < 0.5:
            cv2.rectangle(picture, (x, y), (x + size, y + size), colour, -1)
        else:
            cv2.circle(picture, (x, y), size // 2, colour, -1)
    return picture


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))


def derived(pixels: np.ndarray, scale: float = 0.8) -> np.ndarray:
    """A crop from (100, 60) of 400 x 320 pixels, scaled and compressed."""
    part = cv2.resize(pixels[60:380, 100:500], None, fx=scale, fy=scale)
    data = np.frombuffer(jpeg(part, 75), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_crop_scale_turn_and_mirror_are_found(quarters: int, mirrored: bool) -> None:
    original = drawn()
    photo = derived(original)
    photo = np.rot90(photo[:, ::-1] if mirrored else photo, -quarters)
    found = register(grey(photo), grey(original))
    assert found is not None
    assert found.mirrored == mirrored
    assert found.scale == pytest.approx(0.8, rel=0.02)
    assert np.allclose(found.box, (100, 60, 400, 320), atol=4)
    if not mirrored:
        assert (found.turned - 90 * quarters + 180) % 360 == pytest.approx(180, abs=1)


def test_the_matrix_leads_to_the_same_pixels() -> None:
    original = drawn()
    found = register(grey(derived(original)), grey(original))
    assert found is not None
    place = found.matrix @ np.array([160.0, 128.0, 1.0])  # the middle of the crop
    assert np.allclose(place, (300, 220), atol=2)


def test_another_picture_is_no_version() -> None:
    result = compare_versions(grey(drawn(5)), grey(drawn()), "other.jpg")
    assert result.registration is None
    assert [one.kind for one in result.findings] == ["no other version"]


def test_differences_are_mapped_where_they_are() -> None:
    original = drawn()
    photo = derived(original)
    same = compare_versions(grey(photo), grey(original), "original.png")
    assert [one.kind for one in same.findings] == ["another version"]
    photo[100:160, 120:200] = 255 - photo[100:160, 120:200]
    changed = compare_versions(grey(photo), grey(original), "original.png")
    assert changed.difference is not None
    assert changed.difference.shape == photo.shape[:2]
    assert {one.kind for one in changed.findings} == {
        "another version",
        "differs from another version",
    }
    inside = np.zeros(photo.shape[:2], bool)
    inside[100:160, 120:200] = True
    assert changed.difference[inside].mean() > 20 * changed.difference[~inside].mean()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("archive/sub").mkdir(parents=True)
    for seed in range(5):
        Path(f"archive/sub/{seed}.jpg").write_bytes(jpeg(drawn(seed), 90))
    Path("archive/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Path("photo.jpg").write_bytes(jpeg(derived(drawn(3)), 80))
    return tmp_path


def test_the_photo_of_an_archive_is_found_and_no_other(folder: Path) -> None:
    archive, failed = read_archive(
        [*(f"archive/sub/{seed}.jpg" for seed in range(5)), "archive/broken.jpg"]
    )
    assert [path for path, _ in failed] == ["archive/broken.jpg"]
    for photo in (derived(drawn(3)), np.rot90(drawn(3))):
        origins = find_origins(grey(photo), archive)
        assert [one.path for one in origins] == ["archive/sub/3.jpg"]
    assert find_origins(grey(drawn(77)), archive) == []


def test_the_command_compares_and_finds(folder: Path) -> None:
    arguments = ["inspect", "photo.jpg", "--compare", "archive/sub/3.jpg", "--maps", "maps"]
    done = CliRunner().invoke(app, [*arguments, "--find-in", "archive", "--json"])
    assert done.exit_code == 0, done.stderr
    assert "broken.jpg" in done.stderr
    line = json.loads(done.stdout)
    assert "difference" in line["maps"]
    assert Path("maps/photo.jpg.difference.png").exists()
    compared, found = line["versions"]
    assert compared["path"] == "archive/sub/3.jpg"
    assert Path(found["path"]).as_posix() == "archive/sub/3.jpg"
    assert np.allclose(found["box"], (100, 60, 400, 320), atol=4)
    missing = CliRunner().invoke(app, ["inspect", "photo.jpg", "--compare", "gone.jpg"])
    assert missing.exit_code == 1
    assert "gone.jpg" in missing.stderr

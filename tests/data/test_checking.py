"""What the check of a data set finds."""

from pathlib import Path

import pytest

from fasa_cli.data.checking import check, count
from fasa_cli.data.datasets import read_dataset
from tests.conftest import write_photo
from tests.data.test_layouts import casia2, mask


def photo(path: Path, seed: int) -> Path:
    return write_photo(path, seed, (8, 6))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b")):
        photo(tmp_path / "set" / "images" / f"{name}.png", seed)
        mask(tmp_path / "set" / "masks" / f"{name}.png")
    photo(tmp_path / "set" / "authentic" / "c.png", 9)
    return tmp_path / "set"


def problems(root: Path, **options) -> list[tuple[str, str]]:
    report = check(read_dataset(root, lenient=True), **options)
    return [(problem.kind, problem.where) for problem in report.problems]


def test_a_clean_data_set(root: Path) -> None:
    calls = []
    dataset = read_dataset(root)
    report = check(dataset, advance=lambda: calls.append(1))
    assert (report.images, report.manipulated, report.authentic) == (3, 2, 1)
    assert report.shares == (0.125, 0.125, 0.125)
    assert report.problems == report.notes == ()
    assert len(calls) == count(dataset) == 3


def test_what_is_wrong_is_named(root: Path) -> None:
    photo(root / "images" / "lonely.png", 3)
    mask(root / "masks" / "orphan.png")
    photo(root / "images" / "empty.png", 4)
    mask(root / "masks" / "empty.png", 0)
    photo(root / "images" / "odd.png", 5)
    mask(root / "masks" / "odd.png", size=(7, 6))
    photo(root / "images" / "dim.png", 6)
    mask(root / "masks" / "dim.png", 1)
    (root / "authentic" / "broken.png").write_bytes(b"no image")
    photo(root / "authentic" / "again.bmp", 9)
    kinds = dict(problems(root))
    assert list(kinds) == [
        "images without a mask",
        "masks without an image",
        "mask values",
        "masks that mark nothing",
        "size mismatch",
        "unreadable",
        "duplicate pictures",
    ]
    assert kinds["images without a mask"].endswith("images/lonely.png")
    assert kinds["size mismatch"].count(" x ") == 2
    assert kinds["duplicate pictures"] == "authentic/c.png is authentic/again.bmp"


def test_pictures_shared_with_another_data_set(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    photo(other / "authentic" / "x.bmp", 0)
    found = problems(root, against=read_dataset(other))
    kind = "pictures that the other data set holds too"
    assert found == [(kind, "images/a.png is other: authentic/x.bmp")]


def test_notes_are_kept(tmp_path: Path) -> None:
    casia2(tmp_path)
    mask(tmp_path / "CASIA 2 Groundtruth" / "Tp_D_CNN_S_N_b_gt.png", size=(6, 8))
    report = check(read_dataset(tmp_path))
    assert "lay on its side" in report.notes[0]


def test_a_balanced_list_is_checked_member_by_member(root: Path) -> None:
    path = root.parent / "list.json"
    path.write_text('[["ManiDataset", "set"], ["ManiDataset", "set"]]')
    dataset = read_dataset(path)
    assert count(dataset) == 6
    assert check(dataset).kinds == {"duplicate pictures": 3}

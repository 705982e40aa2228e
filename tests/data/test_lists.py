"""Lists of files: what authentic is called, where paths start, and equal draws."""

import json
from collections import Counter
from pathlib import Path

import pytest

from fasa_cli.data.datasets import find_layout, read_dataset
from fasa_cli.errors import DatasetError
from tests.data.test_layouts import mask, photo


@pytest.fixture
def files(tmp_path: Path) -> Path:
    photo(tmp_path / "data" / "a.jpg")
    photo(tmp_path / "data" / "b.jpg")
    mask(tmp_path / "data" / "a.png")
    return tmp_path


def marked(path: Path, **options) -> list[int | None]:
    """How many pixels are manipulated in each sample."""
    dataset = read_dataset(path, **options)
    return [s.target_mask if s.target_mask is None else int(s.target_mask.sum()) for s in dataset]


def test_json(files: Path) -> None:
    path = files / "set.json"
    path.write_text(json.dumps([["data/b.jpg", "Negative"], ["data/a.jpg", "data/a.png"]]))
    assert find_layout(path) == "json"
    assert marked(path) == [None, 6]
    assert read_dataset(path).name == "set"
    assert read_dataset(path)[0].name == "data/b.jpg"


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,a.png\nb.jpg,None\n",
        "a.jpg a.png edge.png 1\r\nb.jpg None None 0\r\n\n",
        "a.jpg\ta.png\t1\nb.jpg\tNone\t0",
    ],
)
def test_text_lists_with_a_root(files: Path, text: str) -> None:
    path = files / "list.txt"
    path.write_text(text)
    assert marked(path, root=files / "data") == [6, None]
    with pytest.raises(DatasetError, match=r"listed but missing: .*a\.jpg"):
        read_dataset(path)


def test_lists_with_commas_count_any_value(files: Path) -> None:
    mask(files / "data" / "a.png", 1)
    (files / "comma.txt").write_text("data/a.jpg,data/a.png")
    (files / "blank.txt").write_text("data/a.jpg data/a.png")
    assert marked(files / "comma.txt") == [6]
    with pytest.raises(DatasetError, match="highest value is 1"):
        marked(files / "blank.txt")


def test_lines_without_a_mask_are_named(files: Path) -> None:
    (files / "list.txt").write_text("data/a.jpg data/a.png\ndata/b.jpg\n")
    with pytest.raises(DatasetError, match=r"list\.txt: line 2 has no mask"):
        read_dataset(files / "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "as JSON"), ("{}", "expected"), ("[]", "expected"), ('[["a"]]', "item 1 is no pair")],
)
def test_json_that_is_no_list(files: Path, text: str, message: str) -> None:
    (files / "set.json").write_text(text)
    with pytest.raises(DatasetError, match=rf"set\.json.*{message}"):
        read_dataset(files / "set.json")


def test_balanced_lists_draw_equally_and_the_same_every_time(files: Path) -> None:
    (files / "data.json").write_text(json.dumps([["data/b.jpg", "Negative"]]))
    for name in ("x", "y", "z"):
        photo(files / "folder" / "Tp" / f"{name}.jpg")
        mask(files / "folder" / "Gt" / f"{name}.png")
    path = files / "balanced.json"
    path.write_text(json.dumps([["JsonDataset", "data.json"], ["ManiDataset", "folder"]]))
    assert find_layout(path) == "balanced"
    dataset = read_dataset(path)
    assert len(dataset) == 2 * 1840
    drawn = [dataset[index] for index in range(1800, 1900)]
    assert Counter(sample.source for sample in drawn) == {"data": 40, "folder": 60}
    assert len({sample.name for sample in drawn}) == 4
    assert [dataset[i].name for i in range(1800, 1900)] == [sample.name for sample in drawn]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_members_may_be_called_by_their_layout(files: Path) -> None:
    (files / "list.txt").write_text("data/a.jpg data/a.png")
    path = files / "balanced.json"
    path.write_text(json.dumps([["list", "list.txt"]]))
    assert read_dataset(path)[0].name == "data/a.jpg"
    path.write_text(json.dumps([["lost", "list.txt"]]))
    with pytest.raises(
        DatasetError, match=r"balanced\.json: no kind 'lost'; there are ManiDataset"
    ):
        read_dataset(path, layout="balanced")

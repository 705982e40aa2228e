"""OpenSDI's rows: what counts as manipulated, and how much is read at a time."""

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.datasets import find_layout, read_dataset
from fasa_cli.errors import DatasetError

pyarrow = pytest.importorskip("pyarrow", reason="parquet is an optional extra")
parquet = pytest.importorskip("pyarrow.parquet")


def png(value: int, size: tuple[int, int] = (8, 6)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(buffer, "PNG")
    return buffer.getvalue()


def half_mask() -> bytes:
    mask = np.zeros((6, 8), np.uint8)
    mask[:3] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, rows: list[dict], row_group_size: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, path, row_group_size=row_group_size)
    return path


@pytest.fixture
def rows() -> list[dict]:
    def cell(data: bytes | None) -> dict | None:
        return data and {"bytes": data, "path": None}

    return [
        {"key": "real/a.jpg", "image": cell(png(1)), "mask": None, "label": 0},
        {"key": "partial/b.jpg", "image": cell(png(2)), "mask": cell(half_mask()), "label": 1},
        {"key": "entire/c.jpg", "image": cell(png(3)), "mask": None, "label": 1},
    ]


def test_rows_become_samples(tmp_path: Path, rows: list[dict]) -> None:
    write(tmp_path / "data" / "test-00000.parquet", rows)
    write(tmp_path / "data" / "test-00001.parquet", rows[:1])
    assert find_layout(tmp_path) == "parquet"
    dataset = read_dataset(tmp_path)
    samples = list(dataset)
    assert len(dataset) == len(samples) == 4
    assert [sample.name for sample in samples[:3]] == [row["key"] for row in rows]
    assert [sample.image[0, 0, 0] for sample in samples] == [1, 2, 3, 1]
    masks = [sample.target_mask for sample in samples]
    assert [mask if mask is None else mask.mean() for mask in masks] == [None, 0.5, 1.0, None]
    assert dataset[2].image[0, 0, 0] == 3
    with pytest.raises(IndexError):
        dataset[4]


def test_raw_bytes_and_rows_without_key_or_label(tmp_path: Path) -> None:
    rows = [{"image": png(5), "mask": half_mask()}, {"image": png(6), "mask": None}]
    dataset = read_dataset(write(tmp_path / "a.parquet", rows))
    assert [sample.target_mask is None for sample in dataset] == [False, True]
    assert dataset[1].name == "a.parquet:1"


def test_few_row_groups_are_held_and_none_is_pickled(
    tmp_path: Path, rows: list[dict], monkeypatch
) -> None:
    dataset = read_dataset(write(tmp_path / "a.parquet", rows * 3, row_group_size=2))
    monkeypatch.setattr("fasa_cli.data.parquet.HELD_BYTES", 2 * max(dataset._sizes))
    reads = []
    read = dataset._read
    monkeypatch.setattr(dataset, "_read", lambda group: reads.append(group) or read(group))
    for index in (0, 1, 2, 0, 4, 2, 0):
        assert dataset[index].name == rows[index % 3]["key"]
        assert len(dataset._held) <= 2
    assert reads == [0, 1, 2, 0]  # 0 made room for 2, and had to be read again
    copy = pickle.loads(pickle.dumps(read_dataset(tmp_path / "a.parquet")))
    assert copy._held == {}
    assert copy[8].name == dataset[8].name


def test_a_shuffle_mixes_the_rows_of_the_groups_that_fit(
    tmp_path: Path, rows: list[dict], monkeypatch
) -> None:
    dataset = read_dataset(write(tmp_path / "a.parquet", rows[:1] * 40, row_group_size=5))
    monkeypatch.setattr("fasa_cli.data.parquet.HELD_BYTES", 2 * max(dataset._sizes))
    order = dataset.shuffled(np.random.default_rng(3))
    assert sorted(order) == list(range(40))
    assert order.tolist() == dataset.shuffled(np.random.default_rng(3)).tolist()
    groups = [set(order[start : start + 10] // 5) for start in range(0, 40, 10)]
    assert [len(group) for group in groups] == [2, 2, 2, 2]
    assert [group for group in groups if min(group) + 1 < max(group)]  # groups are mixed, too


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": {"bytes": b"no image"}}, r"a\.parquet:0 \(k\).*not an image"),
        ({"image": None}, "no image"),
        ({"label": 7}, "label 7"),
        ({"mask": {"bytes": png(0, (3, 3))}}, "8 x 6 pixels but its mask 3 x 3"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: dict, message: str) -> None:
    row = {"key": "k", "image": {"bytes": png(1)}, "mask": {"bytes": half_mask()}, "label": 1}
    with pytest.raises(DatasetError, match=message):
        read_dataset(write(tmp_path / "a.parquet", [row | change]))[0]


def test_files_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.parquet: no column `image`; it has x"):
        read_dataset(write(tmp_path / "a.parquet", [{"x": 1}]))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(DatasetError, match=r"b\.parquet: not a parquet file"):
        read_dataset(tmp_path / "b.parquet")


def test_without_pyarrow_the_cure_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(DatasetError, match=r"install fasa-cli\[parquet\]"):
        read_dataset(tmp_path / "a.parquet")

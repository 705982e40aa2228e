"""A forged data set on disk: reproducible, described, and readable as a data set."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.config import DataConfig
from fasa_cli.data.datasets import read_dataset
from fasa_cli.data.forged_set import MANIFEST, write_forged_set
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.synthesis import Forger
from fasa_cli.errors import OutputError
from tests.data.test_synthesis import textured


@pytest.fixture
def forger(tmp_path: Path) -> Forger:
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a", "sub/b")):
        Image.fromarray(textured(seed, (90, 120))).save(tmp_path / "photos" / f"{name}.png")
    return Forger(PhotoPool(tmp_path / "photos"), DataConfig(authentic_share=0.3))


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_is_a_data_set_with_a_manifest(forger: Forger, tmp_path: Path) -> None:
    calls = []
    kinds = write_forged_set(forger, tmp_path / "set", 12, seed=3, advance=lambda: calls.append(1))
    assert sum(kinds.values()) == len(calls) == 12
    dataset = read_dataset(tmp_path / "set")
    authentic = sum(sample.target_mask is None for sample in dataset)
    assert len(dataset) == 12
    assert authentic == kinds["authentic"] > 0
    with (tmp_path / "set" / MANIFEST).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == sorted(sample.name for sample in dataset)
    assert {row["photo"] for row in rows} == {"a.png", "sub/b.png"}
    for row in rows:
        data = (tmp_path / "set" / row["file"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert row["kind"] in row["file"]
        assert row["seed"] == "3"


def test_the_same_seed_gives_the_same_bytes(forger: Forger, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        write_forged_set(forger, tmp_path / name, 5, seed=seed)
    assert files(tmp_path / "one") == files(tmp_path / "again")
    assert files(tmp_path / "one") != files(tmp_path / "other")
    write_forged_set(forger, tmp_path / "longer", 7, seed=1)
    longer = files(tmp_path / "longer")
    shorter = {name: data for name, data in files(tmp_path / "one").items() if name != MANIFEST}
    assert shorter.items() <= longer.items()


def test_photos_can_be_limited_in_size(forger: Forger, tmp_path: Path) -> None:
    write_forged_set(forger, tmp_path / "set", 4, longest=60)
    sizes = [max(np.asarray(sample.image).shape[:2]) for sample in read_dataset(tmp_path / "set")]
    assert max(sizes) <= 60 * 1.4


def test_nothing_is_overwritten(forger: Forger, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="photos: holds something already"):
        write_forged_set(forger, tmp_path / "photos", 1)
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="file"):
            write_forged_set(forger, out, 1)

"""What is learned from: looked through before training, and drawn in a fixed order."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from fasa_cli.errors import DatasetError
from fasa_cli.training.checks import check_sets as check
from fasa_cli.training.samples import SampleSchedule, TrainingSamples
from fasa_cli.training.sources import ReadSet, Sources
from fasa_cli.training.sources import open_sources as open_all
from tests.conftest import write_photo
from tests.training.conftest import tiny_config, write_mask

TINY = tiny_config()


class Numbers:
    """A stand-in for a data set: only its length matters to the order."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length


def places(order, epoch):
    length = order.steps_per_epoch * BATCH
    return [order.place(epoch * length + position) for position in range(length)]


BATCH = 4


def test_an_epoch_has_every_sample_once_and_the_forgeries_among_them():
    order = SampleSchedule([ReadSet(Numbers(5)), ReadSet(Numbers(3))], made=4, batch=BATCH, seed=0)
    assert order.per_epoch == 12
    first, second = places(order, 0), places(order, 1)
    for epoch in (first, second):
        assert sorted(place for place in epoch if place[0] == 0) == [(0, i) for i in range(5)]
        assert sorted(place for place in epoch if place[0] == 1) == [(1, i) for i in range(3)]
        assert sum(part is None for part, _ in epoch) == 4
    assert first != second
    again = SampleSchedule([ReadSet(Numbers(5)), ReadSet(Numbers(3))], made=4, batch=BATCH, seed=0)
    assert places(again, 1) == second  # whatever was asked before
    other = SampleSchedule([ReadSet(Numbers(5)), ReadSet(Numbers(3))], made=4, batch=BATCH, seed=1)
    assert places(other, 0) != first


def test_an_equal_draw_takes_as_many_from_small_and_large_sets():
    sets = [ReadSet(Numbers(3), draws=1840), ReadSet(Numbers(5000), draws=1840)]
    order = SampleSchedule(sets, made=0, batch=BATCH, seed=0)
    drawn = places(order, 0)
    assert len(drawn) == 2 * 1840
    small = [index for part, index in drawn if part == 0]
    large = [index for part, index in drawn if part == 1]
    assert len(small) == len(large) == 1840
    assert set(small) == {0, 1, 2}
    assert len(set(large)) < 1840  # with replacement
    assert np.bincount(small).min() > 500
    halves = [part for part, _ in drawn[:1840]]
    assert 800 < sum(halves) < 1040  # mixed, not one set after the other


def test_what_is_left_out_is_never_drawn():
    read = ReadSet(Numbers(6), left_out=frozenset({1, 4}))
    assert len(read) == 4
    order = SampleSchedule([read], made=0, batch=2, seed=0)
    drawn = {order.place(number)[1] for number in range(40)}
    assert drawn == {0, 2, 3, 5}
    draws = SampleSchedule([ReadSet(Numbers(6), 100, frozenset({1, 4}))], made=0, batch=2, seed=0)
    assert {draws.place(number)[1] for number in range(100)} == {0, 2, 3, 5}


def test_a_batch_larger_than_an_epoch_goes_round():
    order = SampleSchedule([ReadSet(Numbers(3))], made=0, batch=8, seed=0)
    assert order.steps_per_epoch == 1
    drawn = [order.place(number)[1] for number in range(8)]
    assert sorted(np.bincount(drawn).tolist()) == [2, 3, 3]


def test_shares_are_disjoint_and_complete(write_set):
    sources = open_all(TINY, validation=write_set("val", 4, 3))
    for count in (1, 2, 3, 5):
        names = [
            sample.name for rank in range(count) for sample in sources.validation.share(rank, count)
        ]
        assert len(names) == len(set(names)) == 7


def test_read_samples_are_augmented_and_authentic_ones_are_unmarked(write_set):
    config = tiny_config({"resize": 0.0, "blur": 0.0, "jpeg": 0.0})
    samples = TrainingSamples(open_all(config, sets=[write_set("set")]), config)
    assert len(samples) == 2 * 2  # one of three is left over in each of two epochs
    seen = {}
    for number in range(4):
        image, mask = samples[number]
        assert tuple(image.shape) == (32, 32, 3)
        assert tuple(mask.shape) == (32, 32)
        name = samples.make(number).name
        seen[name] = bool(mask.any())
        assert (samples.make(number).image == image.numpy()).all()
    assert seen
    assert all(marked == name.startswith("images/") for name, marked in seen.items())


def test_photos_and_sets_are_mixed(write_set, photos):
    config = tiny_config()
    sources = open_all(config, photos=photos, sets=[write_set("set")])
    samples = TrainingSamples(sources, config)
    assert samples.order.per_epoch == 6 + 3
    origins = {samples.make(number).source for number in range(len(samples))}
    assert origins == {"photos", "set"}


def test_resizing_shows_most_of_the_picture(tmp_path):
    root = tmp_path / "large"
    image = np.zeros((200, 300, 3), np.uint8)
    image[:, :150] = 255
    (root / "images").mkdir(parents=True)
    Image.fromarray(image).save(root / "images" / "a.png")
    mask = np.zeros((200, 300), np.uint8)
    mask[:, :150] = 255
    (root / "masks").mkdir()
    Image.fromarray(mask).save(root / "masks" / "a.png")
    config = tiny_config({"fit": "resize", "blur": 0.0, "jpeg": 0.0, "resize": 0.0}, batch=1)
    sources = open_all(config, sets=[root])
    sample = TrainingSamples(sources, config).make(0)
    assert sample.image.shape == (32, 32, 3)
    assert 0.25 < sample.target_mask.mean() < 0.75
    assert ((sample.image[..., 0] > 127) == sample.target_mask).mean() > 0.95


def test_a_crop_of_a_huge_picture_shows_what_was_manipulated(tmp_path):
    root = tmp_path / "huge"
    write_photo(root / "images" / "a.png", size=(600, 450))
    mask = np.zeros((450, 600), np.uint8)
    mask[350:365, 500:515] = 255
    (root / "masks").mkdir()
    Image.fromarray(mask).save(root / "masks" / "a.png")
    config = tiny_config(epochs=30, batch=1)
    samples = TrainingSamples(open_all(config, sets=[root]), config)
    shown = sum(bool(samples[number][1].any()) for number in range(30))
    assert shown > 15  # of random crops, about 1 in 100 would


def test_balanced_lists_become_sets_of_their_own(write_set, tmp_path):
    write_set("one"), write_set("two", 3, 0)
    path = tmp_path / "balanced.json"
    path.write_text(json.dumps([["ManiDataset", "one"], ["ManiDataset", "two"]]))
    sources = open_all(TINY, sets=[path])
    assert [(len(read), read.draws) for read in sources.sets] == [(3, 1840), (3, 1840)]
    fewer = open_all(tiny_config({"draws_per_set": 7}), sets=[path])
    assert [read.draws for read in fewer.sets] == [7, 7]


def test_parquet_rows_are_read_once_per_epoch(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is an optional extra")
    from pyarrow import parquet

    write_photo(tmp_path / "a.png", size=(48, 40))
    write_mask(tmp_path / "mask.png")
    image, mask = ({"bytes": (tmp_path / name).read_bytes()} for name in ("a.png", "mask.png"))
    rows = [
        {
            "key": str(number),
            "image": image,
            "mask": mask if number % 2 else None,
            "label": number % 2,
        }
        for number in range(12)
    ]
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=5)
    config = tiny_config(batch=4)
    sources = check(open_all(config, sets=[path]), tmp_path / "data.json", workers=1)
    assert (sources.stats[0].images, sources.stats[0].manipulated) == (12, 6)
    samples = TrainingSamples(sources, config)
    epochs = [[samples.make(number).name for number in range(12 * e, 12 * e + 12)] for e in (0, 1)]
    assert all(sorted(epoch, key=int) == [str(number) for number in range(12)] for epoch in epochs)
    assert epochs[0] != epochs[1]
    few = [ReadSet(sources.sets[0].dataset, draws=30)]
    drawn = [SampleSchedule(few, made=0, batch=30, seed=0).place(number)[1] for number in range(30)]
    groups = [index // 5 for index in drawn]
    assert len(set(drawn)) > 6
    assert len(set(groups)) == 3


def test_a_data_set_is_not_taken_for_photos(write_set):
    root = write_set("casia")
    with pytest.raises(DatasetError, match=r"layout folder.*--data"):
        open_all(TINY, photos=root)


def test_a_file_that_vanished_is_an_item_that_says_so(write_set):
    root = write_set("set", 2, 0)
    config = tiny_config()
    samples = TrainingSamples(open_all(config, sets=[root]), config)
    for path in (root / "images").iterdir():
        path.unlink()
    assert isinstance(samples[0], DatasetError)
    assert ".png" in str(samples[0])


# --- Looking through --------------------------------------------------------------------------


def test_what_was_found_is_said_and_kept(write_set, tmp_path):
    sources = open_all(TINY, sets=[write_set("set")], validation=write_set("val", 1, 2))
    looks = []
    cache = tmp_path / "run" / "data.json"
    checked = check(sources, cache, advance=lambda: looks.append(1))
    trained, scored = checked.stats
    assert (trained.role, trained.images, trained.manipulated) == ("set", 3, 2)
    assert (scored.role, scored.images, scored.manipulated) == ("validation", 3, 1)
    assert trained.sha256 != scored.sha256
    assert len(looks) == 6
    again = check(sources, cache, advance=lambda: looks.append(1))
    assert again == checked
    assert len(looks) == 6  # nothing has changed: no second look
    assert check(sources, cache, decode=False).stats == checked.stats
    assert check(sources, tmp_path / "other.json", decode=False).stats[0].sha256 == ""


def test_the_hash_is_of_content_not_of_files(write_set, tmp_path):
    root = write_set("set")
    hashes = []
    for change in (None, "touch", "pixel"):
        if change == "touch":
            os.utime(root / "images" / "m0.png", (1, 1))
        if change == "pixel":
            write_photo(root / "images" / "m0.png", 999, (48, 40))
        sources = open_all(TINY, sets=[root])
        hashes.append(check(sources, tmp_path / "data.json").stats[0].sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_workers_find_the_same(write_set, tmp_path):
    sources = open_all(TINY, sets=[write_set("set", 9, 4)])
    alone = check(sources, tmp_path / "alone.json")
    assert check(sources, tmp_path / "helped.json", workers=2).stats == alone.stats


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda root: (root / "images/m1.png").write_bytes(b"no image"), r"unreadable.*m1\.png"),
        (lambda root: write_mask(root / "masks/m1.png", (50, 40)), r"size mismatch.*m1\.png"),
    ],
)
def test_what_cannot_be_used_stops_before_training_or_is_left_out(
    write_set, tmp_path, harm, message
):
    root = write_set("set")
    harm(root)
    sources = open_all(TINY, sets=[root])
    for _ in range(2):  # also when it is known from before
        with pytest.raises(DatasetError, match=message):
            check(sources, tmp_path / "data.json")
    checked = check(sources, tmp_path / "data.json", lenient=True)
    assert len(checked.sets[0]) == 2
    assert checked.stats[0].images == 2
    assert "m1.png" in checked.stats[0].problems[0]
    (left_out,) = checked.sets[0].left_out
    assert checked.sets[0].dataset.entries[left_out].image.name == "m1.png"


@pytest.mark.parametrize("harm", ["no mask", "no set", "empty"])
def test_what_is_missing_is_named_at_once(write_set, tmp_path, harm):
    root = write_set("set")
    if harm == "no mask":
        (root / "masks" / "m1.png").unlink()
        match = r"m1\.png"
    elif harm == "no set":
        root, match = tmp_path / "nowhere", "nowhere: no such file"
    else:
        root, match = tmp_path / "empty", "not a layout"
        root.mkdir()
    with pytest.raises(DatasetError, match=match):
        open_all(TINY, sets=[root])


def test_only_authentic_pictures_teach_nothing(write_set, tmp_path, photos):
    root = write_set("calm", 0, 3)
    with pytest.raises(DatasetError, match="calm: nothing is manipulated"):
        check(open_all(TINY, sets=[root]), tmp_path / "data.json")
    check(
        open_all(TINY, photos=photos, sets=[root]), tmp_path / "data.json"
    )  # photos make up for it


def test_masks_that_mark_nothing_are_counted(write_set, tmp_path):
    root = write_set("set")
    Image.fromarray(np.zeros((40, 48), np.uint8)).save(root / "masks" / "m0.png")
    stats = check(open_all(TINY, sets=[root]), tmp_path / "data.json").stats[0]
    assert (stats.manipulated, stats.unmarked) == (2, 1)


def test_scoring_on_what_is_learned_is_noticed(write_set, tmp_path):
    root = write_set("set")
    checked = check(open_all(TINY, sets=[root], validation=root), tmp_path / "data.json")
    assert checked.scored_on_what_is_learned() == ["set"]
    other = open_all(TINY, sets=[root], validation=write_set("val"))
    assert check(other, tmp_path / "data.json").scored_on_what_is_learned() == []
    assert Sources().scored_on_what_is_learned() == []

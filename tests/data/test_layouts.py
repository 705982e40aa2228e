"""Published data sets as they come: recognised by their folders, paired by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.data.datasets import find_layout, read_dataset
from fasa_cli.errors import ConfigError, DatasetError

SIZE = (8, 6)  # width, height


def photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 80, 70)).save(path)


def mask(path: Path, marked: object = 255, rest: object = 0, size: tuple[int, int] = SIZE) -> None:
    """`marked` in the upper left 3 x 2 pixels; JPEG masks at a quality that keeps colours apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = [np.broadcast_to(np.array(value, np.uint8), 3) for value in (marked, rest)]
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:], pixels[:2, :3] = colours[1], colours[0]
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)


def casia2(root: Path) -> None:
    photo(root / "Tp" / "Tp_D_CNN_S_N_b.tif")
    mask(root / "CASIA 2 Groundtruth" / "Tp_D_CNN_S_N_b_gt.png")
    photo(root / "Au" / "Au_ani_00001.jpg")


def casia1(root: Path) -> None:
    photo(root / "CASIA 1.0 dataset" / "Modified Tp" / "Tp" / "Sp" / "Sp_a.jpg")
    mask(root / "CASIA 1.0 groundtruth" / "Sp" / "Sp_a_gt.png")
    photo(root / "CASIA 1.0 dataset" / "Au" / "Au_a.jpg")


def columbia(root: Path) -> None:
    photo(root / "4cam_splc" / "canong3_a.tif")
    edges = root / "4cam_splc" / "edgemask" / "canong3_a_edgemask.jpg"
    mask(edges, (0, 255, 0), (200, 0, 0))
    photo(root / "4cam_auth" / "canong3_b.tif")
    mask(root / "4cam_auth" / "edgemask" / "canong3_b_edgemask.jpg", (255, 0, 0), (200, 0, 0))


def nested_columbia(root: Path) -> None:
    photo(root / "4cam_splc" / "4cam_splc" / "a.tif")
    edges = root / "4cam_splc" / "4cam_splc" / "edgemask" / "a_edgemask.jpg"
    mask(edges, (0, 200, 0), (255, 0, 0))
    photo(root / "4cam_auth" / "4cam_auth" / "b.tif")


def coverage(root: Path) -> None:
    photo(root / "image" / "1t.tif")
    photo(root / "image" / "1.tif")
    mask(root / "mask" / "1forged.tif")
    mask(root / "mask" / "1copy.tif", 0, 255)


def nist16(root: Path) -> None:
    photo(root / "probe" / "NC2016_1.jpg")
    photo(root / "probe" / "NC2016_2.jpg")
    mask(root / "mask" / "manipulation" / "1.png", 0, 255)
    rows = [
        "TaskID|ProbeFileName|IsTarget|ProbeMaskFileName",
        "manipulation|probe/NC2016_2.jpg|N|",
        "manipulation|probe/NC2016_1.jpg|Y|mask/manipulation/1.png",
    ]
    reference = root / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
    reference.parent.mkdir(parents=True)
    reference.write_text("\n".join(rows))
    (root / "reference" / "NC2016-splice-ref.csv").write_text("repeats a part of it")


def imd2020(root: Path) -> None:
    photo(root / "1a1" / "c8t_orig.jpg")
    photo(root / "1a1" / "00001_fake.jpg")
    mask(root / "1a1" / "00001_fake_mask.png")


def fantastic_reality(root: Path) -> None:
    photo(root / "dataset" / "ColorFakeImages" / "a.jpg")
    photo(root / "dataset" / "ColorRealImages" / "b.jpg")
    values = np.zeros((1, SIZE[1], SIZE[0]), np.uint8)
    values[0, :2, :3] = 7
    (root / "dataset" / "SegmentationFake").mkdir()
    np.savez(root / "dataset" / "SegmentationFake" / "a.npz", values)


SETS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "casia2": ("casia", casia2),
    "casia1": ("casia", casia1),
    "columbia": ("columbia", columbia),
    "nested columbia": ("columbia", nested_columbia),
    "coverage": ("coverage", coverage),
    "nist16": ("nist16", nist16),
    "imd2020": ("imd2020", imd2020),
    "fantastic reality": ("fantastic-reality", fantastic_reality),
}


@pytest.mark.parametrize("name", SETS)
def test_a_published_layout_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    layout, make = SETS[name]
    make(tmp_path)
    assert find_layout(tmp_path) == layout
    manipulated, authentic = read_dataset(tmp_path)
    assert manipulated.target_mask is not None
    assert np.argwhere(manipulated.target_mask).tolist() == [
        [row, column] for row in range(2) for column in range(3)
    ]
    assert authentic.target_mask is None
    assert manipulated.source == tmp_path.name


def test_tampered_coco_shares_masks_between_compressions(tmp_path: Path) -> None:
    for kind in ("sp", "bcm", "bcmc"):
        photo(tmp_path / f"{kind}_images" / "a.jpg")
    mask(tmp_path / "sp_masks" / "a.png", 1)
    mask(tmp_path / "bcm_masks" / "a.png")
    dataset = read_dataset(tmp_path)
    names = ["sp_images/a.jpg", "bcm_images/a.jpg", "bcmc_images/a.jpg"]
    assert [sample.name for sample in dataset] == names
    assert [sample.target_mask.sum() for sample in dataset] == [6, 6, 6]


def test_nist16_without_its_reference_is_paired_by_name(tmp_path: Path) -> None:
    photo(tmp_path / "probe" / "a.jpg")
    mask(tmp_path / "mask" / "a_gt.png", 0, 255)
    assert [sample.target_mask.sum() for sample in read_dataset(tmp_path)] == [6]


def test_a_reference_that_is_none_is_named(tmp_path: Path) -> None:
    nist16(tmp_path)
    reference = tmp_path / "reference" / "manipulation" / "NC2016-manipulation-ref.csv"
    reference.write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"manipulation-ref\.csv: no column ProbeFileName"):
        read_dataset(tmp_path)


def test_casia_masks_on_their_side_are_turned_with_a_note(tmp_path: Path) -> None:
    casia2(tmp_path)
    mask(tmp_path / "CASIA 2 Groundtruth" / "Tp_D_CNN_S_N_b_gt.png", size=SIZE[::-1])
    sample = read_dataset(tmp_path)[0]
    assert sample.target_mask.shape == sample.image.shape[:2]
    assert "lay on its side" in sample.notes[0]
    mask(tmp_path / "CASIA 2 Groundtruth" / "Tp_D_CNN_S_N_b_gt.png", size=(8, 5))
    with pytest.raises(DatasetError, match=r"is 8 x 6 pixels but its mask .* is 8 x 5"):
        read_dataset(tmp_path)[0]


def test_files_without_a_partner_are_refused_or_left_out_by_name(tmp_path: Path) -> None:
    casia2(tmp_path)
    photo(tmp_path / "Tp" / "Tp_lost.jpg")
    with pytest.raises(DatasetError, match=r"without a mask: .*Tp_lost\.jpg"):
        read_dataset(tmp_path)
    dataset = read_dataset(tmp_path, lenient=True)
    assert len(dataset) == 2
    assert [problem.where for problem in dataset.problems] == [str(tmp_path / "Tp/Tp_lost.jpg")]


def test_layouts_can_be_named(tmp_path: Path) -> None:
    coverage(tmp_path)
    with pytest.raises(DatasetError, match="no CASIA"):
        read_dataset(tmp_path, layout="casia")
    with pytest.raises(ConfigError, match=r"no layout 'casio'; there are columbia"):
        read_dataset(tmp_path, layout="casio")


def test_a_folder_of_no_known_layout_lists_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "stuff").mkdir()
    with pytest.raises(DatasetError, match=r"not a layout that is known.*4cam_splc"):
        read_dataset(tmp_path)
    with pytest.raises(DatasetError, match="no such file or folder"):
        read_dataset(tmp_path / "nowhere")
    (tmp_path / "a.zip").touch()
    with pytest.raises(DatasetError, match=r"a\.zip: a data set is a folder, or"):
        read_dataset(tmp_path / "a.zip")

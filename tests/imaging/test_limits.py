"""The guard for every picture and array: what declares too much is refused before it is decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from fasa_cli.data.masks import read_mask
from fasa_cli.data.samples import Sample
from fasa_cli.errors import ImageError
from fasa_cli.evaluation.predictions import SavedPredictions, read_map
from fasa_cli.imaging.decode import decode_image
from fasa_cli.imaging.limits import Arrays
from fasa_cli.imaging.metadata import read_metadata
from fasa_cli.scanning.saved_run import SavedRun
from tests.conftest import scan_red, write_photo

SIDES = (22_000, 18_000)


def bomb_png(width: int, height: int) -> bytes:
    """A whole 8-bit grey PNG of zeros, a thousandth of its pixels in size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pack = zlib.compressobj(9)
    row = bytes(width + 1)
    data = b"".join([*(pack.compress(row) for _ in range(height)), pack.flush()])
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    values = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, values)
    return file.getvalue()


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def write_bomb(folder: Path, kind: str, shape: tuple[int, int]) -> Path:
    path = folder / f"a.{kind}"
    if kind == "png":
        path.write_bytes(bomb_png(*shape[::-1]))
    elif kind == "npy":
        path.write_bytes(npy_header(shape) + bytes(64))
    else:
        npz(path, map=npy_header(shape) + bytes(10 * shape[0]))
    return path


def peak_memory(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["png", "npy", "npz"])
def test_a_prediction_that_declares_too_much_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = write_bomb(tmp_path, kind, SIDES[::-1])
    size = path.stat().st_size

    def refused() -> None:
        with pytest.raises(ImageError, match=rf"a\.{kind}: .*{SIDES[0]}"):
            read_map(path)

    start = time.monotonic()
    assert peak_memory(refused) < 2 * size + 4_000_000
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", ["png", "npy", "npz"])
def test_a_prediction_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, kind: str
) -> None:
    write_bomb(tmp_path, kind, (9_000, 10_000))  # under the limit
    sample = Sample(np.zeros((32, 40, 3), np.uint8), None, "set", "a.png")
    predictions = SavedPredictions(tmp_path)

    def refused() -> None:
        with pytest.raises(ImageError, match="10000 x 9000 pixels but its image 40 x 32"):
            predictions.predict_sample(sample)

    assert peak_memory(refused) < 8_000_000


def test_a_ground_truth_array_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path / "mask.npz", arr_0=npy_header(SIDES))
    with pytest.raises(ImageError, match=r"mask\.npz"):
        read_mask(path)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((-4, 4), "<f4"), ((4, 4), "|O"), ((4, 4), "<U9"), ((1 << 40, 1), "|u1")]
)
def test_odd_headers_are_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(npy_header(shape, dtype) + bytes(64))
    with pytest.raises(ImageError, match=r"a\.npy"):
        read_map(path)


@settings(max_examples=50, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f8", "|u1", "<u2", "|b1"]),
        arrays.array_shapes(min_dims=0, max_dims=4, max_side=5),
    ),
    st.booleans(),
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path_factory, array, is_zip: bool) -> None:
    path = tmp_path_factory.mktemp("arrays") / ("a.npz" if is_zip else "a.npy")
    if is_zip:
        np.savez_compressed(path, map=array, score=0.5)
    else:
        np.save(path, array)
    read = Arrays(path)
    assert read.names == (("map", "score") if is_zip else ("",))
    assert read.shape(read.names[0]) == array.shape
    np.testing.assert_array_equal(read.read(read.names[0]), array)


def test_a_saved_mask_that_declares_another_size_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photo(Path("photos/a.png"))
    run = SavedRun(scan_red())
    (record,) = run.records()
    bomb = bomb_png(10_000, 9_000)
    Path("masks/a.png.mask.png").write_bytes(bomb)
    import hashlib
    from dataclasses import replace

    forged = replace(record, outputs_sha256={"mask": hashlib.sha256(bomb).hexdigest()})

    def refused() -> None:
        with pytest.raises(ImageError, match="40 x 32"):
            run.read_mask(forged)

    assert peak_memory(refused) < 8_000_000


def test_pillows_own_limit_stays_as_its_user_has_it(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.png")
    code = (
        "import PIL.Image as image\n"
        "image.MAX_IMAGE_PIXELS = 100\n"
        "from fasa_cli.imaging.decode import read_image\n"
        f"assert read_image({str(tmp_path / 'a.png')!r}).pixels.shape == (32, 40, 3)\n"
        "assert image.MAX_IMAGE_PIXELS == 100\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_pictures_above_pillows_limit_and_below_ours_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    data = bomb_png(64, 40)
    assert decode_image(data, "a.png").pixels.shape == (40, 64, 3)
    assert read_metadata(data) == read_metadata(bomb_png(4, 4))
    with pytest.raises(ImageError, match="64 x 40"):
        decode_image(data, "a.png", max_pixels=64 * 40 - 1)

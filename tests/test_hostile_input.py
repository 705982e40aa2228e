"""One folder with everything odd: each ends as a result or as one line that says why not."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from fasa_cli.imaging.decode import decode_image
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions, ScanSummary
from fasa_cli.scanning.scanner import scan
from tests.conftest import RedPredictor, write_photo
from tests.imaging.test_decode import exif_with, photo, png, saved, tiff, two_frames

IMAGE = Image.fromarray(photo())
GREY = np.asarray(IMAGE.convert("L"))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# 32 x 24 pixels: red 8 x, green 10 y, blue 4 (x + y), by `cjpeg -arithmetic -quality 75`, since
# Pillow writes no such files.
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIs"
    "IxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy"
    "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAAYACADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIR"
    "AxEAPwD/ALhje9adk9JtJEeZnM4v8scuAh9Gx+hsxK/PdzLD8pgNy4xUkGP+TB7Bq+epPcOaPQB3XnfXZ7JuXlqM"
    "dfRo5eYQwkjHUDMk0EqCMP/Z"
)


def falsely_arithmetic(data: bytes) -> bytes:
    """A JPEG that only says it is arithmetic-coded; what a decoder makes of it is its own."""
    return data.replace(b"\xff\xc0", b"\xff\xc9", 1)


def declaring(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


def readable() -> dict[str, bytes]:
    """Odd but sound: all of these are analysed."""
    jpeg = saved(IMAGE, "JPEG")
    files = {
        "one pixel.png": saved(photo(1, 1), "PNG"),
        "one row.png": saved(photo(1, 30000), "PNG"),
        "one column.tif": saved(photo(30000, 1), "TIFF"),
        "16 bit.png": saved(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
        "32 bit float.tif": tiff(GREY.astype(np.float32) / 255),
        "cmyk.jpg": saved(IMAGE.convert("CMYK"), "JPEG"),
        "cmyk with a profile.jpg": saved(IMAGE.convert("CMYK"), "JPEG", icc_profile=PROFILE),
        "palette.png": saved(IMAGE.convert("P"), "PNG", transparency=3),
        "progressive.jpg": saved(IMAGE, "JPEG", progressive=True),
        "arithmetic.jpg": ARITHMETIC,
        "animated.gif": two_frames(IMAGE, "GIF"),
        "animated.webp": two_frames(IMAGE, "WEBP"),
        "pages.tif": two_frames(IMAGE, "TIFF"),
        "mpo.jpg": two_frames(IMAGE, "MPO"),
        "broken exif.jpg": saved(IMAGE, "JPEG", exif=b"Exif\0\0garbage"),
        "wrong suffix.png": jpeg,
        "no suffix": jpeg,
        "twin.jpg": jpeg,
        "twin.png": saved(IMAGE, "PNG"),
        "with  blanks .jpg": jpeg,
        "new\nline.jpg": jpeg,
        "\U0001f4f7.jpg": jpeg,
        "bidi \u202egpj.exe.jpg": jpeg,
        "=cmd()|' calc'!A0.jpg": jpeg,
        "%s %n ${IFS} `x`.jpg": jpeg,
        os.fsdecode(b"not \xff\xfe utf-8.jpg"): jpeg,
    }
    for orientation in range(1, 9):
        files[f"exif {orientation}.jpg"] = saved(IMAGE, "JPEG", exif=exif_with(orientation))
    files["exif 9.jpg"] = saved(IMAGE, "JPEG", exif=exif_with(9))
    return files


def undecodable() -> dict[str, bytes]:
    """Each is a failure with a reason."""
    files = {
        "empty.jpg": b"",
        "text.jpg": b"no picture at all\n" * 50,
        "html.png": b"<html><body>404",
        "zeros.jpg": bytes(5000),
        "bomb.png": png(60000, 60000, bytes(100)),
        "bomb.gif": declaring(saved(IMAGE, "GIF"), 6, b"\xff\xff\xff\xff"),
        "bomb.bmp": declaring(saved(IMAGE, "BMP"), 18, b"\x00\x00\x01\x00" * 2),
        "heic.jpg": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    }
    formats = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
    for file_format in formats:
        data = saved(photo(120, 160), file_format)
        for share in (0.02, 0.3, 0.7, 0.97):
            cut = data[: int(len(data) * share)]
            files[f"cut {share}.{file_format.lower()}"] = cut
    return files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    return tmp_path


def run(*inputs: str, out: str = "out", predictor: RedPredictor | None = None) -> ScanSummary:
    found = discover(inputs or ("in",), Path(out))
    options = ScanOptions(Path(out), overlay=True)
    return scan(predictor or RedPredictor(), found, options)  # type: ignore[arg-type]


def lines(name: str, out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "_fasa", name).read_text().splitlines()]


def check_counts(summary: ScanSummary, out: str = "out") -> None:
    """found = analysed + failed + skipped, by kind, in the summary and in the files alike."""
    assert summary.found == summary.analysed + summary.failed + summary.skipped
    assert (summary.status, summary.remaining) == ("complete", 0)
    assert len(lines("results.jsonl", out)) == summary.analysed
    failed = Counter(line["kind"] for line in lines("errors.jsonl", out))
    skipped = Counter(line["kind"] for line in lines("skipped.jsonl", out))
    assert failed == summary.failed_by_kind
    assert skipped == summary.skipped_by_kind
    counts = json.loads(Path(out, "_fasa", "run.json").read_text())["counts"]
    assert (counts["found"], counts["failed_by_kind"]) == (summary.found, dict(failed))
    for line in (*lines("errors.jsonl", out), *lines("skipped.jsonl", out)):
        assert line["reason"]
        assert "\n" not in line["reason"]


def tree(top: str = ".") -> dict[str, int]:
    """Every path below `top` and its time of change, without following links."""
    return {
        os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_mtime_ns
        for folder, folders, names in os.walk(top)
        for name in (*folders, *names)
    }


def test_an_arithmetic_coded_photo_is_decoded_rightly() -> None:
    rows, columns = np.mgrid[:24, :32]
    drawn = np.stack([columns * 8, rows * 10, (rows + columns) * 4], axis=-1)
    pixels = decode_image(ARITHMETIC, "arithmetic.jpg").pixels
    assert np.abs(pixels.astype(int) - drawn).mean() < 2


def test_whatever_is_in_the_files() -> None:
    sound, broken = readable(), undecodable()
    either = {"falsely arithmetic.jpg": falsely_arithmetic(saved(IMAGE, "JPEG"))}
    for name, data in {**sound, **broken, **either}.items():
        Path("in", name).write_bytes(data)
    Path("in/notes.txt").write_text("text")
    before = tree()
    summary = run()
    check_counts(summary)
    assert summary.analysed + summary.failed == len(sound) + len(broken) + len(either)
    assert {record["name"] for record in lines("results.jsonl")} - set(either) == set(sound)
    failures = {os.path.basename(line["path"]): line["kind"] for line in lines("errors.jsonl")}
    assert set(failures) - set(either) == set(broken)
    assert set(failures.values()) == {"undecodable"}
    assert summary.skipped_by_kind == {"not an image": 1}
    after = tree()
    new = [path for path in after if path not in before]
    assert all(path.startswith("./out") for path in new)
    assert {path: after[path] for path in before if path != "."} == before
    written = [name for record in lines("results.jsonl") for name in record["outputs"].values()]
    assert len(written) == len(set(written)) == 2 * summary.analysed
    assert all(Path("out", name).is_file() for name in written)


def test_whatever_is_no_regular_file(tmp_path: Path) -> None:
    write_photo(Path("in/a.png"))
    os.mkfifo("in/fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("in/socket.png")
        os.symlink("loop b.jpg", "in/loop a.jpg")
        os.symlink("loop a.jpg", "in/loop b.jpg")
        os.symlink(".", "in/around")
        os.symlink(os.devnull, "in/device.jpg")
        os.symlink("/nowhere", "in/dangling")
        summary = run("in", "/dev/zero", "gone.jpg")
    check_counts(summary)
    assert summary.analysed == 1
    assert summary.failed_by_kind == {"unreadable": 2, "special file": 1, "missing": 1}
    assert summary.skipped_by_kind == {"special file": 3, "linked folder": 1, "broken link": 1}


def test_what_may_not_be_read() -> None:
    write_photo(Path("in/a.png"))
    write_photo(Path("in/shut.png"))
    write_photo(Path("in/shut/b.png"))
    os.chmod("in/shut.png", 0)
    os.chmod("in/shut", 0)
    try:
        shut = not os.access("in/shut.png", os.R_OK)  # root may read everything
        summary = run()
    finally:
        os.chmod("in/shut", stat.S_IRWXU)
    check_counts(summary)
    assert summary.analysed == (1 if shut else 3)
    assert summary.failed_by_kind == ({"unreadable": 2} if shut else {})


def test_a_folder_that_vanishes_during_the_scan() -> None:
    for seed in range(30):
        write_photo(Path("in/sub", f"{seed:02}.png"), seed)
    predictor = RedPredictor()
    predictor.before = lambda images: shutil.rmtree("in/sub", ignore_errors=True)
    summary = run(predictor=predictor)
    check_counts(summary)
    assert summary.found == 30
    assert summary.analysed >= 1
    assert set(summary.failed_by_kind) == {"unreadable"}


def test_a_file_that_is_cut_or_becomes_a_fifo_after_it_was_found() -> None:
    for seed in range(20):
        write_photo(Path("in", f"{seed:02}.png"), seed)

    def spoil(images: Sequence[np.ndarray]) -> None:
        if predictor.calls == 1:
            os.truncate("in/17.png", 100)
            os.remove("in/18.png")
            os.mkdir("in/18.png")
            os.remove("in/19.png")
            os.mkfifo("in/19.png")

    predictor = RedPredictor()
    predictor.before = spoil
    summary = run(predictor=predictor)
    check_counts(summary)
    assert summary.failed_by_kind == {"undecodable": 1, "unreadable": 2}


def test_out_inside_the_input_twice() -> None:
    write_photo(Path("in/a.png"))
    for _ in range(2):
        summary = run("in", out="in/out")
        check_counts(summary, "in/out")
        assert (summary.found, summary.analysed) == (1, 1)


def test_a_large_photo_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is analysed alone, in order, and by the same rules as all others."""
    from fasa_cli.scanning import scanner

    for seed, name in enumerate("abcdef"):
        write_photo(Path("in", f"{name}.png"), seed, size=(60, 60) if name in "be" else (20, 20))
    large = saved(photo(60, 60), "PNG")
    Path("in/g.png").write_bytes(large[: len(large) // 2])
    expected = run(out="all")
    monkeypatch.setattr(scanner, "_LARGE_PIXELS", 3000)
    predictor = RedPredictor()
    batches: list[int] = []
    predictor.before = lambda images: batches.append(len(images))
    found = discover(("in",), Path("out"))
    summary = scan(predictor, found, ScanOptions(Path("out"), overlay=True, batch=4))  # type: ignore[arg-type]
    check_counts(summary)
    assert batches == [1, 1, 2, 1, 1]  # a | b | c d | e | f
    assert summary.failed_by_kind == expected.failed_by_kind == {"undecodable": 1}
    runs = [json.loads(Path(out, "_fasa/run.json").read_text()) for out in ("all", "out")]
    assert runs[0]["digest"] == runs[1]["digest"]
    monkeypatch.setattr(scanner, "_LARGE_FILE", 1000)
    assert run().reused == 6


def test_what_is_declared_is_known_before_anything_is_decoded() -> None:
    from fasa_cli.imaging.decode import declared_pixels

    assert declared_pixels(saved(photo(20, 30), "JPEG")) == 600
    assert declared_pixels(png(60000, 60000, b"")) == 3_600_000_000
    for data in (b"", b"text", b"\xff\xd8\xff", io.BytesIO(saved(IMAGE, "TIFF")).read(20)):
        assert declared_pixels(data) == 0

"""`fasa scan` as people call it, with an untrained `tiny` model: output, streams, exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

import fasa_cli
from fasa_cli.app import app
from fasa_cli.config import TINY, PostprocessConfig
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import save_model
from fasa_cli.predictor import Predictor
from tests.conftest import write_photo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    return tmp_path


@pytest.fixture
def fasa_scan(tiny_weights: Path):
    """Runs `fasa scan ARGUMENTS...` on the CPU with the tiny weights."""

    def call(*arguments: str, input: bytes | None = None) -> Result:
        command = ["scan", "--weights", str(tiny_weights), "--device", "cpu", *arguments]
        return CliRunner().invoke(app, command, input=input)

    return call


def photos(*names: str) -> None:
    for seed, name in enumerate(names):
        write_photo(Path("photos", name), seed)


def lines(name: str = "results.jsonl", out: str = "masks") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "_fasa", name).read_text().splitlines()]


def tree(top: str = ".") -> list[str]:
    return sorted(str(path.relative_to(top)) for path in Path(top).rglob("*"))


# --- Exit codes -----------------------------------------------------------------------------


def test_0_all_analysed(fasa_scan) -> None:
    photos("a.jpg", "sub/b.png")
    result = fasa_scan("photos", "--out", "found")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert Path("found/a.jpg.mask.png").is_file()
    assert Path("found/sub/b.png.mask.png").is_file()
    assert "Found 2 images: 2 analysed, 0 failed, 0 skipped" in result.stderr
    assert "tiny" in result.stderr
    assert "on cpu" in result.stderr
    assert "not a verdict" in result.stderr
    assert not {"authentic", "fake", "forged"} & set(result.stderr.lower().split())


def test_1_weights_that_cannot_be_used() -> None:
    photos("a.jpg")
    result = CliRunner().invoke(app, ["scan", "photos", "--weights", "gone.safetensors"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: gone.safetensors")
    assert tree() == ["photos", "photos/a.jpg"]


def test_1_a_device_that_is_not_there(tiny_weights: Path) -> None:
    photos("a.jpg")
    command = ["scan", "photos", "--weights", str(tiny_weights), "--device", "cuda:99"]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr[:14]) == (1, "error: cuda:99")


def test_1_other_settings_in_the_folder(fasa_scan) -> None:
    photos("a.jpg")
    Path("photos/cut.jpg").write_bytes(b"")
    fasa_scan("photos")
    result = fasa_scan("photos", "--threshold", "0.7", "--fail-on", "0")
    assert result.exit_code == 1
    assert "config.threshold was 0.5, is 0.7" in result.stderr
    assert fasa_scan("photos", "--threshold", "0.7", "--overwrite").exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("photos", "--threshold", "2"),
        ("photos", "--batch", "0"),
        ("photos", "--device", "gpu"),
        ("photos", "--files-from", "gone.txt"),
        ("photos", "--out", "photos"),
        ("photos", "--nonsense"),
    ],
)
def test_2_usage(fasa_scan, arguments: tuple[str, ...]) -> None:
    photos("a.jpg")
    assert fasa_scan(*arguments).exit_code == 2
    assert tree() == ["photos", "photos/a.jpg"]


def test_3_some_inputs_were_not_analysed(fasa_scan) -> None:
    photos("a.jpg", "cut.jpg")
    os.truncate("photos/cut.jpg", 300)
    result = fasa_scan("photos", "gone.jpg", "--fail-on", "0")  # 3 over 10
    assert result.exit_code == 3
    assert "failed: gone.jpg: no such file" in result.stderr
    assert "cut.jpg: JPEG file is damaged" in result.stderr
    assert "2 failed (1 missing, 1 undecodable)" in result.stderr
    assert [record["name"] for record in lines()] == ["a.jpg"]
    assert {line["kind"] for line in lines("errors.jsonl")} == {"missing", "undecodable"}


def test_3_nothing_but_missing_inputs(fasa_scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the model loaded nor a folder made."""
    monkeypatch.setattr(Predictor, "from_checkpoint", lambda *arguments: pytest.fail("loaded"))
    result = fasa_scan("gone.jpg", "gone too")
    assert result.exit_code == 3
    assert "failed: gone.jpg: no such file" in result.stderr
    assert "0 analysed, 2 failed (2 missing), 0 skipped" in result.stderr
    assert tree() == []


def test_4_no_image_found(fasa_scan) -> None:
    Path("texts").mkdir()
    Path("texts/notes.txt").write_text("text")
    result = fasa_scan("texts")
    assert result.exit_code == 4
    assert result.stderr.startswith("no image found (1 not an image)")
    assert tree() == ["texts", "texts/notes.txt"]


def test_10_a_score_is_reached(fasa_scan) -> None:
    photos("a.jpg")
    assert fasa_scan("photos", "--fail-on", "1").exit_code == 0
    score = lines()[0]["score_max"]
    assert fasa_scan("photos", "--fail-on", str(score)).exit_code == 10  # from the record, too
    assert fasa_scan("photos", "--fail-on", str(score + 0.001)).exit_code == 0


def test_who_reached_a_score_is_said_beside_what_failed(fasa_scan) -> None:
    photos("a.jpg", "b.jpg")
    fasa_scan("photos")
    scores = {record["name"]: record["score_max"] for record in lines()}
    highest = max(scores, key=lambda name: scores[name])
    Path("photos/cut.jpg").write_bytes(b"")
    result = fasa_scan("photos", "--fail-on", str(scores[highest]))
    assert result.exit_code == 3  # incomplete never looks complete
    (reached,) = [line for line in result.stderr.splitlines() if "reached" in line]
    assert os.path.join("photos", highest) in reached
    assert "failed: photos/cut.jpg" in result.stderr


# --- The answer on the screen ---------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_scan_of_a_few_photos_answers_with_a_ranked_table(
    fasa_scan, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    long_name = "a-photo-with-a-name-" + "0123456789" * 6 + ".jpg"
    photos("a.jpg", "b.jpg", long_name)
    result = fasa_scan("photos")
    assert result.exit_code == 0
    shown = result.stderr.splitlines()
    assert max(map(len, shown)) <= width
    rows = [line for line in shown if line.startswith("│")]
    scores = [re.search(r"\d\.\d{4}", row) for row in rows]
    found = [float(match[0]) for match in scores if match]
    assert found == sorted(found, reverse=True)
    assert len(found) == 3
    assert all(word in "".join(shown) for word in ("marked", "found", "photo"))
    cells = "".join(re.sub("[^-a-z0-9.]", "", row.split("│")[-2]) for row in rows)
    assert long_name in cells  # folded, not cut
    assert "nothing" in "".join(shown)
    assert "1 images" not in result.stderr


def test_a_scan_of_one_photo_answers_with_its_regions(fasa_scan) -> None:
    photos("a.jpg")
    for _ in range(2):
        result = fasa_scan("photos", "--threshold", "0.4")
        (record,) = lines()
        assert f"{record['score_max']:.4f}" in result.stderr
        x, y, width, height = record["regions"][0]["box"]
        assert f"{width} x {height}" in result.stderr
        assert f"{x}, {y}" in result.stderr
        assert "1 image" in result.stderr
        assert "1 images" not in result.stderr
        assert "warning: Small: 40 x 32 pixels" in result.stderr
    assert "1 image on record" in result.stderr


def test_nothing_left_to_do_needs_no_torch(fasa_scan, tiny_weights: Path) -> None:
    photos("a.jpg", "b.jpg")
    fasa_scan("photos")
    before = Path("masks/_fasa/results.jsonl").read_bytes()
    arguments = ["scan", "photos", "--weights", str(tiny_weights), "--device", "cpu"]
    script = (
        "import sys\n"
        "from fasa_cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(fasa_cli.__file__).parents[1])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 of them before" in done.stderr
    assert Path("masks/_fasa/results.jsonl").read_bytes() == before
    # Of the same size, so that only its bytes say that it is another: the model comes then.
    data = bytearray(Path("photos/a.jpg").read_bytes())
    data[-20] ^= 1
    Path("photos/a.jpg").write_bytes(data)
    result = fasa_scan("photos")
    assert result.exit_code == 0, result.stderr
    assert "1 of them before" in result.stderr


def test_another_scan_is_refused_or_added(fasa_scan) -> None:
    photos("a.jpg")
    write_photo(Path("more/b.jpg"), 3)
    fasa_scan("photos")
    result = fasa_scan("more")
    assert (result.exit_code, "--add" in result.stderr) == (1, True)
    assert fasa_scan("more", "--add").exit_code == 0
    assert {record["name"] for record in lines()} == {"a.jpg", "b.jpg"}
    assert fasa_scan("more", "--add", "--overwrite").exit_code == 2


def test_130_interrupted_and_resumed(fasa_scan, tiny_weights: Path) -> None:
    for seed in range(40):
        write_photo(Path(f"photos/{seed:02}.png"), seed, size=(300, 200))
    command = [sys.executable, "-m", "fasa_cli", "scan", "photos", "--weights", str(tiny_weights)]
    # From another folder; the package need not be installed to be tested.
    environment = {**os.environ, "PYTHONPATH": str(Path(fasa_cli.__file__).parents[1])}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        wait_for(lambda: Path("masks/02.png.mask.png").exists() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.endswith("interrupted; run the same command again to resume\n")
    counts = json.loads(Path("masks/_fasa/run.json").read_text())["counts"]
    assert counts["analysed"] == len(lines()) >= 1
    assert counts["analysed"] + counts["remaining"] == counts["found"] == 40
    done = fasa_scan("photos")
    assert done.exit_code == 0
    assert f"({counts['analysed']} of them before)" in done.stderr


def wait_for(happens, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


# --- Streams --------------------------------------------------------------------------------


def test_json_is_nothing_but_json_lines(fasa_scan) -> None:
    photos("b.jpg", "a.jpg", "line\nbreak.jpg", os.fsdecode(b"\xff.jpg"))
    Path("photos/cut.jpg").write_bytes(b"")
    for _ in range(2):  # what is on record is data as well
        result = fasa_scan("photos", "--json", "--top", "2")
        records = [json.loads(line) for line in result.stdout.splitlines()]
        assert records == [{k: v for k, v in line.items() if k != "chain"} for line in lines()]
        assert [record["name"] for record in records] == [
            "a.jpg",
            "b.jpg",
            "line\nbreak.jpg",
            "\udcff.jpg",
        ]
        assert result.exit_code == 3


def test_top_ranks_by_score(fasa_scan) -> None:
    photos("a.jpg", "[red]b.jpg", "c\x1b[2J.jpg")
    result = fasa_scan("photos", "--top", "2")
    ranked = sorted(lines(), key=lambda record: -record["score_max"])
    assert f"{ranked[0]['score_max']:.4f}" in result.stderr
    assert f"{ranked[2]['score_max']:.4f}" not in result.stderr
    everything = fasa_scan("photos", "--top", "9").stderr
    assert "[red]b.jpg" in everything
    assert "\x1b" not in everything


def test_failures_are_printed_without_control_characters(fasa_scan) -> None:
    Path("photos").mkdir()
    Path("photos/\x1b[2J\u202e\n.jpg").write_bytes(b"")
    result = fasa_scan("photos")
    assert "\\x1b[2J\\u202e\\n.jpg: the file is empty" in result.stderr


# --- Inputs ---------------------------------------------------------------------------------


def test_paths_on_stdin_and_from_files(fasa_scan) -> None:
    photos("a.jpg", "b.jpg", "c d.jpg", "e\nf.jpg")
    listed = b"photos/a.jpg\r\nphotos/c d.jpg\n"
    assert fasa_scan("-", "photos/b.jpg", "--json", input=listed).exit_code == 0
    assert {record["name"] for record in lines()} == {"a.jpg", "b.jpg", "c d.jpg"}
    Path("list").write_bytes(b"photos/e\nf.jpg\0photos/a.jpg\0")
    assert fasa_scan("--files-from", "list", "-0", "--out", "other").exit_code == 0
    assert {record["name"] for record in lines(out="other")} == {"e\nf.jpg", "a.jpg"}
    assert fasa_scan("-", input=b"").exit_code == 4


def test_the_output_folder_inside_the_input_is_not_scanned(fasa_scan) -> None:
    photos("a.jpg")
    for _ in range(2):
        result = fasa_scan("photos", "--out", "photos/masks")
        assert (result.exit_code, len(lines(out="photos/masks"))) == (0, 1)
    assert fasa_scan("photos", "--out", "elsewhere").exit_code == 0
    assert lines("skipped.jsonl", out="elsewhere")[0]["kind"] == "scan output"


def test_extra_outputs(fasa_scan) -> None:
    photos("a.jpg")
    fasa_scan("photos", "--prob", "--overlay", "--batch", "4")
    assert [name for name in tree("masks") if not name.startswith("_fasa")] == [
        "a.jpg.mask.png",
        "a.jpg.overlay.jpg",
        "a.jpg.prob.png",
    ]


def test_maps_and_masks_of_network_and_copy_move_apart(tiny_weights: Path) -> None:
    """A noisy photo with a part of it twice, searched although these weights do not ask for it."""
    torch.manual_seed(0)
    model = Fasa(TINY).eval()
    save_model(model, Path("looking.safetensors"), postprocess=PostprocessConfig(copy_move=True))
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    pixels = cv2.normalize(cv2.GaussianBlur(pixels, (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX)
    pixels[110:190, 190:280] = pixels[10:90, 20:110]
    Path("photos").mkdir()
    cv2.imwrite("photos/twice.png", pixels)
    cv2.imwrite("photos/once.png", pixels[:110])
    command = ["scan", "photos", "--weights", "looking.safetensors", "--device", "cpu", "--prob"]
    apart = ["--network-map", "--copy-move-map", "--masks-apart"]
    result = CliRunner().invoke(app, [*command, *apart])
    assert result.exit_code == 0, result.stderr
    assert "copy-move pair" in result.stderr

    def read(name: str, suffix: str) -> np.ndarray:
        return cv2.imread(f"masks/{name}.png.{suffix}.png", cv2.IMREAD_UNCHANGED)

    for record in lines():
        name = Path(record["name"]).stem
        network, marks, final = (read(name, kind) for kind in ("network", "copy-move", "prob"))
        assert network.max() / 65535 == pytest.approx(record["score_network"], abs=1e-5)
        assert marks.max() / 65535 == pytest.approx(record["score_copy_move"], abs=1e-5)
        assert np.array_equal(final, np.maximum(network, marks))
        assert np.array_equal(read(name, "network-mask") > 0, network / 65535 > 0.5)
        assert np.array_equal(read(name, "copy-move-mask") > 0, marks / 65535 > 0.5)
    scores = {record["name"]: record["score_copy_move"] for record in lines()}
    assert scores["once.png"] == 0
    assert scores["twice.png"] > 0.5
    (pair,) = lines()[1]["copy_move"]
    assert max(pair["marks"]) == pytest.approx(scores["twice.png"], abs=1e-5)
    assert CliRunner().invoke(app, ["verify", "masks"]).exit_code == 0
    for option in ("--no-copy-move", "--no-copies"):  # the second as it was called before
        assert CliRunner().invoke(app, [*command, option, "--out", option]).exit_code == 0
        assert not any(record["copy_move"] for record in lines(out=option))


# --- The report -----------------------------------------------------------------------------


def test_report_is_one_file_and_brings_heat_maps(fasa_scan) -> None:
    photos("a.jpg", "b.jpg")
    for _ in range(2):  # also when everything is on record
        result = fasa_scan("photos", "gone.jpg", "--report", "report.html", "--json")
        assert result.exit_code == 3
        assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == [
            "a.jpg",
            "b.jpg",
        ]
        assert "report: report.html" in result.stderr
        assert "of 2 photos 2 listed, 2 pictured, 2 in large" in result.stderr
    assert Path("masks/a.jpg.prob.png").is_file()
    page = Path("report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "gone.jpg" in page
    assert str(Path.cwd()) not in page


def test_the_report_may_lie_in_the_output_folder_from_the_first_run_on(fasa_scan) -> None:
    photos("a.jpg")
    for _ in range(2):
        result = fasa_scan("photos", "--report", "masks/report.html")
        assert result.exit_code == 0, result.stderr
        assert Path("masks/report.html").is_file()


def test_report_shows_paths_when_asked(fasa_scan) -> None:
    photos("a.jpg")
    fasa_scan(str(Path("photos").absolute()), "--report", "r.html", "--redact", "gps")
    assert str(Path("photos/a.jpg").absolute()) in Path("r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [("--report", "no/r.html"), ("--report", "photos"), ("--report", "r.html", "--redact", "all")],
)
def test_2_a_report_that_cannot_be_is_refused_before_the_scan(fasa_scan, arguments) -> None:
    photos("a.jpg")
    assert fasa_scan("photos", *arguments).exit_code == 2
    assert tree() == ["photos", "photos/a.jpg"]


# --- Dry run --------------------------------------------------------------------------------


def test_dry_run_touches_nothing() -> None:
    photos("a.jpg", "line\nbreak.jpg")
    before = tree()
    result = CliRunner().invoke(app, ["scan", "photos", "--dry-run", "--weights", "gone"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "photos/a.jpg -> masks/a.jpg.mask.png",
        "photos/line\\nbreak.jpg -> masks/line\\nbreak.jpg.mask.png",
    ]
    assert "2 to analyse, 0 failed, 0 skipped" in result.stderr
    result = CliRunner().invoke(app, ["scan", "photos", "gone.jpg", "--dry-run", "--json"])
    plans = [json.loads(line) for line in result.stdout.splitlines()]
    assert plans[1] == {
        "path": "photos/line\nbreak.jpg",
        "mask": "masks/line\nbreak.jpg.mask.png",
    }
    assert result.exit_code == 3
    assert tree() == before


def test_dry_run_says_the_truth(fasa_scan) -> None:
    photos("a.jpg", "sub/a.jpg")
    write_photo(Path("more/photos/a.jpg"), 7)
    inputs = ("photos", "more/photos", "photos/sub/a.jpg")
    planned = [
        json.loads(line) for line in fasa_scan(*inputs, "--dry-run", "--json").stdout.splitlines()
    ]
    fasa_scan(*inputs)
    written = [(record["path"], f"masks/{record['outputs']['mask']}") for record in lines()]
    assert written == [(plan["path"], plan["mask"]) for plan in planned]
    assert all(Path(plan["mask"]).is_file() for plan in planned)

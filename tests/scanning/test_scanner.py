"""A scan with a stand-in for the model: what is written, resumed, refused and counted."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fasa_cli.errors import OutputError
from fasa_cli.imaging import cells, regions, rendering
from fasa_cli.imaging.decode import read_image
from fasa_cli.imaging.encode import encode_mask
from fasa_cli.results import Failure, Prediction
from fasa_cli.scanning import outputs, scanner
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions, ScanSummary
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.scanner import scan
from fasa_cli.scanning.stages import Outcome
from tests.conftest import RedPredictor, write_photo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photos(*names: str) -> None:
    for seed, name in enumerate(names):
        write_photo(Path("photos", name), seed)


def run(
    predictor: RedPredictor,
    *inputs: str,
    report: Callable[[Outcome], None] = lambda outcome: None,
    **options: Any,
) -> ScanSummary:
    out = Path(options.pop("out", "masks"))
    inputs = inputs or ("photos",)
    found = discover(inputs, out)
    return scan(
        predictor, found, ScanOptions(out, **options), argv=["fasa", "scan", *inputs], report=report
    )  # type: ignore[arg-type]


def lines(name: str = "results.jsonl", out: str = "masks") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "_fasa", name).read_text().splitlines()]


def run_json(out: str = "masks") -> dict[str, Any]:
    return json.loads(Path(out, "_fasa", "run.json").read_text())


# --- Outputs --------------------------------------------------------------------------------


def test_outputs_are_the_images_size_and_the_records_say_the_truth() -> None:
    photos("sub/a.png")
    summary = run(RedPredictor(), probabilities=True, overlay=True, threshold=0.25)
    assert summary.analysed == 1
    image = read_image("photos/sub/a.png")
    red = image.pixels[:, :, 0]
    mask = cv2.imread("masks/sub/a.png.mask.png", cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask, np.where(red / np.float32(255) > 0.25, 255, 0))
    probabilities = cv2.imread("masks/sub/a.png.prob.png", cv2.IMREAD_UNCHANGED)
    assert probabilities.dtype == np.uint16
    assert np.array_equal(probabilities, np.rint(red.astype(float) / 255 * 65535))
    assert cv2.imread("masks/sub/a.png.overlay.jpg").shape == image.pixels.shape
    (record,) = lines()
    assert record["path"] == os.path.join("photos", "sub", "a.png")
    assert record["sha256"] == image.sha256
    assert record["display_size"] == [40, 32]
    assert record["score_max"] == round(float(red.max()) / 255, 6)
    assert record["area_fraction"] == pytest.approx((mask > 0).mean(), abs=1e-6)
    assert record["region_count"] == len(record["regions"]) > 0
    assert record["outputs"]["overlay"] == "sub/a.png.overlay.jpg"


def test_many_regions_are_counted_and_the_largest_listed() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2, ::2, 0] = 255
    Path("photos").mkdir()
    cv2.imwrite("photos/dots.png", pixels[:, :, ::-1])
    run(RedPredictor())
    (record,) = lines()
    assert (record["region_count"], len(record["regions"])) == (1024, outputs.LISTED_REGIONS)


def test_run_json_says_what_ran() -> None:
    photos("a.jpg", "b.jpg")
    Path("photos/notes.txt").write_text("text")
    Path("photos/cut.jpg").write_bytes(Path("photos/a.jpg").read_bytes()[:200])
    run(RedPredictor())
    description = run_json()
    assert description["status"] == "complete"
    assert description["argv"] == ["fasa", "scan", "photos"]
    assert description["config"]["threshold"] == 0.5
    assert description["config"]["model"]["preset"] == "tiny"
    assert description["weights"]["sha256"] == "0" * 64
    assert description["started"].endswith("+00:00")
    assert description["ended"] >= description["started"]
    assert description["libraries"]["torch"]
    counts = description["counts"]
    assert (counts["found"], counts["analysed"], counts["failed"], counts["skipped"]) == (
        4,
        2,
        1,
        1,
    )
    assert counts["failed_by_kind"] == {"undecodable": 1}
    assert counts["skipped_by_kind"] == {"not an image": 1}
    (failure,) = lines("errors.jsonl")
    assert (failure["path"], failure["stage"]) == (os.path.join("photos", "cut.jpg"), "decode")
    assert "cut.jpg" not in failure["reason"]
    assert [line["path"] for line in lines("skipped.jsonl")] == [
        os.path.join("photos", "notes.txt")
    ]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_order_and_batches(batch: int) -> None:
    names = [f"{number:02}.jpg" for number in range(10)]
    photos(*names)
    Path("photos/04.jpg").write_bytes(b"\xff\xd8\xffno")
    predictor = RedPredictor()
    seen: list[Outcome] = []
    run(predictor, batch=batch, report=seen.append)
    assert [os.path.basename(outcome.path) for outcome in seen] == names
    assert [record["name"] for record in lines()] == [name for name in names if name != "04.jpg"]
    assert predictor.calls == {1: 9, 3: 4, 8: 2}[batch]


def test_odd_names_survive_disk_and_json() -> None:
    odd = ["new\nline.jpg", "\u202egpj.exe.jpg", os.fsdecode(b"\xff\xfe.jpg"), "=1+1.jpg"]
    photos(*odd)
    run(RedPredictor(), overlay=True)
    assert sorted(record["name"] for record in lines()) == sorted(odd)
    for name in odd:
        assert Path("masks", name + ".mask.png").is_file()
    assert len(Path("masks/_fasa/results.csv").read_bytes().splitlines()) >= len(odd) + 1
    assert run(RedPredictor()).reused == len(odd)


# --- One image's failure --------------------------------------------------------------------


def test_a_batch_that_fails_is_tried_one_by_one() -> None:
    photos("a.jpg", "b.jpg", "c.jpg")
    write_photo(Path("photos/big.jpg"), size=(80, 80))
    predictor = RedPredictor()

    def refuse(images: Sequence[np.ndarray]) -> None:
        if any(image.shape[0] == 80 for image in images):
            raise RuntimeError("out of memory")

    predictor.before = refuse
    summary = run(predictor, batch=4)
    assert (summary.analysed, summary.failed_by_kind) == (3, {"internal": 1})
    (failure,) = lines("errors.jsonl")
    assert (failure["stage"], failure["reason"]) == ("model", "RuntimeError: out of memory")


def test_an_undefined_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("a.jpg")
    undefined = Prediction(np.full((32, 40), np.nan, np.float32), 0.5, (40, 32))
    monkeypatch.setattr(RedPredictor, "_predict", lambda self, image: undefined)
    assert run(RedPredictor()).failed_by_kind == {"internal": 1}
    assert not Path("masks/a.jpg.mask.png").exists()


def test_a_huge_file_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("a.jpg", "b.png")
    monkeypatch.setattr(scanner, "_LARGEST_FILE", os.path.getsize("photos/a.jpg"))
    assert run(RedPredictor()).failed_by_kind == {"too large": 1}


def test_a_failure_leaves_no_output_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("a.jpg")
    monkeypatch.setattr(outputs, "encode_jpeg", lambda array: 1 / 0)
    assert run(RedPredictor(), overlay=True).failed_by_kind == {"internal": 1}
    assert os.listdir("masks") == ["_fasa"]


def test_a_file_that_vanishes_is_a_failure() -> None:
    photos("a.jpg", "b.jpg")
    found = discover(["photos"], Path("masks"))
    os.remove("photos/a.jpg")
    summary = scan(RedPredictor(), found, ScanOptions(Path("masks")))  # type: ignore[arg-type]
    assert (summary.analysed, summary.failed_by_kind) == (1, {"unreadable": 1})


def test_a_mask_in_the_place_of_a_folder_is_one_failure() -> None:
    photos("a.jpg", "a.jpg.mask.png/b.jpg", "c.jpg")
    summary = run(RedPredictor())
    assert (summary.analysed, summary.failed_by_kind) == (2, {"unwritable": 1})


def test_a_full_disk_stops_the_scan_and_it_can_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    photos(*(f"{number}.jpg" for number in range(6)))
    write = scanner.RunFolder.write_output

    def full(self: Any, path: str, data: bytes) -> str:
        if path.startswith("3"):
            raise OutputError(f"{path}: no space left") from OSError(28, "No space left on device")
        return write(self, path, data)

    with monkeypatch.context() as patch:
        patch.setattr(scanner.RunFolder, "write_output", full)
        with pytest.raises(OutputError, match="no space left"):
            run(RedPredictor())
    assert run_json()["status"] == "interrupted"
    assert [record["name"] for record in lines()] == ["0.jpg", "1.jpg", "2.jpg"]
    assert run(RedPredictor()).reused == 3


def test_an_output_folder_that_cannot_be_made() -> None:
    photos("a.jpg")
    Path("masks").write_text("a file")
    with pytest.raises(OutputError, match="masks"):
        run(RedPredictor())


# --- Resuming -------------------------------------------------------------------------------


def test_unchanged_images_are_not_analysed_again() -> None:
    photos("a.jpg", "b.jpg")
    run(RedPredictor())
    before = lines()
    predictor = RedPredictor()
    seen: list[Outcome] = []
    summary = run(predictor, report=seen.append)
    assert (predictor.images, summary.analysed, summary.reused, len(seen)) == (0, 2, 2, 2)
    assert lines() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: write_photo(Path("photos/a.jpg"), seed=99),  # other bytes
        lambda: os.remove("masks/a.jpg.mask.png"),
        lambda: Path("masks/a.jpg.mask.png").write_bytes(b""),  # existence is not completion
    ],
)
def test_what_changed_is_analysed_again(spoil: Callable[[], object]) -> None:
    photos("a.jpg", "b.jpg")
    run(RedPredictor())
    spoil()
    predictor = RedPredictor()
    summary = run(predictor)
    assert (predictor.images, summary.reused) == (1, 1)
    mask = cv2.imread("masks/a.jpg.mask.png", cv2.IMREAD_UNCHANGED)
    assert np.array_equal(mask > 0, read_image("photos/a.jpg").pixels[:, :, 0] / 255 > 0.5)
    assert [record["name"] for record in lines()] == ["a.jpg", "b.jpg"]
    assert run(RedPredictor()).reused == 2


@pytest.mark.parametrize("tail", [b'{"schema_version": 2, "pa', b"garbage\n", b"\n\xff\xfe\n"])
def test_a_damaged_journal_is_refused_and_kept(tail: bytes) -> None:
    photos("a.jpg", "b.jpg", "c.jpg")
    run(RedPredictor())
    journal = Path("masks/_fasa/results.jsonl")
    kept = journal.read_bytes().splitlines(keepends=True)[:2]
    journal.write_bytes(b"".join(kept) + tail)
    with pytest.raises(OutputError, match=r"results\.jsonl: .*--overwrite"):
        run(RedPredictor())
    assert journal.read_bytes() == b"".join(kept) + tail
    assert run(RedPredictor(), overwrite=True).analysed == 3


def test_failures_are_tried_again() -> None:
    photos("a.jpg")
    Path("photos/b.jpg").write_bytes(b"")
    assert run(RedPredictor()).failed == 1
    photos("b.jpg")
    assert run(RedPredictor()).failed == 0
    assert lines("errors.jsonl") == []


def test_an_image_that_fails_now_loses_its_old_mask() -> None:
    photos("a.jpg", "b.jpg")
    run(RedPredictor())
    Path("photos/a.jpg").write_bytes(b"")
    assert run(RedPredictor()).failed == 1
    assert not Path("masks/a.jpg.mask.png").exists()
    assert [record["name"] for record in lines()] == ["b.jpg"]


def test_further_outputs_can_be_asked_for_later() -> None:
    photos("a.jpg")
    run(RedPredictor())
    assert run(RedPredictor(), overlay=True).reused == 0
    assert run(RedPredictor()).reused == 1
    assert lines()[0]["outputs"].keys() == {"mask", "overlay"}


def everything(folder: str) -> dict[str, bytes]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def counted_in(folder: str = "masks") -> dict[str, int]:
    """The folder's counts, which must add up and agree with its files."""
    counts = json.loads(Path(folder, "_fasa/run.json").read_text())["counts"]
    names = {"analysed": "results", "failed": "errors", "skipped": "skipped"}
    for key, name in names.items():
        assert counts[key] == len(lines(f"{name}.jsonl")), key
    assert counts["found"] == counts["analysed"] + counts["failed"] + counts["skipped"]
    assert counts["failed"] == sum(counts["failed_by_kind"].values())
    assert counts["skipped"] == sum(counts["skipped_by_kind"].values())
    return {key: counts[key] for key in ("found", "analysed", "failed", "skipped")}


def test_a_scan_of_other_files_is_refused_and_nothing_is_lost() -> None:
    photos("a.jpg", "b.jpg")
    Path("photos/cut.jpg").write_bytes(b"")
    Path("photos/notes.txt").write_text("text")
    write_photo(Path("more/c.jpg"), 7)
    run(RedPredictor())
    before = everything("masks")
    for inputs in (["more"], ["photos/a.jpg"], ["photos/a.jpg", "photos/b.jpg"]):
        with pytest.raises(OutputError, match=r"masks: .*--add.*--overwrite"):
            run(RedPredictor(), *inputs)
    assert everything("masks") == before
    assert counted_in() == {"found": 4, "analysed": 2, "failed": 1, "skipped": 1}


def test_photos_that_came_into_a_folder_join_its_scan() -> None:
    photos("a.jpg")
    run(RedPredictor())
    photos("a.jpg", "b.jpg")
    assert run(RedPredictor()).reused == 1
    assert counted_in() == {"found": 2, "analysed": 2, "failed": 0, "skipped": 0}


def test_add_keeps_both_scans_whole() -> None:
    photos("a.jpg", "b.jpg")
    Path("photos/cut.jpg").write_bytes(b"")
    Path("photos/notes.txt").write_text("text")
    run(RedPredictor())
    masks = {path: data for path, data in everything("masks").items() if "_fasa" not in path}
    write_photo(Path("more/c.jpg"), 7)
    Path("more/empty.jpg").write_bytes(b"")
    Path("more/other.txt").write_text("text")
    for _ in range(2):  # the same again changes nothing
        summary = run(RedPredictor(), "more", add=True)
        assert (summary.found, summary.analysed, summary.failed, summary.kept) == (3, 1, 1, 2)
        assert counted_in() == {"found": 7, "analysed": 3, "failed": 2, "skipped": 2}
    now = everything("masks")
    assert masks.items() <= now.items()
    assert {line["path"] for line in lines("errors.jsonl")} == {
        os.path.join("photos", "cut.jpg"),
        os.path.join("more", "empty.jpg"),
    }
    commands = json.loads(Path("masks/_fasa/run.json").read_text())["commands"]
    assert [one["argv"][-1] for one in commands] == ["photos", "more"]
    assert check_all(SavedRun(Path("masks")))


def test_add_keeps_failures_of_scans_that_were_started_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos("a.jpg")
    Path("photos/cut.jpg").write_bytes(b"")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run(RedPredictor(), "../photos", out="../masks")
    monkeypatch.chdir("..")
    write_photo(Path("more/c.jpg"), 7)
    for _ in range(3):
        run(RedPredictor(), "more", add=True)
        assert counted_in() == {"found": 3, "analysed": 2, "failed": 1, "skipped": 0}
    os.remove("photos/cut.jpg")
    run(RedPredictor(), "more", add=True)
    assert counted_in()["failed"] == 1  # what was said of it stays, though it is gone
    assert run(RedPredictor(), "photos", add=True).reused == 1
    assert counted_in()["analysed"] == 2


def check_all(saved: SavedRun) -> bool:
    return saved.broken_chain() is None and saved.digest() == saved.description["digest"]


def test_add_never_lists_a_photo_twice() -> None:
    photos("sub/a.jpg", "b.jpg")
    run(RedPredictor())
    predictor = RedPredictor()
    summary = run(predictor, "photos/sub", "photos/b.jpg", add=True)  # there it is called a.jpg
    assert (predictor.images, summary.reused) == (0, 2)
    assert sorted(record["name"] for record in lines()) == ["b.jpg", "sub/a.jpg"]
    assert counted_in()["analysed"] == 2


def test_add_tells_photos_of_one_name_apart() -> None:
    """As two cards from one camera, also where the second lies where the first did."""
    photos("a.jpg")
    write_photo(Path("other/a.jpg"), seed=5)
    run(RedPredictor())
    first = Path("masks/a.jpg.mask.png").read_bytes()
    for _ in range(2):
        assert run(RedPredictor(), "other", add=True).analysed == 1
        names = [record["name"] for record in lines()]
        assert len(names) == len(set(names)) == 2
    photos_before = {record["sha256"] for record in lines()}
    write_photo(Path("photos/a.jpg"), seed=6)
    run(RedPredictor(), add=True)
    assert len(lines()) == 3
    assert photos_before < {record["sha256"] for record in lines()}
    assert Path("masks/a.jpg.mask.png").read_bytes() == first


def test_another_photo_of_the_same_name_does_not_replace_the_first() -> None:
    photos("a.jpg")
    write_photo(Path("other/a.jpg"), seed=5)
    run(RedPredictor(), "photos/a.jpg")
    before = everything("masks")
    with pytest.raises(OutputError, match="--add"):
        run(RedPredictor(), "other/a.jpg")
    os.remove("photos/a.jpg")  # it may have moved, but the bytes say that it has not
    summary = run(RedPredictor(), "other/a.jpg")
    assert summary.failed_by_kind == {"collision": 1}
    mask = os.path.join("masks", "a.jpg.mask.png")
    assert Path(mask).read_bytes() == before[mask]
    assert [record["path"] for record in lines()] == [os.path.join("photos", "a.jpg")]


def test_an_overlay_that_cannot_be_made_costs_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("a.jpg", "b.jpg")
    write_photo(Path("photos/wide.png"), 3, (65_501, 1))
    for _ in range(2):  # it is on record that it cannot be
        summary = run(RedPredictor(), overlay=True)
        assert (summary.analysed, summary.failed, summary.not_made) == (3, 0, 1)
    assert summary.reused == 3
    wide = next(record for record in lines() if record["name"] == "wide.png")
    assert wide["outputs"] == {"mask": "wide.png.mask.png"}
    assert "65501 x 1" in wide["not_made"]["overlay"]
    assert Path("masks/wide.png.mask.png").is_file()
    assert Path("masks/b.jpg.overlay.jpg").is_file()


def test_a_score_below_1_is_never_recorded_as_1() -> None:
    class NearlySure(RedPredictor):
        def _predict(self, image: np.ndarray) -> Prediction:
            values = np.full(image.shape[:2], 0.99999994, np.float32)
            return Prediction(values, float(values.max()), image.shape[1::-1])

    photos("a.jpg")
    run(NearlySure())
    record = lines()[0]
    scores = [record["score_max"], record["score_network"]]
    scores += [record["regions"][0]["peak_score"], record["regions"][0]["mean_score"]]
    assert scores == [0.999999] * 4


def test_moved_photos_are_recognised_by_their_bytes() -> None:
    photos("a.jpg")
    run(RedPredictor())
    os.rename("photos", "archive")
    assert run(RedPredictor(), "archive").reused == 1
    assert lines()[0]["path"] == os.path.join("archive", "a.jpg")


# --- Whose folder it is ---------------------------------------------------------------------


def test_other_settings_are_refused() -> None:
    photos("a.jpg")
    run(RedPredictor())
    with pytest.raises(OutputError, match=r"config.threshold was 0.5, is 0.7.*--overwrite"):
        run(RedPredictor(), threshold=0.7)
    with pytest.raises(OutputError, match=r"weights.sha256 was 0+, is 1+"):
        run(RedPredictor(sha256="1" * 64))
    assert lines()[0]["name"] == "a.jpg"


def test_overwrite_starts_anew_and_leaves_no_stale_mask() -> None:
    photos("a.jpg", "b.jpg")
    run(RedPredictor(), overlay=True)
    Path("masks/mine.txt").write_text("kept")
    os.remove("photos/b.jpg")
    summary = run(RedPredictor(), threshold=0.7, overwrite=True)
    assert (summary.reused, summary.kept) == (0, 0)
    assert sorted(os.listdir("masks")) == ["_fasa", "a.jpg.mask.png", "mine.txt"]


def test_a_journal_cannot_make_us_delete_elsewhere() -> None:
    photos("a.jpg")
    run(RedPredictor())
    journal = Path("masks/_fasa/results.jsonl")
    record = json.loads(journal.read_text())
    victims = {"mask": "../photos/a.jpg", "overlay": os.path.abspath("photos/a.jpg")}
    journal.write_text(json.dumps({**record, "outputs": victims}) + "\n")
    run(RedPredictor(), overwrite=True)
    assert Path("photos/a.jpg").is_file()


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_run_json_is_not_guessed_at(text: str) -> None:
    photos("a.jpg")
    run(RedPredictor())
    Path("masks/_fasa/run.json").write_text(text)
    with pytest.raises(OutputError, match=r"run.json.*--overwrite"):
        run(RedPredictor())
    assert run(RedPredictor(), overwrite=True).analysed == 1


def test_a_journal_without_run_json_is_not_trusted() -> None:
    photos("a.jpg")
    run(RedPredictor())
    os.remove("masks/_fasa/run.json")
    os.remove("masks/a.jpg.mask.png")
    with pytest.raises(OutputError, match=r"run.json: missing"):
        run(RedPredictor())


def test_files_that_are_not_ours_are_not_replaced() -> None:
    photos("a.jpg", "b.jpg")
    Path("masks").mkdir()
    Path("masks/notes.txt").write_text("a folder with files is fine")
    Path("masks/b.jpg.mask.png").write_text("drawn by hand")
    with pytest.raises(OutputError, match=r"b.jpg.mask.png: exists"):
        run(RedPredictor())
    assert sorted(os.listdir("masks")) == ["b.jpg.mask.png", "notes.txt"]
    assert run(RedPredictor(), overwrite=True).analysed == 2


def test_a_second_scan_into_the_folder_is_refused() -> None:
    pytest.importorskip("fcntl")
    photos("a.jpg")
    predictor = RedPredictor()

    def scan_too(images: Sequence[np.ndarray]) -> None:
        with pytest.raises(OutputError, match="another scan"):
            run(RedPredictor())

    predictor.before = scan_too
    assert run(predictor).analysed == 1


def test_outputs_take_few_bytes_a_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside photo, probabilities and mask (8 bytes) no more than an overlay twice, in 8 bits."""
    size = (1500, 1000)
    rows, columns = np.mgrid[: size[1], : size[0]]
    marked = ((rows // 40 % 2) * (columns // 40 % 2) * 200).astype(np.uint8)
    marked[200:600] = 230  # one region is large
    Path("photos").mkdir()
    Image.fromarray(np.dstack([marked] * 3)).save("photos/a.png")
    for module in (rendering, regions, cells):
        monkeypatch.setattr(module, "_STRIP_PIXELS", 50_000)
    tracemalloc.start()
    try:
        run(RedPredictor(), probabilities=True, overlay=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines()[0]["region_count"] > 100
    assert peak / (size[0] * size[1]) < 16


# --- Interruption ---------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_scan_keeps_what_it_has_and_goes_on(number: signal.Signals) -> None:
    photos(*(f"{index:02}.jpg" for index in range(20)))
    predictor = RedPredictor()

    def interrupt(images: Sequence[np.ndarray]) -> None:
        if predictor.calls == 3:
            signal.raise_signal(number)

    predictor.before = interrupt
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    summary = run(predictor)
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert (summary.status, summary.analysed, summary.remaining) == ("interrupted", 2, 18)
    assert run_json()["status"] == "interrupted"
    assert len(lines()) == 2
    predictor = RedPredictor()
    summary = run(predictor)
    assert (summary.status, summary.reused, predictor.images) == ("complete", 2, 18)
    assert [record["name"] for record in lines()] == [f"{index:02}.jpg" for index in range(20)]


def test_an_interrupted_rerun_keeps_the_records_it_did_not_reach() -> None:
    photos(*(f"{index}.jpg" for index in range(4)))
    run(RedPredictor())
    write_photo(Path("photos/0.jpg"), seed=50)
    write_photo(Path("photos/1.jpg"), seed=51)
    predictor = RedPredictor()

    def interrupt(images: Sequence[np.ndarray]) -> None:
        if predictor.calls == 2:
            signal.raise_signal(signal.SIGINT)

    predictor.before = interrupt
    summary = run(predictor)
    assert (summary.status, summary.analysed, summary.kept) == ("interrupted", 1, 0)
    assert [record["name"] for record in lines()] == [f"{index}.jpg" for index in range(4)]
    assert run(RedPredictor()).reused == 3


def test_a_long_photo_is_given_up_at_once() -> None:
    photos("a.jpg", "b.jpg")
    predictor = RedPredictor()

    def interrupt(images: Sequence[np.ndarray]) -> None:
        if predictor.calls == 2:
            threading.Timer(0.2, signal.raise_signal, (signal.SIGTERM,)).start()
            for _ in range(1000):
                time.sleep(0.01)

    predictor.before = interrupt
    start = time.monotonic()
    summary = run(predictor, probabilities=True, overlay=True)
    assert time.monotonic() - start < 5
    assert (summary.status, summary.analysed, summary.remaining) == ("interrupted", 1, 1)
    assert not list(Path("masks").rglob("b.jpg*"))
    assert run(RedPredictor(), probabilities=True, overlay=True).reused == 1


def test_what_is_analysed_when_interrupted_is_still_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos("a.jpg", "b.jpg")

    def interrupt(mask: np.ndarray) -> bytes:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # the main thread is told
        return encode_mask(mask)

    monkeypatch.setattr(outputs, "encode_mask", interrupt)
    predictor = RedPredictor()
    predictor.before = lambda images: time.sleep(0.3 * (predictor.calls - 1))
    summary = run(predictor, probabilities=True)
    assert (summary.status, summary.analysed, summary.remaining) == ("interrupted", 1, 1)
    assert Path("masks/a.jpg.prob.png").exists()


def test_a_reader_who_leaves_ends_the_scan_in_order() -> None:
    photos("a.jpg", "b.jpg", "c.jpg")

    def leave(outcome: Outcome) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(RedPredictor(), report=leave)
    assert run_json()["status"] == "interrupted"
    assert run(RedPredictor()).reused >= 1


def test_scanning_works_outside_the_main_thread() -> None:
    photos("a.jpg")
    summaries: list[ScanSummary] = []
    thread = threading.Thread(target=lambda: summaries.append(run(RedPredictor())))
    thread.start()
    thread.join()
    assert summaries[0].analysed == 1


def test_reports_and_counts_agree() -> None:
    photos("a.jpg", "b.jpg")
    Path("photos/c.jpg").write_bytes(b"")
    seen: list[Outcome] = []
    summary = run(RedPredictor(), "photos", "gone.jpg", report=seen.append)
    failures = [outcome for outcome in seen if isinstance(outcome, Failure)]
    assert (
        (summary.analysed, summary.failed) == (len(seen) - len(failures), len(failures)) == (2, 2)
    )
    assert summary.found == summary.analysed + summary.failed + summary.skipped == 4
    assert len(lines()) == summary.analysed
    assert len(lines("errors.jsonl")) == summary.failed

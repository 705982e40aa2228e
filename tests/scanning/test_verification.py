"""Verifying and repeating a scan: nothing is claimed that was not checked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fasa_cli.errors import CheckpointError, OutputError
from fasa_cli.files import canonical_json
from fasa_cli.scanning.bundle import bundle
from fasa_cli.scanning.records import CHAIN_START
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.verification import rerun, verify
from tests.conftest import RedPredictor, scan_red, write_photo

ODD = [
    "new\nline.png",
    "\u202egpj.png",
    os.fsdecode(b"\xff%.png"),
    "a%0A.png",
    "sub/\U0001f600.png",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.png", "sub/b.png", "c.png")):
        write_photo(Path("photos", name), seed)
    Path("weights").write_bytes(b"weights")
    return tmp_path


def scanned(**options) -> SavedRun:
    out = scan_red(**options)
    edit_run(out, weights={"sha256": hashlib.sha256(b"weights").hexdigest(), "path": "weights"})
    run = SavedRun(out)
    edit_run(out, digest=run.digest())  # the weights' hash belongs to it
    return SavedRun(out)


def edit_run(out: Path, **values) -> None:
    path = out / "_fasa" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def edit_record(out: Path, **values) -> None:
    path = out / "_fasa" / "results.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(first), **values}) + "\n" + "".join(rest))


def found(run: SavedRun) -> list[tuple[str, str, str]]:
    return [(one.check, one.path, one.kind) for one in verify(run).findings]


# --- Verify ---------------------------------------------------------------------------------


def test_an_untouched_scan_is_as_it_was() -> None:
    result = verify(scanned(probabilities=True))
    assert result.findings == ()
    assert result.checked == {"inputs": 3, "outputs": 6, "weights": 1, "records": 1}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda: write_photo(Path("photos/a.png"), 9), ("inputs", "photos/a.png", "changed")),
        (lambda: os.remove("photos/c.png"), ("inputs", "photos/c.png", "missing")),
        (lambda: os.remove("masks/c.png.mask.png"), ("outputs", "c.png.mask.png", "missing")),
        (
            lambda: Path("masks/sub/b.png.mask.png").write_bytes(b"x"),
            ("outputs", "sub/b.png.mask.png", "changed"),
        ),
        (
            lambda: edit_record(Path("masks"), score_max=0.0),
            ("records", "_fasa/results.jsonl", "changed"),
        ),
        (
            lambda: edit_run(Path("masks"), status="interrupted"),
            ("records", "_fasa/run.json", "unfinished"),
        ),
    ],
)
def test_what_changed_is_found(spoil, expected) -> None:
    scanned()
    spoil()
    assert found(SavedRun(Path("masks"))) == [expected]


def test_other_weights_are_found() -> None:
    run = scanned()
    Path("weights").write_bytes(b"others")
    ((check, path, kind),) = found(run)
    assert (check, Path(path).name, kind) == ("weights", "weights", "changed")
    Path("moved").write_bytes(b"weights")
    assert verify(run, weights=Path("moved")).findings == ()


def test_a_scan_that_names_no_weights_says_so() -> None:
    assert found(SavedRun(scan_red())) == [("weights", "", "missing")]


def test_special_files_are_not_opened() -> None:
    run = scanned()
    os.remove("photos/a.png")
    os.mkfifo("photos/a.png")
    assert found(run) == [("inputs", "photos/a.png", "missing")]


def test_records_cannot_lead_outside() -> None:
    run = scanned()
    edit_record(run.out, outputs={"mask": "../photos/a.png"})
    assert ("outputs", "../photos/a.png", "outside") in found(run)
    with pytest.raises(OutputError, match="outside"):
        bundle(run, Path("evidence.zip"))


# --- The digest -----------------------------------------------------------------------------


def test_the_digest_has_no_clock_and_no_paths() -> None:
    first = SavedRun(scan_red()).description
    os.rename("photos", "archive")
    second = SavedRun(scan_red("archive", out="elsewhere")).description
    assert first["digest"] == second["digest"]
    assert len(first["digest"]) == 64


def test_the_digest_tells_results_apart() -> None:
    digests = {SavedRun(scan_red()).description["digest"]}
    digests.add(SavedRun(scan_red(out="t", threshold=0.6)).description["digest"])
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff")
    digests.add(SavedRun(scan_red(out="f")).description["digest"])
    os.remove("photos/cut.jpg")
    write_photo(Path("photos/a.png"), 9)
    digests.add(SavedRun(scan_red(out="b")).description["digest"])
    assert len(digests) == 4


# --- Rerun ----------------------------------------------------------------------------------


def test_the_same_model_gives_the_same_results() -> None:
    run = SavedRun(scan_red(probabilities=True))
    predictor = RedPredictor()
    result = rerun(run, predictor, 2, tolerance=1e-5)  # type: ignore[arg-type]
    assert (result.checked, result.findings, predictor.images) == ({"rerun": 2}, (), 2)
    assert rerun(run, predictor, 99, 1e-5).checked == {"rerun": 3}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shift", "reason"), [(0.1, "score"), (0.02, "pixels of the mask"), (0.004, "probabilities")]
)
def test_other_answers_are_found(shift: float, reason: str, monkeypatch) -> None:
    write_photo(Path("photos/a.png"), 1)
    run = SavedRun(scan_red("photos/a.png", probabilities=True))
    answer = RedPredictor._predict

    def shifted(self, image):
        prediction = answer(self, image)
        moved = np.maximum(prediction.probabilities - np.float32(shift), 0)
        score = prediction.score - shift * (reason == "score")
        return type(prediction)(moved, score, prediction.effective_size)

    monkeypatch.setattr(RedPredictor, "_predict", shifted)
    (finding,) = rerun(run, RedPredictor(), 1, tolerance=0.003).findings  # type: ignore[arg-type]
    assert finding.kind == "different"
    assert reason in finding.reason
    assert rerun(run, RedPredictor(), 1, tolerance=0.2).findings == ()  # type: ignore[arg-type]


def test_rerun_wants_the_scans_weights_and_photos() -> None:
    run = SavedRun(scan_red())
    with pytest.raises(CheckpointError, match="other weights"):
        rerun(run, RedPredictor("1" * 64), 1, 0.01)  # type: ignore[arg-type]
    os.remove("photos/a.png")
    (finding,) = rerun(run, RedPredictor(), 3, 0.01).findings  # type: ignore[arg-type]
    assert (finding.path, finding.kind) == ("photos/a.png", "unreadable")


def test_photos_on_another_mount_are_found_where_they_are_now() -> None:
    scanned()
    os.rename("photos", "disk2")
    assert {kind for _, _, kind in found(SavedRun(Path("masks")))} == {"missing"}
    assert found(SavedRun(Path("masks"), Path("disk2"))) == []
    os.makedirs("whole")
    os.rename("disk2", "whole/photos")  # all of the recorded path lies there
    assert found(SavedRun(Path("masks"), Path("whole"))) == []
    write_photo(Path("whole/photos/sub/b.png"), 9)
    ((check, path, kind),) = found(SavedRun(Path("masks"), Path("whole/photos")))
    assert (check, path, kind) == ("inputs", os.path.join("photos", "sub", "b.png"), "changed")


def test_moved_paths_stay_below_the_folder() -> None:
    run = scanned()
    edit_record(run.out, name="../../a.png", path="../photos/a.png")
    there = SavedRun(run.out, Path("photos"))
    assert there.photo_path(next(iter(there.records()))) == Path("photos/a.png")


def test_records_of_another_version_of_fasa_are_intact() -> None:
    """Fields that came later, or are not known yet, do not make a scan look changed."""
    out = scanned().out
    path, run = out / "_fasa" / "results.jsonl", out / "_fasa" / "run.json"
    before, hashes, forged = CHAIN_START, [], []
    for line in path.read_text().splitlines():
        values = json.loads(line)
        for key in ("chain", "not_made", "lowered_fraction"):
            del values[key]
        canonical = canonical_json(values)
        before = hashlib.sha256(before.encode() + canonical).hexdigest()
        forged.append(json.dumps({**values, "chain": before}) + "\n")
        content = {key: values[key] for key in values if key not in ("path", "seconds")}
        hashes.append(hashlib.sha256(canonical_json(content)).hexdigest())
    path.write_text("".join(forged))
    about = json.loads(run.read_text())
    head = {"schema_version": about["schema_version"], "config": about["config"]}
    for part in (head, {"weights": about["weights"]["sha256"]}):
        hashes.append(hashlib.sha256(canonical_json(part)).hexdigest())
    digest = hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()
    edit_run(out, digest=digest, chain=[before])
    assert found(SavedRun(out)) == []
    edit_record(out, format="JPEG")
    assert found(SavedRun(out))

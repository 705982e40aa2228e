"""Verifying, repeating and bundling a scan: nothing is claimed that was not checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fasa_cli import custody
from fasa_cli.custody import bundle, rerun, verify
from fasa_cli.errors import CheckpointError, OutputError
from fasa_cli.saved_run import SavedRun
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
    assert verify(run, Path("moved")).findings == ()


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


# --- Bundle ---------------------------------------------------------------------------------


def test_a_bundle_holds_records_and_outputs_but_no_photos() -> None:
    run = scanned(probabilities=True)
    Path("report.html").write_text("<p>report")
    packed = bundle(run, Path("evidence.zip"), Path("report.html"))
    with zipfile.ZipFile("evidence.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
        for photo in manifest["photos"]:
            for kind, inside in photo["outputs"].items():
                name = f"{photo['name']}.{'mask' if kind == 'mask' else 'prob'}.png"
                assert archive.read(inside) == Path("masks", name).read_bytes()
    assert len(names) == len(set(names)) == packed.files == 3 * 2 + 5 + 3
    assert not [name for name in names if name.startswith("originals")]
    assert {"records/run.json", "records/errors.jsonl", "report.html"} <= set(names)
    assert manifest["digest"] == run.description["digest"]
    assert packed.sha256 == hashlib.sha256(Path("evidence.zip").read_bytes()).hexdigest()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs sha256sum")
def test_sums_are_what_sha256sum_checks_and_names_are_safe() -> None:
    for seed, name in enumerate(ODD):
        write_photo(Path("photos", name), seed)
    run = scanned()
    packed = bundle(run, Path("evidence.zip"), originals=True)
    assert packed.originals == 3 + len(ODD)
    with zipfile.ZipFile("evidence.zip") as archive:
        for name in archive.namelist():
            assert name.isprintable()
            assert ".." not in name.split("/")
            assert not name.startswith("/")
        archive.extractall("unpacked")
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(command, cwd="unpacked", check=True)
    listed = Path("unpacked/SHA256SUMS").read_text().splitlines()
    files = [path for path in Path("unpacked").rglob("*") if path.is_file()]
    assert len(files) == len(listed) + 1 == packed.files
    manifest = json.loads(Path("unpacked/manifest.json").read_text())
    assert set(ODD) <= {photo["name"] for photo in manifest["photos"]}
    for photo in manifest["photos"]:
        data = Path("unpacked", photo["original"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == photo["sha256"]


def test_a_bundle_is_the_same_bytes_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    run = scanned()
    first = bundle(run, Path("one.zip")).sha256
    monkeypatch.setattr(custody, "_PIECE", 7)
    assert bundle(run, Path("two.zip")).sha256 == first


@pytest.mark.parametrize("originals", [False, True])
def test_what_changed_is_not_packed(originals: bool) -> None:
    run = scanned()
    victim = Path("photos/sub/b.png" if originals else "masks/sub/b.png.mask.png")
    victim.write_bytes(b"other")
    with pytest.raises(OutputError, match=r"b.png.*is not what the scan recorded"):
        bundle(run, Path("evidence.zip"), originals=originals)
    assert sorted(os.listdir(".")) == ["masks", "photos", "weights"]


def test_a_name_that_leads_out_is_refused() -> None:
    run = scanned()
    edit_record(run.out, name="../../a.png")
    with pytest.raises(OutputError, match="no name for a file"):
        bundle(run, Path("evidence.zip"), originals=True)


def test_a_bundle_that_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="gone"):
        bundle(scanned(), Path("gone/evidence.zip"))

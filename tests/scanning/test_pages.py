"""Files of several pages: the first with a warning, or each as a record of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasa_cli.scanning.bundle import bundle
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions, ScanSummary
from fasa_cli.scanning.pages import with_all_pages
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.scanner import scan
from fasa_cli.scanning.verification import rerun, verify
from tests.conftest import RedPredictor, write_photo
from tests.imaging.samples import HEIC_TWO

SHADES = (40, 120, 250)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    pages = [Image.new("RGB", (20 + n, 16), (shade, 0, 0)) for n, shade in enumerate(SHADES)]
    pages[0].save("in/pages.tif", save_all=True, append_images=pages[1:])
    write_photo(Path("in/single.png"))


def run(pages: bool = True, **options: bool) -> ScanSummary:
    found = discover(["in"], Path("out"))
    found = with_all_pages(found) if pages else found
    return scan(RedPredictor(), found, ScanOptions(Path("out"), **options))  # type: ignore[arg-type]


def test_each_page_is_a_record_with_its_own_size_and_mask() -> None:
    summary = run()
    assert (summary.found, summary.analysed, summary.failed) == (4, 4, 0)
    saved = SavedRun(Path("out"))
    pages = [record for record in saved.records() if record.path.endswith(".tif")]
    assert [record.name for record in pages] == ["pages.tif", "pages.tif~page2", "pages.tif~page3"]
    assert [record.page for record in pages] == [1, 2, 3]
    for number, (record, shade) in enumerate(zip(pages, SHADES, strict=True)):
        assert record.display_size == (20 + number, 16)
        assert record.score_max == pytest.approx(shade / 255, abs=1e-4)
        assert Path(f"out/{record.name}.mask.png").exists()
        assert any(f"number {number + 1}" in warning for warning in record.warnings)
        assert (saved.read_photo(record)[0].pixels[:, :, 0] == shade).all()
    assert [one.page for one in saved.records() if one.path.endswith(".png")] == [None]


def test_by_default_the_first_is_analysed_and_a_warning_counts_the_others() -> None:
    run(pages=False)
    record = next(one for one in SavedRun(Path("out")).records() if one.path.endswith(".tif"))
    assert record.page is None
    assert any("3 frames; only the first" in warning for warning in record.warnings)


def test_pages_resume_verify_and_are_bundled() -> None:
    run()
    again = run()
    assert again.reused == 4
    saved = SavedRun(Path("out"))
    assert {one.check for one in verify(saved).findings} == {"weights"}  # there are no weights
    assert rerun(saved, RedPredictor(), 10, 1e-4).findings == ()  # type: ignore[arg-type]
    bundle(saved, Path("bundle.zip"), originals=True)
    assert Path("bundle.zip").stat().st_size > 0


def test_pages_of_other_formats() -> None:
    frames = [Image.new("RGB", (24, 16), (shade, 0, 0)) for shade in SHADES]
    for name in ("a.gif", "a.webp", "a.png", "a.mpo"):
        options = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(f"in/{name}", save_all=True, append_images=frames[1:], **options)
    Path("in/two.heic").write_bytes(HEIC_TWO)
    run()
    scores: dict[str, list[float]] = {}
    for record in SavedRun(Path("out")).records():
        scores.setdefault(Path(record.path).name, []).append(record.score_max)
    for name in ("a.gif", "a.webp", "a.png", "a.mpo"):
        assert np.allclose(scores[name], np.array(SHADES) / 255, atol=0.02), name
    assert len(scores["two.heic"]) == 2


def test_a_page_that_is_called_as_another_input_is_a_failure() -> None:
    write_photo(Path("in/pages.tif~page2.png")).rename("in/pages.tif~page2")
    summary = run()
    assert summary.failed_by_kind == {"collision": 1}
    assert summary.analysed == 4
    errors = Path("out/_fasa/errors.jsonl").read_text().splitlines()
    assert "page 2" in json.loads(errors[0])["reason"]

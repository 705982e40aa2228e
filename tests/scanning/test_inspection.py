"""fasa scan --inspect: what files say of their history, in the record and in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.report.page import write_html_report
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.verification import verify
from tests.conftest import scan_red
from tests.inspection.files import exif_block, jpeg, scene, small


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    position = {"GPSLongitude": (120.0, 0.0, 0.0), "GPSLongitudeRef": "W"}
    dates = {"DateTimeOriginal": "2023:05:01 12:00:00", "OffsetTimeOriginal": "+09:00"}
    block = exif_block(small(scene(seed=4)), Make="M", Software="GIMP 2.10", **position, **dates)
    Path("photos/a.jpg").write_bytes(jpeg(scene(), exif=block))


def test_the_record_holds_findings_and_survives_a_round_trip() -> None:
    run = SavedRun(scan_red(inspect=True))
    (record,) = run.records()
    assert record.inspection is not None
    kinds = [finding["kind"] for finding in record.inspection["findings"]]
    assert "preview shows something else" in kinds
    assert record.inspection["metadata"]["exif"]["Software"] == "GIMP 2.10"
    assert record.inspection["coding"]["quality"] == 90
    assert {one.check for one in verify(run).findings} == {"weights"}  # there are no weights


def test_without_it_nothing_is_recorded_and_asking_later_adds_it() -> None:
    (record,) = SavedRun(scan_red()).records()
    assert record.inspection is None
    (record,) = SavedRun(scan_red(inspect=True)).records()
    assert record.inspection is not None
    (record,) = SavedRun(scan_red()).records()
    assert record.inspection is not None  # what is on record stays


@pytest.mark.parametrize(("redact", "shown"), [((), True), (("gps",), False)])
def test_the_report_shows_findings_and_redacts_positions(
    redact: tuple[str, ...], shown: bool
) -> None:
    write_html_report(scan_red(inspect=True), Path("report.html"), redact=redact)
    text = Path("report.html").read_text(encoding="utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    (photo,) = data["photos"]
    assert photo["findings"][0]["severity"] == "high"
    assert "thumbnail" in photo["findings"][0]["text"]
    assert ("-120.00" in text) == shown


def test_the_command_line_asks_for_it(tiny_weights: Path) -> None:
    arguments = ["scan", "photos", "--out", "masks", "--weights", str(tiny_weights)]
    arguments += ["--device", "cpu", "--json"]
    done = CliRunner().invoke(app, [*arguments, "--inspect"])
    assert done.exit_code == 0, done.output
    line = json.loads(done.stdout.splitlines()[0])
    assert line["inspection"]["findings"]
    again = CliRunner().invoke(app, [*arguments, "--inspect"])
    assert "1 of them before" in again.stderr

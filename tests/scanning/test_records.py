"""Records as lines: nothing is lost in JSON, nothing runs in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fasa_cli.errors import OutputError
from fasa_cli.files import json_line
from fasa_cli.results import CopyMovePair, Region, ScanRecord
from fasa_cli.scanning.records import csv_lines, parse_record, read_results

RECORD = ScanRecord(
    schema_version=1,
    path="photos/a.jpg",
    name="a.jpg",
    sha256="ab",
    bytes=3,
    format="JPEG",
    stored_size=(4, 5),
    display_size=(5, 4),
    orientation=6,
    effective_size=(5, 4),
    score_max=0.75,
    area_fraction=0.5,
    region_count=1,
    regions=(Region((0, 1, 2, 3), 6, 0.7, 0.75),),
    warnings=("one", "two"),
    outputs={"mask": "a.jpg.mask.png"},
    outputs_sha256={"mask": "cd"},
    seconds=0.1,
    copy_move=(
        CopyMovePair(((0, 1, 2, 3), (4, 5, 2, 3)), ((1.0, 0.0, 4.0), (0.0, 1.0, 4.0)), 0.9, 12),
    ),
)
ODD_NAMES = ["a\nb.jpg", "\u202egpj.jpg", "\udcff\udcfe.jpg", 'q"uo,te.jpg', "фото.jpg"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_json_lines_hold_any_name(name: str) -> None:
    record = replace(RECORD, path=name)
    line = json_line(record)
    assert line.isascii()
    assert line.count("\n") == 1
    assert parse_record(line) == record


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "{}", json_line(RECORD)[:-10], json_line({"schema_version": 1, "path": "a"})],
)
def test_damaged_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_record(line)


def test_other_schemas_are_refused(tmp_path: Path) -> None:
    values = {**json.loads(json_line(RECORD)), "schema_version": 99}
    (tmp_path / "results.jsonl").write_text(json_line(RECORD) + json_line(values))
    records = read_results(tmp_path / "results.jsonl")
    assert next(records) == RECORD
    with pytest.raises(OutputError, match="line 2"):
        next(records)


def test_undefined_numbers_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_line(replace(RECORD, score_max=float("nan")))


def read_csv(*records: ScanRecord) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO("".join(csv_lines(records)))))


def test_csv_has_a_header_even_when_empty() -> None:
    assert read_csv() == []
    assert next(csv_lines([])).startswith("path,status,score_max,")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_cells_are_no_formulas(start: str) -> None:
    (row,) = read_csv(replace(RECORD, path=f"{start}cmd()", warnings=(f"{start}1",)))
    assert row["path"] == f"'{start}cmd()"
    assert row["warnings"] == f"'{start}1"
    assert row["score_max"] == "0.75"


def test_csv_rows() -> None:
    (row,) = read_csv(RECORD)
    assert row["path"] == "photos/a.jpg"
    assert (row["stored_width"], row["display_width"], row["regions"]) == ("4", "5", "1")
    assert (row["warnings"], row["mask"], row["overlay"]) == ("one; two", "a.jpg.mask.png", "")

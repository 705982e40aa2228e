"""Records are chained by hash: no edit survives a resume or a check, wherever it was made."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.errors import OutputError
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.records import CHAIN_START, chained_line, check_chain, parse_record
from tests.conftest import scan_red, write_photo

RECORDS = Path("masks/_fasa/results.jsonl")
RUN = Path("masks/_fasa/run.json")


@pytest.fixture(autouse=True)
def scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        write_photo(Path("photos") / f"{number}.png", number)
    scan_red()


def edit(number: int, **changes: object) -> None:
    lines = RECORDS.read_text("ascii").splitlines(keepends=True)
    values = json.loads(lines[number])
    lines[number] = json.dumps({**values, **changes}) + "\n"
    RECORDS.write_text("".join(lines), "ascii")


def test_an_untouched_run_resumes_and_is_intact() -> None:
    before = RECORDS.read_bytes()
    scan_red()
    assert RECORDS.read_bytes() == before
    assert (
        check_chain(before.splitlines(keepends=True), json.loads(RUN.read_text())["chain"]) is None
    )


@pytest.mark.parametrize("number", range(4))
def test_an_edited_score_is_not_laundered_by_a_resume(number: int) -> None:
    edit(number, score_max=0.123)
    tampered = RECORDS.read_bytes()
    with pytest.raises(OutputError, match=rf"results\.jsonl: line {number + 1} .*--overwrite"):
        scan_red()
    assert RECORDS.read_bytes() == tampered  # nothing was lost
    result = CliRunner().invoke(app, ["verify", "masks"])
    assert result.exit_code == 3
    assert f"line {number + 1}" in result.output


def test_a_line_taken_out_or_moved_is_seen() -> None:
    lines = RECORDS.read_bytes().splitlines(keepends=True)
    for others in (lines[1:], lines[:1] + lines[2:], lines[:-1], lines[::-1], []):
        RECORDS.write_bytes(b"".join(others))
        with pytest.raises(OutputError, match=r"results\.jsonl"):
            scan_red()


def test_records_written_anew_with_a_chain_of_their_own_are_seen() -> None:
    chain, forged = CHAIN_START, []
    for line in RECORDS.read_text("ascii").splitlines():
        record = parse_record(line)
        values = {**record.__dict__, "score_max": 0.5}
        text, chain = chained_line(ScanRecord(**values), chain)
        forged.append(text)
    RECORDS.write_text("".join(forged), "ascii")
    with pytest.raises(OutputError, match="written anew"):
        scan_red()


def test_a_line_that_was_cut_off_is_analysed_again() -> None:
    """What a killed scan leaves: a torn last line, and run.json from its start."""
    whole = RECORDS.read_bytes()
    run = json.loads(RUN.read_text())
    RUN.write_text(json.dumps({**run, "status": "running", "chain": [CHAIN_START]}))
    RECORDS.write_bytes(whole[:-7])
    scan_red()
    assert len(RECORDS.read_bytes().splitlines()) == 4


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_no_changed_byte_goes_unseen(data: st.DataObject) -> None:
    whole = RECORDS.read_bytes()
    ends = json.loads(RUN.read_text())["chain"]
    place = data.draw(st.integers(0, len(whole) - 2))
    changed = bytearray(whole)
    changed[place] = data.draw(st.integers(33, 126).filter(lambda byte: byte != whole[place]))
    lines = bytes(changed).splitlines(keepends=True)
    problem = check_chain(lines, ends)
    if problem is None:  # another way to write the same JSON, such as 0.5 and 0.50
        same = [json.loads(line) for line in lines] == [
            json.loads(line) for line in whole.splitlines()
        ]
        assert same

"""Tables of metrics: marks, intervals, and every format."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest

from fasa_cli.evaluation.evidence import EVIDENCE_METRICS
from fasa_cli.evaluation.metrics import METRICS
from fasa_cli.evaluation.tables import (
    METRIC_NAMES,
    Block,
    Cell,
    Column,
    Row,
    Table,
    cell_text,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
)

F1 = Column("SD1.5", "pixel_f1", "F1")
ALARMS = Column("SD1.5", "false_alarm_share", "alarms")


def block(*values: float | None, source: str = "measured") -> Block:
    rows = tuple(Row(f"m{index}", (Cell(value),)) for index, value in enumerate(values))
    return Block(source, rows, "native", 0.5)


def table() -> Table:
    columns = (F1, Column("SD1.5", "pixel_iou", "IoU"), Column("", "pixel_auc", "AUC"))
    own = (
        Row("a|b_$1", (Cell(0.5, (0.4, 0.6), 10, 1), Cell(None, None, 10, 1), Cell(0.9))),
        Row("<i>", (Cell(0.7), Cell(0.2), Cell(0.8))),
        Row("c", (Cell(0.6), Cell(0.1), Cell(0.7))),
    )
    theirs = (Row("d", (Cell(0.99), Cell(0.98), Cell(None))),)
    return Table(
        "A & B",
        columns,
        (
            Block("measured", own, "native", 0.5),
            Block("published", theirs, "opensdi", 0.5, "arXiv:1, Table 1"),
        ),
        ("SD1.5: 10 images",),
    )


def test_best_and_second_of_a_block() -> None:
    assert block(0.1, 0.3, 0.2, None).marks(0, F1) == {1: "best", 2: "second"}
    assert block(0.1, 0.3, 0.2).marks(0, ALARMS) == {0: "best", 2: "second"}


def test_equal_as_printed_share_a_mark() -> None:
    assert block(0.30001, 0.30002, 0.2, 0.1).marks(0, F1) == {0: "best", 1: "best", 2: "second"}


@pytest.mark.parametrize("values", [(), (0.5,), (0.5, None), (0.5, 0.5)])
def test_nothing_is_best_of_itself(values: tuple[float | None, ...]) -> None:
    assert block(*values).marks(0, F1) == {}


def test_of_two_none_is_second() -> None:
    assert block(0.1, 0.2).marks(0, F1) == {1: "best"}


def test_cells() -> None:
    assert cell_text(Cell(None, (0.1, 0.2))) == "-"
    assert cell_text(Cell(0.12345, (0.1, 0.2))) == "0.1235 (0.100-0.200)"
    assert cell_text(Cell(0.12345, (0.1, 0.2)), intervals=False) == "0.1235"
    assert cell_text(Cell(-0.01, (-0.03, 0.01))) == "-0.0100 (-0.030 to 0.010)"


def test_markdown_keeps_blocks_apart_and_says_what_they_are() -> None:
    text = to_markdown(table())
    own, theirs = text.split("published (arXiv:1, Table 1): protocol opensdi, threshold 0.5")
    assert "measured: protocol native, threshold 0.5" in own
    assert "| Method | SD1.5 F1 | SD1.5 IoU | AUC |" in own
    assert "| a\\|b\\_$1 | 0.5000 (0.400-0.600) | - | **0.9000** |" in own
    assert "| \\<i> | **0.7000** | **0.2000** | <u>0.8000</u> |" in own
    assert "| c | <u>0.6000</u> | 0.1000 | 0.7000 |" in own
    assert "| d | 0.9900 | 0.9800 | - |" in theirs  # alone in its block, and so unmarked
    assert "- SD1.5: 10 images" in theirs
    assert "0.600)" not in to_markdown(table(), intervals=False)


def test_csv_has_plain_numbers_and_names_their_source() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(table()))))
    assert [row["source"] for row in rows] == ["measured"] * 3 + ["published"]
    first, last = rows[0], rows[-1]
    assert first["method"] == "a|b_$1"
    assert (first["SD1.5 pixel_f1"], first["SD1.5 pixel_f1 low"]) == ("0.5", "0.4")
    assert (first["SD1.5 images"], first["SD1.5 skipped"]) == ("10", "1")
    assert (first["SD1.5 pixel_iou"], first["pixel_auc"]) == ("", "0.9")
    assert (last["citation"], last["SD1.5 pixel_f1 low"]) == ("arXiv:1, Table 1", "")


def test_latex_groups_columns_and_escapes() -> None:
    text = to_latex(table())
    assert "\\begin{tabular}{lrrr}" in text
    assert " & \\multicolumn{2}{c}{SD1.5} & \\multicolumn{1}{c}{} \\\\" in text
    assert "\\cmidrule(lr){2-3}" in text
    assert "\\cmidrule(lr){4-4}" not in text
    assert "a|b\\_\\$1 & 0.5000 (0.400--0.600) & -- & \\textbf{0.9000} \\\\" in text
    assert "\\textless{}i\\textgreater{} & \\textbf{0.7000}" in text
    assert "\\underline{0.6000}" in text
    assert "\\caption{A \\& B. SD1.5: 10 images." in text
    assert text.count("\\midrule") == 2
    rows = [line for line in text.splitlines() if line.startswith(("a|", "c &", "d &"))]
    assert [row.count(" & ") for row in rows] == [3, 3, 3]


def test_html_is_one_well_formed_page_with_escaped_names() -> None:
    text = to_html([table(), table()])
    root = ElementTree.fromstring(re.sub(r"<!doctype html>|<meta[^>]*>", "", text))
    tables = root.findall(".//table")
    assert len(tables) == 2
    assert [body.get("class") for body in tables[0].findall("tbody")] == ["measured", "published"]
    assert tables[0].find(".//tbody/tr/td/b").text == "0.9000"
    assert "&lt;i&gt;" in text
    assert "http" not in text
    assert all(len(row.findall("td")) in (0, 3) for row in tables[0].findall(".//tr"))


def test_every_metric_has_a_name() -> None:
    assert set(METRIC_NAMES) == {*METRICS, *EVIDENCE_METRICS}

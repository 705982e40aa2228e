"""Saved evaluations as tables: columns, averages, counts, and published figures kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fasa_cli.errors import ConfigError, OutputError
from fasa_cli.evaluation.result_tables import evaluation_table
from fasa_cli.evaluation.runs import EvaluationRun
from fasa_cli.results import Scores


def run(
    method: str,
    data: str,
    f1: float | None = 0.5,
    *,
    protocol: str = "benco",
    threshold: float = 0.5,
    sha256: str = "",
    skipped: int = 0,
    degradation: tuple[str, int] = ("clean", 0),
    **scores: Any,
) -> EvaluationRun:
    values = {"images": 10, "manipulated": 6, "pixel_images": 6} | scores
    about = {
        "name": method,
        "data": {"name": data, "sha256": sha256 or data},
        "degradation": {"kind": degradation[0], "severity": degradation[1]},
    }
    return EvaluationRun(
        Path("runs", f"{method} {data}"),
        about,
        Scores(protocol=protocol, threshold=threshold, skipped=skipped, pixel_f1=f1, **values),
        {"pixel_f1": (0.4, 0.6)},
    )


def column_names(table: Any) -> list[str]:
    return [column.full for column in table.columns]


def test_methods_by_row_and_sets_by_column_with_their_average() -> None:
    runs = [run("a", "x", 0.5), run("a", "y", 0.7), run("b", "x", 0.1, pixel_iou=0.05)]
    table = evaluation_table(runs, metrics=["pixel_f1", "pixel_iou"])
    assert column_names(table) == ["x F1", "x IoU", "y F1", "y IoU", "Average F1", "Average IoU"]
    (block,) = table.blocks
    assert block.title == "measured: protocol benco, threshold 0.5"
    assert [row.name for row in block.rows] == ["a", "b"]
    assert [cell.value for cell in block.rows[0].cells] == [0.5, None, 0.7, None, 0.6, None]
    assert block.rows[0].cells[0].interval == (0.4, 0.6)
    assert [cell.value for cell in block.rows[1].cells] == [0.1, 0.05, None, None, None, None]
    assert "x: 10 images (6 manipulated), 0 skipped." in table.notes


def test_one_set_needs_no_average_and_no_metrics_are_the_usual_ones() -> None:
    assert column_names(evaluation_table([run("a", "x")])) == ["x F1", "x IoU", "x AUC"]


def test_the_papers_shape_spelling_and_order() -> None:
    runs = [run("a", "my set"), run("a", "nist-16"), run("a", "CASIA1.0"), run("a", "columbia")]
    table = evaluation_table(runs, number=3)
    groups = [group for group, _ in table.groups()]
    assert groups == ["CASIAv1", "Columbia", "NIST16", "my set", "Average"]
    assert column_names(table)[:2] == ["CASIAv1 F1", "CASIAv1 AUC"]
    assert column_names(evaluation_table(runs, number=4)) == ["Average F1", "Average IoU"]
    assert column_names(evaluation_table([run("a", "sd2.1")], number=2)) == [
        "SD2.1 image F1",
        "SD2.1 image Acc",
        "Average image F1",
        "Average image Acc",
    ]


def test_published_figures_stand_in_a_block_of_their_own() -> None:
    sets = ("CASIAv1", "Columbia", "Coverage", "NIST16")
    runs = [run("mine", name, 0.99, pixel_auc=0.99) for name in (*sets, "other")]
    table = evaluation_table([*runs, run("part", "Columbia")], number=3, with_published=True)
    own, theirs = table.blocks
    assert (own.source, theirs.source) == ("measured", "published")
    assert theirs.title.startswith("published (arXiv:2604.12341, Table 3)")
    by_name = {row.name: dict(zip(column_names(table), row.cells, strict=True)) for row in own.rows}
    # Over the paper's sets, as the paper's average is: `other` is not in it.
    assert by_name["mine"]["Average F1"].value == pytest.approx(0.99)
    assert by_name["mine"]["Average F1"].images == 40
    assert by_name["part"]["Average F1"].value is None
    fasa = dict(zip(column_names(table), theirs.rows[-1].cells, strict=True))
    assert (fasa["CASIAv1 F1"].value, fasa["Average AUC"].value) == (0.8777, 0.9452)
    assert (fasa["other F1"].value, fasa["CASIAv1 F1"].interval) == (None, None)
    # Marks are given within a block: the best published value stays the best of its own.
    index = column_names(table).index("CASIAv1 F1")
    assert theirs.marks(index, table.columns[index])[len(theirs.rows) - 1] == "best"
    assert any(note.startswith("Published: as printed in arXiv:2604.12341") for note in table.notes)
    assert not any("cannot be compared" in note for note in table.notes)


def test_another_protocol_than_the_papers_is_said_to_be_another() -> None:
    table = evaluation_table(
        [run("a", "columbia", protocol="native")], number=3, with_published=True
    )
    assert any("protocol benco" in note and "cannot be compared" in note for note in table.notes)


def test_rows_of_different_protocols_and_thresholds_are_not_mixed() -> None:
    runs = [run("a", "x"), run("a", "x", protocol="native"), run("a", "x", threshold=0.3)]
    table = evaluation_table(runs)
    assert [(block.protocol, block.threshold) for block in table.blocks] == [
        ("benco", 0.5),
        ("native", 0.5),
        ("benco", 0.3),
    ]


def test_counts_that_differ_are_told_by_row() -> None:
    table = evaluation_table([run("a", "x"), run("b", "x", skipped=2, images=8, pixel_images=5)])
    assert "x (a (benco, > 0.5)): 10 images (6 manipulated), 0 skipped." in table.notes
    expected = "x (b (benco, > 0.5)): 8 images (6 manipulated), 2 skipped, pixel metrics over 5."
    assert expected in table.notes


def test_degraded_images_make_a_row_of_their_own() -> None:
    table = evaluation_table([run("a", "x"), run("a", "x", degradation=("jpeg", 50))])
    assert [row.name for row in table.blocks[0].rows] == ["a", "a, jpeg-50"]


def test_the_published_figures_alone() -> None:
    table = evaluation_table([], number=1, with_published=True)
    assert [block.source for block in table.blocks] == ["published"]
    assert len(table.columns) == 12


def test_what_cannot_be_one_table() -> None:
    with pytest.raises(OutputError, match="both are a on x"):
        evaluation_table([run("a", "x"), run("a", "x")])
    with pytest.raises(OutputError, match="different data, both called x"):
        evaluation_table([run("a", "x"), run("b", "x", sha256="other")])
    with pytest.raises(ConfigError, match="no metric 'f1'"):
        evaluation_table([run("a", "x")], metrics=["f1"])
    with pytest.raises(ConfigError, match="with --table 1 to 4"):
        evaluation_table([run("a", "x")], with_published=True)
    with pytest.raises(ConfigError, match="tables 1 to 4"):
        evaluation_table([run("a", "x")], number=5)

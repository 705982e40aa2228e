"""The paper's figures: complete, and true to what the paper says of them in its text."""

import pytest

from fasa_cli.evaluation.published import AVERAGE, published_tables

TABLES = published_tables()
LOCALIZERS = [
    "MVSS-Net",
    "PSCC-Net",
    "CAT-Net",
    "TruFor",
    "IML-ViT",
    "Mesorch",
    "SparseViT",
    "MaskCLIP",
    "FASA",
]
DETECTORS = ["CNNDet", "GramNet", "UniFD", "FreqNet", "NPR", "RINE"]
OPENSDI = ("SD1.5", "SD2.1", "SDXL", "SD3", "Flux.1")


def test_every_table_has_its_methods_sets_and_metrics() -> None:
    assert list(TABLES) == [1, 2, 3, 4]
    assert list(TABLES[1].rows) == LOCALIZERS
    assert list(TABLES[2].rows) == DETECTORS + LOCALIZERS
    assert list(TABLES[3].rows) == LOCALIZERS
    assert len({name for number in (1, 2, 3) for name in TABLES[number].rows}) == 15
    assert TABLES[1].datasets == TABLES[2].datasets == OPENSDI
    assert TABLES[3].datasets == ("CASIAv1", "Columbia", "Coverage", "NIST16")
    assert TABLES[2].metrics == ("image_f1", "image_accuracy")
    assert TABLES[3].metrics == ("pixel_f1", "pixel_auc")
    assert [TABLES[number].protocol for number in TABLES] == [
        "opensdi",
        "opensdi",
        "benco",
        "opensdi",
    ]
    assert all("arXiv:2604.12341, Table" in table.citation for table in TABLES.values())


@pytest.mark.parametrize("number", [1, 2, 3])
def test_averages_are_those_of_the_rows(number: int) -> None:
    table = TABLES[number]
    for method, values in table.rows.items():
        assert set(values) == {*table.datasets, AVERAGE}
        for index in range(len(table.metrics)):
            cells = [values[dataset][index] for dataset in table.datasets]
            assert all(0 < cell < 1 for cell in cells)
            average = sum(cells) / len(cells)
            assert values[AVERAGE][index] == pytest.approx(average, abs=1.01e-4), method


@pytest.mark.parametrize(
    ("number", "place", "index", "points"),
    [  # section 4.2: by how many percentage points the paper's method leads the second
        (1, AVERAGE, 0, 10.05),
        (1, AVERAGE, 1, 8.41),
        (1, "SD2.1", 0, 9.27),
        (1, "SDXL", 0, 13.62),
        (1, "SD3", 0, 12.09),
        (1, "Flux.1", 0, 7.66),
        (2, AVERAGE, 0, 9.52),
        (2, AVERAGE, 1, 5.92),
        (2, "SD2.1", 0, 5.74),
        (2, "SDXL", 0, 14.77),
        (2, "SD3", 0, 12.65),
        (3, "Coverage", 0, 4.02),
        (3, "CASIAv1", 0, 1.50),
    ],
)
def test_leads_are_those_that_the_text_states(
    number: int, place: str, index: int, points: float
) -> None:
    ranking = sorted(values[place][index] for values in TABLES[number].rows.values())
    assert ranking[-1] == TABLES[number].rows["FASA"][place][index]
    assert 100 * (ranking[-1] - ranking[-2]) == pytest.approx(points, abs=0.006)


def test_the_ablation_ends_in_the_full_model() -> None:
    rows = list(TABLES[4].rows.values())
    assert len(rows) == 5
    assert rows[-1][AVERAGE] == TABLES[1].rows["FASA"][AVERAGE]
    assert [row[AVERAGE][0] for row in rows] == sorted(row[AVERAGE][0] for row in rows)

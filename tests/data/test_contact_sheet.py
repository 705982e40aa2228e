"""The contact sheet shows image, mask and name of every sample."""

import numpy as np
import pytest

from fasa_cli.data.contact_sheet import CAPTION, GAP, SIDE, contact_sheet, spread
from fasa_cli.data.samples import Sample


def sample(name: str = "a.png", mask: bool = True, size: tuple[int, int] = (300, 440)) -> Sample:
    target = np.zeros(size, bool)
    target[: size[0] // 2] = True
    image = np.full((*size, 3), 100, np.uint8)
    return Sample(image, target if mask else None, "set", name)


def test_cells_lie_in_rows_and_columns() -> None:
    sheet = contact_sheet([sample()] * 4, columns=3)
    cell = SIDE + CAPTION + GAP
    assert sheet.shape == (2 * cell + GAP, 3 * (2 * SIDE + 3 * GAP), 3)
    assert (sheet[GAP + SIDE - 1, GAP] == 100).all()
    second_row = sheet[cell + GAP : cell + GAP + SIDE]
    assert (second_row[:, SIDE:] > 240).mean() > 0.6  # one cell only


def test_the_marked_half_is_tinted_and_authentic_is_pale() -> None:
    sheet = contact_sheet([sample()])
    marked = sheet[GAP + SIDE - 110, GAP + SIDE + GAP + 110]
    plain = sheet[GAP + SIDE - 10, GAP + SIDE + GAP + 110]
    assert marked[0] > marked[2] + 40
    assert (plain == plain[0]).all()
    pale = contact_sheet([sample(mask=False)])[GAP + SIDE - 10, GAP + SIDE + GAP + 110]
    assert pale.min() > 180


@pytest.mark.parametrize("name", ["x" * 300, "фото.jpg", "\udcff.jpg", ""])
def test_any_name_can_be_written(name: str) -> None:
    assert contact_sheet([sample(name, size=(3, 900))]).shape[2] == 3


def test_samples_are_spread_over_the_data_set() -> None:
    assert spread(range(100), 3) == [0, 49, 99]
    assert spread(range(2), 9) == [0, 1]


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a sample"):
        contact_sheet([])

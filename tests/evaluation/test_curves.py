"""Curves: both formats, everything that tells lines apart, and names as they are."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from fasa_cli.evaluation import curves
from fasa_cli.evaluation.curves import Line, Panel, draw_curves


def panel(*names: str, values: tuple[float | None, ...] = (0.8, 0.6, 0.3)) -> Panel:
    lines = tuple(Line(name, values, tuple((0.1, 0.9) for _ in values)) for name in names)
    return Panel("JPEG compression", "quality", ("clean", "100", "50"), lines)


def drawn(*panels: Panel, formats: tuple[str, ...] = ("svg",)) -> dict[str, bytes]:
    return draw_curves(panels, "set: 3 images", "pixel F1", formats=formats)


def test_png_and_svg_are_made_and_hold_titles_names_and_ticks() -> None:
    files = draw_curves([panel("FASA", "MVSS-Net")] * 2, "set: 3 images", "pixel F1")
    assert list(files) == ["png", "svg"]
    image = Image.open(io.BytesIO(files["png"]))
    assert image.width > image.height > 300
    texts = ["".join(node.itertext()) for node in ElementTree.fromstring(files["svg"]).iter()]
    for text in ("FASA", "MVSS-Net", "clean", "50", "quality", "pixel F1", "JPEG compression"):
        assert any(text == each.strip() for each in texts), text


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert drawn(panel("a")) == drawn(panel("a"))
    assert drawn(panel("a")) != drawn(panel("a", values=(0.8, 0.6, 0.2)))


@pytest.mark.parametrize("name", ["_hidden", "$x^$", "a & <b>", "ü"])
def test_any_name_is_shown_as_it_is(name: str) -> None:
    texts = ElementTree.fromstring(drawn(panel(name))["svg"]).itertext()
    assert any(text.strip() == name for text in texts)


def test_gaps_and_nothing_at_all_can_be_drawn() -> None:
    for values in ((0.5, None, 0.2), (None, None, None)):
        line = Line("a", values, (None, None, None))
        assert drawn(Panel("", "", ("clean", "1", "2"), (line,)), formats=("png",))["png"]


@pytest.mark.parametrize("panels", [1, 2, 3, 4])
def test_any_number_of_panels(panels: int) -> None:
    assert drawn(*[panel("a")] * panels)["svg"].count(b">clean<") == panels


def test_lines_differ_without_colour() -> None:
    looks = {
        (repr(curves._LINES[number % len(curves._LINES)]), curves._MARKERS[number])
        for number in range(len(curves._MARKERS))
    }
    assert len(looks) == len(curves._MARKERS) >= 9
    # Neighbours have other line styles and other colours, and colours differ in lightness too.
    greys = [
        np.dot([int(colour[i : i + 2], 16) for i in (1, 3, 5)], [0.2126, 0.7152, 0.0722])
        for colour in curves._COLOURS
    ]
    assert len({round(grey) for grey in greys}) == len(greys)

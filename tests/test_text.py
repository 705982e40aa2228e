"""Names as they are shown."""

from __future__ import annotations

from fasa_cli.text import printable


def test_printable_keeps_text_and_escapes_what_acts() -> None:
    assert printable("фото 1 [red].jpg") == "фото 1 [red].jpg"
    assert printable("a\nb\t\x1b[2J\u202e\udcff\U000e0001") == (
        "a\\nb\\t\\x1b[2J\\u202e\\udcff\\U000e0001"
    )

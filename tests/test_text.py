"""Names as they are shown."""

from __future__ import annotations

import pytest

from fasa_cli.text import one_in, printable, without_byte_order_mark


def test_printable_keeps_text_and_escapes_what_acts() -> None:
    assert printable("фото 1 [red].jpg") == "фото 1 [red].jpg"
    assert printable("a\nb\t\x1b[2J\u202e\udcff\U000e0001") == (
        "a\\nb\\t\\x1b[2J\\u202e\\udcff\\U000e0001"
    )


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")],
)
def test_lists_as_windows_writes_them(encoding, mark):
    text = "C:/photos/ä.jpg\r\nb.jpg\r\n"
    assert without_byte_order_mark(mark + text.encode(encoding)) == text.encode("utf-8")


def test_bytes_without_a_mark_stay_as_they_are():
    assert without_byte_order_mark(b"\xffa.jpg\n") == b"\xffa.jpg\n"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.025, "1 in 40"), (0.21, "1 in 4.8"), (0.5, "1 in 2"), (0.8, "80%"), (0, "0%")],
)
def test_rates_are_said_as_one_in_so_many(rate: float, text: str) -> None:
    assert one_in(rate) == text

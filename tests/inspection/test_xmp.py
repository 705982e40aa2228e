"""XMP packets: what they hold, and what hostile ones end in."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasa_cli.inspection.xmp import XmpError, read_xmp
from tests.inspection.files import xmp_packet


def test_attributes_elements_and_lists() -> None:
    body = (
        "<xmpMM:History><rdf:Seq><rdf:li><rdf:Description stEvt:action='saved'/></rdf:li>"
        "<rdf:li stEvt:action='derived'/></rdf:Seq></xmpMM:History>"
        "<xmp:CreatorTool>A program</xmp:CreatorTool>"
    )
    assert read_xmp(xmp_packet('xmp:Rating="3"', body=body)) == {
        "xmp:Rating": "3",
        "xmpMM:History[1]/stEvt:action": "saved",
        "xmpMM:History[2]/stEvt:action": "derived",
        "xmp:CreatorTool": "A program",
    }


def test_entities_are_refused_before_they_grow() -> None:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 20))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "lol">{levels}]><x>&e19;</x>'
    with pytest.raises(XmpError):
        read_xmp(bomb.encode())
    with pytest.raises(XmpError):
        read_xmp(b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>')


def test_deep_and_large_packets_are_refused() -> None:
    with pytest.raises(XmpError):
        read_xmp(b"<x>" + b"<longname>" * 5000 + b"</longname>" * 5000 + b"</x>")
    with pytest.raises(XmpError):
        read_xmp(b"<x>" + b" " * (5 << 20) + b"</x>")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(XmpError):
        assert isinstance(read_xmp(data), dict)

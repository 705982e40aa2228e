"""What this machine can do, measured and said."""

import pytest

from fasa_cli.commands import display
from fasa_cli.environment import bfloat16_slowdown


def test_the_slowdown_is_a_ratio():
    assert 0.01 < bfloat16_slowdown() < 1000


@pytest.mark.parametrize(
    ("precision", "device", "factor", "warned"),
    [
        ("bfloat16", "cpu", 4.0, True),
        ("bfloat16", "cpu", 0.5, False),
        ("float32", "cpu", 4.0, False),
        ("bfloat16", "cuda", 4.0, False),
    ],
)
def test_slow_bfloat16_is_warned_of(precision, device, factor, warned, monkeypatch, capsys):
    monkeypatch.setattr("fasa_cli.environment.bfloat16_slowdown", lambda: factor)
    display.warn_of_slow_bfloat16(precision, device)
    assert ("float32" in capsys.readouterr().err) == warned

"""`--fail-on` of `fasa scan`: what it asks for, and which photos reach it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from fasa_cli.commands.display import say
from fasa_cli.text import BANDS, one_in, score_text

if TYPE_CHECKING:
    from fasa_cli.results import ScanRecord

_NAMED = 20  # photos; results.csv has them all


@dataclass(frozen=True)
class Goal:
    """What --fail-on asks for: at most a false alarm `rate`, or at least a `score`; or nothing."""

    text: str = ""
    rate: float | None = None
    score: float | None = None

    @property
    def needs_calibration(self) -> bool:
        """Whether only a calibration can say if it is reached."""
        return self.rate is not None

    def is_reached(self, record: ScanRecord) -> bool:
        """By one photo."""
        if self.rate is not None:
            return record.false_alarm_rate is not None and record.false_alarm_rate <= self.rate
        return self.score is not None and record.score_max >= self.score


def read_goal(text: str | None) -> Goal:
    """Read `moderate`, `1%` or `0.9`.

    Raises:
        typer.BadParameter: it is none of these.
    """
    if text is None:
        return Goal()
    word = text.strip().lower()
    if word in BANDS:
        return Goal(f"band {word}", rate=BANDS[word])
    number = word.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= (100 if number != word else 1):
        raise typer.BadParameter(
            f"--fail-on {text}: write a band ({', '.join(BANDS)}), a false alarm rate such as 1%, "
            "or a score from 0 to 1"
        )
    if number != word:
        return Goal(f"false alarm rate of {value:g} %", rate=value / 100)
    return Goal(f"score of {value:g}", score=value)


class Reached:
    """The photos that reach what --fail-on asks for."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._first: list[str] = []
        self.count = 0

    def add(self, record: ScanRecord) -> None:
        """Look at one more photo."""
        if not self._goal.is_reached(record):
            return
        self.count += 1
        if self.count <= _NAMED:
            said = score_text(record.score_max)
            if self._goal.needs_calibration and record.false_alarm_rate is not None:
                said = f"{one_in(record.false_alarm_rate)} untouched photos"
            self._first.append(f"{record.path} ({said})")

    def show(self) -> None:
        """Name them on stderr, the first of many."""
        for text in self._first:
            say(f"{self._goal.text} reached: {text}")
        if self.count > _NAMED:
            say(f"{self._goal.text} reached: {self.count - _NAMED} more, in results.csv")

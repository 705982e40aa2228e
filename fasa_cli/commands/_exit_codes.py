"""The exit codes of `fasa`: all that a script needs to know of how a command ended."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Where several apply, 1 goes before 3 and 3 before 10: incomplete never looks complete."""

    DONE = 0
    FATAL = 1
    USAGE = 2
    INCOMPLETE = 3  # it ended, but some inputs were not analysed
    PROBLEMS = 3  # it ended, and a check has found something
    NO_IMAGE = 4
    SCORE_REACHED = 10  # of `fasa scan --fail-on`
    INTERRUPTED = 130  # the same command resumes

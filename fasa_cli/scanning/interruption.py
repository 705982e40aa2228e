"""Interrupting a scan: what is analysed is written, and no more is begun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(BaseException):
    """Work in hand is given up: nobody who handles errors shall take it for one."""


class Interruption:
    """The first SIGINT or SIGTERM asks to stop, the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = False

    @contextmanager
    def handling_signals(self) -> Iterator[Interruption]:
        if threading.current_thread() is not threading.main_thread():  # only that one gets signals
            yield self
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What the main thread does within writes nothing, and may take a minute: break it off.

        Raises:
            Stopped: a signal came, before or meanwhile.
        """
        self._at_once = True
        try:
            if self._asked.is_set():
                raise Stopped
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: Any) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()
        if self._at_once:
            raise Stopped

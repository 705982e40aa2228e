"""How fast a run trains, and how much of that it waits for data."""

from __future__ import annotations

import time
from collections import deque

WINDOW = 20  # steps over which the throughput is measured


class Throughput:
    """Samples per second, and the share of the time that was spent waiting for data."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._steps: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # seconds: waited, worked
        self._since = self._waited = 0.0

    def start(self) -> None:
        self._since = time.perf_counter()

    def data_came(self) -> None:
        now = time.perf_counter()
        self._waited, self._since = now - self._since, now

    def step_ended(self) -> None:
        self._steps.append((self._waited, time.perf_counter() - self._since))

    @property
    def samples_per_second(self) -> float:
        return self._batch * len(self._steps) / max(1e-9, sum(map(sum, self._steps)))

    @property
    def seconds_per_step(self) -> float:
        return sum(map(sum, self._steps)) / max(1, len(self._steps))

    @property
    def data_wait_share(self) -> float:
        waited = sum(waited for waited, _ in self._steps)
        return waited / max(1e-9, sum(map(sum, self._steps)))

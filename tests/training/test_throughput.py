"""The throughput of a run, by a clock of our own."""

import pytest

from fasa_cli.training import throughput


def test_the_throughput_is_of_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])
    measured = throughput.Throughput(batch=4)
    for waited, worked in [(100.0, 100.0)] * 5 + [(0.5, 1.5)] * throughput.WINDOW:
        measured.start()
        clock[0] += waited
        measured.data_came()
        clock[0] += worked
        measured.step_ended()
        clock[0] += 1000  # validation, say
    assert measured.samples_per_second == pytest.approx(2.0)
    assert measured.data_wait_share == pytest.approx(0.25)

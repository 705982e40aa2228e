"""What the speed benchmarks share: the machine, timing in turns, and tables.

A claim about speed is a ratio of things that were timed in turns within one run, never a bare
number: a machine's mood then falls on both alike. Every figure comes with its spread.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# Of a CPU's flags, those that decide how fast it multiplies matrices.
_FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
    "neon",
    "asimd",
    "sve",
)


# --- The machine ----------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """On what was measured: processor, memory, versions, GPU; no name of host or user."""
    import torch

    cpu, flags = _processor()
    return {
        "cpu": cpu,
        "flags": flags,
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def in_words(machine: dict[str, Any]) -> str:
    """One line for below a table."""
    gpu = f"; {machine['gpu']}" if machine["gpu"] else ""
    return (
        f"{machine['cpu']}, {machine['cores_used']} of {machine['cores']} cores, "
        f"{machine['threads']} threads{gpu}; {machine['system']}, Python {machine['python']}, "
        f"PyTorch {machine['torch']}"
    )


def _processor() -> tuple[str, list[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine(), []
    lines = dict(
        (part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line
    )
    flags = set((lines.get("flags") or lines.get("Features") or "").split())
    return lines.get("model name", platform.machine()), [name for name in _FLAGS if name in flags]


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None


# --- Timing ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles; of times in seconds, or of ratios."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def as_dict(self) -> dict[str, float]:
        return {
            "median": _short(self.median),
            "low": _short(self.low),
            "high": _short(self.high),
        }

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


@dataclass(frozen=True)
class Times:
    """Seconds of wall clock and of CPU that each named function took, round by round.

    With `clock="cpu"` the CPU's seconds are compared: on one core they tell the work apart from
    what else the machine had to do. With more cores or a GPU only the wall clock makes sense.
    """

    wall: dict[str, list[float]]
    cpu: dict[str, list[float]]
    clock: str = "wall"

    def seconds(self, name: str) -> Spread:
        return Spread.of(self._values(name))

    def ratio(self, name: str, *others: str) -> Spread:
        """How many times as long `name` took as the others together, round by round."""
        sums = [sum(values) for values in zip(*map(self._values, others), strict=True)]
        return Spread.of([a / b for a, b in zip(self._values(name), sums, strict=True)])

    def _values(self, name: str) -> list[float]:
        return (self.wall if self.clock == "wall" else self.cpu)[name]

    def as_dict(self) -> dict[str, Any]:
        return {"clock": self.clock} | {name: self.seconds(name).as_dict() for name in self.wall}


def in_turns(
    functions: dict[str, Callable[[], Any]],
    rounds: int = 5,
    warmup: int = 1,
    clock: str = "wall",
    synchronise: Callable[[], None] = lambda: None,
) -> Times:
    """Time functions in turns, each once a round, in an order that shifts from round to round.

    `warmup` rounds are not counted. `synchronise` waits for a device (torch.cuda.synchronize).
    """
    names = list(functions)
    wall: dict[str, list[float]] = {name: [] for name in names}
    cpu: dict[str, list[float]] = {name: [] for name in names}
    for number in range(warmup + rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            gc.collect()
            synchronise()
            start, start_cpu = time.perf_counter(), time.process_time()
            functions[name]()
            synchronise()
            seconds, seconds_cpu = time.perf_counter() - start, time.process_time() - start_cpu
            if number >= warmup:
                wall[name].append(seconds)
                cpu[name].append(seconds_cpu)
    return Times(wall, cpu, clock)


def default_clock() -> str:
    """CPU seconds where one core and no GPU does the work, else the wall clock."""
    import torch

    one_core = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    return "cpu" if one_core else "wall"


# --- Results --------------------------------------------------------------------------------


@dataclass
class Table:
    """Rows of text or numbers under headings; `note` stands below."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        lines = [self.headings, ["---"] + ["---:"] * (len(self.headings) - 1)]
        lines += [[cell(value) for value in row] for row in self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return "\n\n".join(filter(None, (f"### {self.title}", body, self.note))) + "\n"

    def show(self) -> None:
        from rich.console import Console
        from rich.table import Table as RichTable

        table = RichTable(title=self.title, caption=self.note or None)
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*map(cell, row))
        # A file or a pipe gets tables as wide as they need to be.
        Console(width=None if sys.stdout.isatty() else 160).print(table)


@dataclass
class Part:
    """What one part of the benchmark found: figures for the JSON, tables for people.

    `skipped` says why there is nothing.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    skipped: str = ""


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def write_json(path: Path, parts: dict[str, Part]) -> None:
    """Write parts beside those that the file already holds of other runs, each with its machine."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        held = {}
    here = machine()
    for name, part in parts.items():
        found = {"skipped": part.skipped} if part.skipped else part.figures
        if part.skipped and "skipped" not in held.get(name, found):
            continue  # what another machine could measure is worth more than a reason
        held[name] = {"machine": here, **found}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(held, indent=1, default=_plain) + "\n", encoding="utf-8")


def exponent(sizes: Iterable[float], costs: Iterable[float]) -> float:
    """k of the best fit of costs ~ sizes ** k, by least squares on logarithms: 1 is linear."""
    import numpy as np

    slope, _ = np.polyfit(np.log(list(sizes)), np.log(list(costs)), 1)
    return float(slope)


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    raise TypeError(f"no JSON from {type(value).__name__}")


def _short(value: float) -> float:
    return float(f"{value:.5g}")

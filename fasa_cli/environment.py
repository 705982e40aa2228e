"""On what a result was made, for the records that runs keep."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

# Those that touch pixels or the model.
_LIBRARIES = (
    "numpy",
    "open_clip_torch",
    "opencv-python",
    "opencv-python-headless",
    "pi-heif",
    "pillow",
    "pillow-jxl-plugin",
    "rawpy",
    "safetensors",
    "timm",
    "torch",
)


def environment() -> dict[str, Any]:
    """The versions of Python, the system, and the libraries that are installed."""
    versions = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": versions,
    }


def give_memory_back() -> None:
    """Return to the system what is freed already, but held for the next allocation.

    After large arrays that is hundreds of megabytes. Does nothing where the C library has no such
    call (only glibc has it).
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def bfloat16_slowdown() -> float:
    """How many times as long a matrix product takes on this CPU in bfloat16 as in float32.

    Above 1 on processors without units for bfloat16. Measured, in about a tenth of a second.
    """
    import time

    import torch

    def seconds(dtype: torch.dtype) -> float:
        one = torch.ones(768, 768, dtype=dtype)
        one @ one  # the first product prepares
        start = time.perf_counter()
        for _ in range(3):
            one @ one
        return time.perf_counter() - start

    return seconds(torch.bfloat16) / seconds(torch.float32)


def free_memory() -> int | None:
    """Bytes of main memory that a process may still take, within its container's limit; None where
    the system does not say (only Linux does here)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, ValueError, StopIteration):
        return None
    for limit, used, cache in _CONTAINERS:
        with suppress(OSError, ValueError):
            bound = int(Path(limit).read_text(encoding="ascii"))  # "max" without one
            statistics = Path(cache).read_text(encoding="ascii").split()
            cached = int(statistics[statistics.index("inactive_file") + 1])
            free = min(free, bound - int(Path(used).read_text(encoding="ascii")) + cached)
    return max(free, 0)


_CGROUP = "/sys/fs/cgroup"
_CONTAINERS = (  # the files of control groups 2 and 1: limit, use, what of it can be dropped
    (f"{_CGROUP}/memory.max", f"{_CGROUP}/memory.current", f"{_CGROUP}/memory.stat"),
    (
        f"{_CGROUP}/memory/memory.limit_in_bytes",
        f"{_CGROUP}/memory/memory.usage_in_bytes",
        f"{_CGROUP}/memory/memory.stat",
    ),
)

"""On what a result was made, for the records that runs keep."""

from __future__ import annotations

import ctypes
import platform
import sys
from contextlib import suppress
from importlib import metadata
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

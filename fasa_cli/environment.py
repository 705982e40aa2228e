"""On what a result was made, for the records that runs keep."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata
from typing import Any

# Those that touch pixels or the model.
_LIBRARIES = (
    "numpy",
    "open_clip_torch",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
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

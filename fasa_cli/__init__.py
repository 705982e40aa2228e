"""fasa: show which pixels of a photograph were manipulated.

    import fasa_cli

    model = fasa_cli.load_model()
    prediction = model.predict("photo.jpg")
    prediction.mask(0.5)

Names are loaded when they are first used: `import fasa_cli` alone takes no time and changes nothing
in the process that imports it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from fasa_cli.api import load_model as load_model
    from fasa_cli.api import scan as scan
    from fasa_cli.errors import FasaError as FasaError
    from fasa_cli.imaging.decode import read_image as read_image
    from fasa_cli.inspection.inspecting import inspect_file as inspect_file
    from fasa_cli.predictor import Predictor as Predictor
    from fasa_cli.results import Prediction as Prediction

_PUBLIC = {
    "load_model": "fasa_cli.api",
    "scan": "fasa_cli.api",
    "read_image": "fasa_cli.imaging.decode",
    "inspect_file": "fasa_cli.inspection.inspecting",
    "Predictor": "fasa_cli.predictor",
    "Prediction": "fasa_cli.results",
    "FasaError": "fasa_cli.errors",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Load a public name (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})

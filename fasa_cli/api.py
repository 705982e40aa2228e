"""The Python face of fasa: a model that answers for a photo, and a scan of many."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fasa_cli.assets import shipped_weights
from fasa_cli.calibration import calibration_for
from fasa_cli.predictor import Predictor
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions, ScanSummary
from fasa_cli.scanning.pages import with_all_pages
from fasa_cli.scanning.scanner import scan as run_scan


def load_model(
    weights: str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "float32",
    copy_move: bool | None = None,
    postprocess: bool = True,
) -> Predictor:
    """Load weights; by default those that come with fasa.

    `device` is auto, cuda, cuda:N, mps or cpu. `copy_move` says whether to search for duplicated
    regions (None: as the weights say); without `postprocess` predictions are the network's own.

    Raises:
        CheckpointError: the weights cannot be used; the message says why.
        DeviceError: `device` is asked for and not there.
    """
    path = Path(weights) if weights is not None else shipped_weights()
    return Predictor.from_checkpoint(
        path, device, precision=precision, copy_move=copy_move, postprocess=postprocess
    )


def scan(
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    model: Predictor | None = None,
    threshold: float = 0.5,
    overlay: bool = False,
    probabilities: bool = False,
    overwrite: bool = False,
    add: bool = False,
    calibration: str | Path | None = None,
    inspect: bool = False,
    all_pages: bool = False,
) -> ScanSummary:
    """Analyse files and folders as `fasa scan` does: masks and records go into the folder `out`.

    A scan that was cut off resumes; `add` keeps one of other files and adds to it. Found =
    analysed + failed + skipped. `calibration` is a file of `fasa calibrate`, or "none"; by default
    the one beside the weights. `inspect` records what each file says of its own history;
    `all_pages` analyses every page or frame of a file.

    Raises:
        CalibrationError: the calibration that is named cannot be used.
        OutputError: `out` holds another scan, is in use, or cannot be written.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    folder = Path(out)
    found = discover([str(one) for one in named], folder)
    if all_pages:
        found = with_all_pages(found)
    model = model or load_model()
    meaning, _ = calibration_for(
        calibration, model.weights.path, model.weights.sha256, model.postprocess
    )
    options = ScanOptions(
        folder,
        threshold=threshold,
        probabilities=probabilities,
        overlay=overlay,
        overwrite=overwrite,
        add=add,
        calibration=meaning,
        inspect=inspect,
    )
    return run_scan(model, found, options, argv=["fasa_cli.scan"])

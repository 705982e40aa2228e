"""Resuming a scan that has nothing left to do, without loading the model.

Loading torch and the weights takes seconds; to see that every photo is on record takes none of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasa_cli.checkpoint import read_configuration
from fasa_cli.config import ModelConfig, PostprocessConfig
from fasa_cli.errors import OutputError
from fasa_cli.files import sha256_if_readable
from fasa_cli.results import Prediction, WeightsInfo
from fasa_cli.scanning.discovery import Discovery
from fasa_cli.scanning.saved_run import SavedRun, is_saved_run

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor


class DeferredPredictor:
    """A predictor as a saved scan describes it; `load` brings the model when an image needs it."""

    def __init__(
        self,
        weights: WeightsInfo,
        device: str,
        precision: str,
        config: ModelConfig,
        postprocess: PostprocessConfig,
        load: Callable[[], Predictor],
    ) -> None:
        self.weights, self.precision = weights, precision
        self.config, self.postprocess = config, postprocess
        self._device, self._load = device, load
        self._loaded: Predictor | None = None

    @property
    def device(self) -> str:
        """Where the model runs; until it does, where it ran in the scan."""
        return str(self._loaded.device) if self._loaded else self._device

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """See `Predictor.predict_batch`."""
        self._loaded = self._loaded or self._load()
        return self._loaded.predict_batch(images)


def deferred_predictor(
    out: Path,
    discovery: Discovery,
    *,
    kinds: Iterable[str],
    weights: Path,
    precision: str,
    copy_move: bool | None,
    load: Callable[[], Predictor],
    inspect: bool = False,
) -> DeferredPredictor | None:
    """Stands in for a predictor where `out` seems to hold all results; None where it does not.

    Only names, sizes and places of files are looked at: the scan itself looks at the bytes.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    if not is_saved_run(out):
        return None
    try:
        run = SavedRun(out)
        if not _seems_complete(run, discovery, set(kinds), inspect):
            return None
        about = run.description["weights"]
        recorded = WeightsInfo(weights, about["sha256"], about["preset"], about["parameters"])
        device = str(run.description["device"])
    except (OutputError, KeyError, TypeError):  # the scan says what is wrong with it
        return None
    if sha256_if_readable(weights) != recorded.sha256:
        return None
    config, postprocess = read_configuration(weights)
    if copy_move is not None:
        postprocess = postprocess.model_copy(update={"copy_move": copy_move})
    return DeferredPredictor(recorded, device, precision, config, postprocess, load)


def _seems_complete(run: SavedRun, discovery: Discovery, kinds: set[str], inspect: bool) -> bool:
    sizes = {}
    for record in run.records():
        is_inspected = record.inspection is not None or not inspect
        if kinds <= {*record.outputs, *record.not_made} and is_inspected:
            sizes[record.name] = record.bytes
    return all(
        source.name in sizes and _size(source.path) == sizes[source.name]
        for source in discovery.sources
    )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None

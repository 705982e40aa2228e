"""Shift a model's logits so that 0.5 is a good single threshold, and store it in float16.

    python benchmarks/calibrate.py --data VAL_DIR --weights FILE --out weights/compact.safetensors

The threshold is chosen once, over all sets of VAL_DIR: the highest whose F1, averaged within each
set and then over the sets (so that a large set does not decide alone), is within `--tolerance` of
the best. Higher ones mark less of authentic photos, and near the best F1 hardly changes. A constant
added to the logits changes no ranking: AUC and best F1 stay as they are.

What is no matter of weights (`side.reach`, `core`, `copies`) is set as in the preset, and measured
along.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from accuracy import find_sets
from tqdm import tqdm

from fasa_cli.checkpoint import Checkpoint, read_checkpoint
from fasa_cli.config import PRESETS
from fasa_cli.data.datasets import FolderDataset
from fasa_cli.metrics import f1_curve
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.predictor import Predictor


def as_in_preset(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights, with what is no matter of weights as in their preset."""
    config = checkpoint.config
    preset = PRESETS[config.preset]
    side = config.side.model_copy(update={"reach": preset.side.reach})
    update = {"side": side, "core": preset.core, "copies": preset.copies}
    return replace(checkpoint, config=config.model_copy(update=update))


def mean_curve(predictor: Predictor, dataset: FolderDataset) -> np.ndarray | None:
    """Mean F1 of a set's manipulated images at each threshold of the metric's grid."""
    curves = []
    for sample in tqdm(dataset, dataset.name, file=sys.stderr):
        if sample.target_mask is not None and sample.target_mask.any():
            probabilities = predictor.predict(sample.image).probabilities
            curves.append(f1_curve(probabilities, sample.target_mask))
    return np.mean(curves, axis=0) if curves else None


def shift_logits(model: Fasa, amount: float) -> None:
    """Add `amount` to every logit: the last layer's bias is the only constant in them (Eq. 7)."""
    last = (
        model.decoder.residual
        if model.config.includes("full")
        else model.simple_decoder.classify[-1]
    )
    with torch.no_grad():
        last.bias.add_(amount)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=0.025, help="of F1 below the best")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()

    checkpoint = as_in_preset(read_checkpoint(arguments.weights))
    model = build_model(checkpoint)
    predictor = Predictor(model, arguments.device)
    curves = [
        mean_curve(predictor, dataset) for dataset in find_sets(arguments.data, None).values()
    ]
    curve = np.mean([one for one in curves if one is not None], axis=0)
    thresholds = np.linspace(0, 1, len(curve))
    near_best = np.flatnonzero(curve >= curve.max() - arguments.tolerance)
    chosen = float(np.clip(thresholds[near_best[-1]], 0.01, 0.99))
    print(
        f"best single threshold {thresholds[curve.argmax()]:.2f}: mean F1 {curve.max():.4f}; "
        f"chosen {chosen:.2f}: {curve[near_best[-1]]:.4f}; "
        f"at 0.5 it was {curve[np.abs(thresholds - 0.5).argmin()]:.4f}"
    )
    shift_logits(model, -math.log(chosen / (1 - chosen)))
    training = {**checkpoint.training, "calibrated_threshold": chosen}
    sha256 = save_model(model.cpu(), arguments.out, half=True, training=training)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


if __name__ == "__main__":
    main()

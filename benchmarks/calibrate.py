"""Shift a model's logits so that 0.5 is a good single threshold, and store it in float16.

    python benchmarks/calibrate.py --data VAL_DIR --weights FILE --out weights/compact.safetensors

The shift is chosen once, over all sets of VAL_DIR: the lowest whose F1 at 0.5, averaged within each
set and then over the sets (so that a large set does not decide alone), is within `--tolerance` of
the best. Lower ones mark less of authentic photos, and near the best F1 hardly changes. A constant
added to the logits changes no ranking of the network's. Copies are marked after the shift, as in a
scan: what is marked of them does not depend on it.

What is no matter of weights (`side.reach`, `core`, `copies`) is set as in the preset, and measured
along.
"""

from __future__ import annotations

import argparse
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
from fasa_cli.metrics import pixel_f1
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.postprocess.copy_move import find_pairs, mark
from fasa_cli.predictor import Predictor

SHIFTS = np.arange(-4, 4.01, 0.1)  # of the logits


def as_in_preset(checkpoint: Checkpoint) -> Checkpoint:
    """The same weights, with what is no matter of weights as in their preset."""
    config = checkpoint.config
    preset = PRESETS[config.preset]
    side = config.side.model_copy(update={"reach": preset.side.reach})
    update = {"side": side, "core": preset.core, "copies": preset.copies}
    return replace(checkpoint, config=config.model_copy(update=update))


def mean_curve(predictor: Predictor, dataset: FolderDataset, copies: bool) -> np.ndarray | None:
    """Mean F1 at 0.5 of a set's manipulated images after each of the SHIFTS."""
    curves = []
    for sample in tqdm(dataset, dataset.name, file=sys.stderr):
        if sample.target_mask is not None and sample.target_mask.any():
            probabilities = predictor.predict(sample.image).probabilities
            found = find_pairs(sample.image) if copies else []
            logits = np.log(probabilities) - np.log1p(-probabilities)
            scores = []
            for shift in SHIFTS:
                shifted = 1 / (1 + np.exp(-logits - np.float32(shift)))
                mark(shifted, found)
                scores.append(pixel_f1(shifted, sample.target_mask))
            curves.append(scores)
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
    config = model.config
    model.config = config.model_copy(update={"copies": False})  # they are marked after the shift
    predictor = Predictor(model, arguments.device)
    curves = [
        mean_curve(predictor, dataset, config.copies)
        for dataset in find_sets(arguments.data, None).values()
    ]
    curve = np.mean([one for one in curves if one is not None], axis=0)
    near_best = np.flatnonzero(curve >= curve.max() - arguments.tolerance)
    chosen = float(SHIFTS[near_best[0]])
    print(
        f"best shift {SHIFTS[curve.argmax()]:.1f}: mean F1 {curve.max():.4f}; "
        f"chosen {chosen:.1f}: {curve[near_best[0]]:.4f}; "
        f"without one it was {curve[np.abs(SHIFTS).argmin()]:.4f}"
    )
    model.config = config
    shift_logits(model, chosen)
    training = {**checkpoint.training, "calibrated_shift": chosen}
    sha256 = save_model(model.cpu(), arguments.out, half=True, training=training)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


if __name__ == "__main__":
    main()

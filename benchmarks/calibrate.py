"""Choose what follows the network, so that 0.5 is a threshold with few false alarms.

    python benchmarks/calibrate.py --data VAL_DIR --authentic DIR --weights FILE \\
        --out weights/compact.safetensors

On half of every set (`tune`, see accuracy.py) it tries some prominences for hysteresis, and every
constant that could be added to the logits. Of those with which at most `--false-alarms` of the
untouched photos have more than 1 % of their area marked (the mean over the sets of them), it takes
the ones with the highest F1 at 0.5, averaged within each set and then over the sets, with copy-move
marks. A constant changes no ranking of the network's. The weights are stored in float16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
from accuracy import find_sets
from tqdm import tqdm

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import PostprocessConfig
from fasa_cli.evaluation.metrics import FALSE_ALARM_AREA
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.postprocess.copy_move import copy_move_map, find_pairs, marks_of_pairs
from fasa_cli.postprocess.hysteresis import apply_hysteresis
from fasa_cli.predictor import Predictor

SHIFTS = np.arange(-5, 5.01, 0.1)  # of the logits
PROMINENCES = (0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    return torch.logit(torch.from_numpy(probabilities), eps=1e-6).numpy()


def after_hysteresis(network: np.ndarray, prominence: float) -> np.ndarray:
    """Logits; a constant added before or after hysteresis is the same."""
    lowered = network.copy()
    if prominence:
        apply_hysteresis(lowered, prominence)
    return logits_of(lowered)


def f1_curve(logits: np.ndarray, pairs: np.ndarray | None, mask: np.ndarray) -> np.ndarray:
    """Pixel F1 of one forged image after each of the SHIFTS; `pairs` is its copy-move map."""
    marked = np.zeros(mask.shape, bool) if pairs is None else pairs > 0.5
    inside = -np.sort(-logits[mask & ~marked])
    outside = -np.sort(-logits[~mask & ~marked])
    hits = int((marked & mask).sum()) + np.searchsorted(-inside, SHIFTS)
    false = int((marked & ~mask).sum()) + np.searchsorted(-outside, SHIFTS)
    return 2 * hits / (hits + false + mask.sum() + 1e-8)


def area_curve(logits: np.ndarray) -> np.ndarray:
    """The marked share of one untouched photo after each of the SHIFTS."""
    return np.searchsorted(np.sort(-logits, axis=None), SHIFTS) / logits.size


def measure(
    predictor: Predictor,
    data: Path,
    authentic: Path | None,
    limit: int | None,
    largest: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean F1, and share of untouched photos with false alarms: prominences x shifts each."""
    scores: dict[str, list[np.ndarray]] = {}
    alarms: dict[str, list[np.ndarray]] = {}
    for name, dataset in find_sets(data, limit, "tune", authentic, largest).items():
        for sample in tqdm(dataset, name, file=sys.stderr):
            network = predictor.predict(sample.image).probabilities
            curves = [after_hysteresis(network, prominence) for prominence in PROMINENCES]
            mask = sample.target_mask
            if mask is None or not mask.any():
                large = [area_curve(one) > FALSE_ALARM_AREA for one in curves]
                alarms.setdefault(name, []).append(np.array(large))
                continue
            found = find_pairs(sample.image)
            pairs = None
            if found:
                pairs = copy_move_map(found, marks_of_pairs(network, found))
                pairs = cv2.resize(pairs, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
            scores.setdefault(name, []).append(
                np.array([f1_curve(one, pairs, mask) for one in curves])
            )
    return _mean_of_sets(list(scores.values())), _mean_of_sets(list(alarms.values()))


def _mean_of_sets(sets: Sequence[list[np.ndarray]]) -> np.ndarray:
    return np.mean([np.mean(one, axis=0) for one in sets], axis=0)


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
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--authentic", type=Path, help="folder of folders of untouched photos")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--false-alarms", type=float, default=0.1, help="share of photos")
    parser.add_argument("--limit", type=int, help="images of each kind per set")
    parser.add_argument("--largest", type=float, help="megapixels; leave out larger images")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()

    checkpoint = read_checkpoint(options.weights)
    model = build_model(checkpoint)
    predictor = Predictor(model, options.device)
    scores, alarms = measure(
        predictor, options.data, options.authentic, options.limit, options.largest
    )
    for most in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0):
        row, column = _best(scores, alarms, most)
        print(
            f"at most {most:.0%} of untouched photos over 1 %: F1 {scores[row, column]:.3f}, "
            f"prominence {PROMINENCES[row]}, shift {SHIFTS[column]:+.1f}"
        )
    row, column = _best(scores, alarms, options.false_alarms)
    after = PostprocessConfig(minimum_prominence=PROMINENCES[row], copy_move=True)
    shift_logits(model, float(SHIFTS[column]))
    training = {**checkpoint.training, "calibrated_shift": round(float(SHIFTS[column]), 2)}
    sha256 = save_model(model.cpu(), options.out, half=True, training=training, postprocess=after)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


def _best(scores: np.ndarray, alarms: np.ndarray, most: float) -> tuple[int, int]:
    allowed = np.where(alarms <= most, scores, -1.0)
    row, column = np.unravel_index(allowed.argmax(), allowed.shape)
    return int(row), int(column)


if __name__ == "__main__":
    main()

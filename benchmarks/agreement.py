"""Hold a change for speed against what was answered before it.

    python benchmarks/agreement.py --data VAL_DIR --save before.npz      # before the change
    python benchmarks/agreement.py --data VAL_DIR --against before.npz   # after it

VAL_DIR is as accuracy.py has it; the first --limit photos of each kind in every set are analysed.
Prints mean pixel F1 at 0.5 over the sets before and after, and how far probabilities moved. Exits
with 1 when F1 moved by more than 0.002, or when the photos are not those of before.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from accuracy import THRESHOLD, find_sets

from fasa_cli.assets import shipped_weights
from fasa_cli.data.datasets import readable
from fasa_cli.errors import FasaError
from fasa_cli.evaluation.metrics import mean, pixel_f1
from fasa_cli.predictor import Predictor, be_deterministic

MOST_F1 = 0.002


def main() -> None:
    """Predict, then save or compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped one by default")
    parser.add_argument("--limit", type=int, default=4, help="photos of each kind per set")
    parser.add_argument("--deterministic", action="store_true", help="as fasa scan has it")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--save", type=Path, help="file for the answers")
    how.add_argument("--against", type=Path, help="answers that were saved before")
    options = parser.parse_args()
    if options.deterministic:
        be_deterministic()
    try:
        maps, scores = answers(options)
    except FasaError as error:
        sys.exit(f"agreement.py: {error}")
    if options.save:
        np.savez_compressed(options.save, f1=scores, **maps)
        print(f"{len(maps)} photos, mean pixel F1 {scores:.4f}: saved")
    else:
        compare(maps, scores, options.against)


def answers(options: argparse.Namespace) -> tuple[dict[str, np.ndarray], float]:
    """Every photo's probabilities, and the mean over the sets of their mean pixel F1."""
    predictor = Predictor.from_checkpoint(options.weights or shipped_weights(), "cpu")
    maps, means = {}, []
    for name, dataset in find_sets(options.data, options.limit).items():
        found = []
        for number, sample in enumerate(readable(dataset)):
            probabilities = predictor.predict(sample.image).probabilities
            maps[f"{name} {number}"] = probabilities
            if sample.target_mask is not None:
                found.append(pixel_f1(probabilities, sample.target_mask, THRESHOLD))
        means.append(mean(found))
    return maps, mean(means) or 0.0


def compare(maps: dict[str, np.ndarray], scores: float, path: Path) -> None:
    """Print what moved since `path` was written; exit with 1 when it is too much."""
    with np.load(path) as before:
        scores_before = float(before["f1"])
        if set(before.files) != {"f1", *maps}:
            sys.exit(f"agreement.py: {path} is of other photos")
        moved = [np.abs(before[name] - after) for name, after in maps.items()]
        flipped = [(before[n] > THRESHOLD) != (after > THRESHOLD) for n, after in maps.items()]
    print(
        f"{len(maps)} photos, mean pixel F1 {scores_before:.4f} before, {scores:.4f} after; "
        f"probabilities moved by at most {max(map(np.max, moved)):.2g}, "
        f"by {np.mean([one.mean() for one in moved]):.2g} on average; "
        f"{np.mean([one.mean() for one in flipped]):.2%} of the pixels crossed {THRESHOLD}"
    )
    if abs(scores - scores_before) > MOST_F1:
        sys.exit(f"agreement.py: F1 moved by more than {MOST_F1}")


if __name__ == "__main__":
    main()

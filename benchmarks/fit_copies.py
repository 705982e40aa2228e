"""Fit what tells a copy from a look-alike (`_COEFFICIENTS` in fasa_cli/copies.py).

    python benchmarks/fit_copies.py PHOTOS --masks MASKS

Copies are made in authentic photos by the `copy_move` of training, also of several places' sizes;
look-alikes are what the same search finds in the photos as they are. Three in five of both are
recompressed. Half of the photos are kept apart to measure on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Fit this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tqdm import tqdm

from fasa_cli.config import DataConfig
from fasa_cli.copies import _features, candidates
from fasa_cli.data.augmentation import publish
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.synthesis import Forger

LONGEST = 900  # pixels of the longer side
COPIED = 0.3  # intersection over union with the truth of what counts as found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--draws", type=int, default=1500, help="forged and untouched photos")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    config = DataConfig(kinds={"copy_move": 1.0}, authentic_share=0.5, jpeg=0.6, blur=0.0)
    pool = PhotoPool(arguments.photos, arguments.masks)
    forger = Forger(pool, config)
    features, labels, sides = [], [], []
    forged = found = 0
    for draw in tqdm(range(arguments.draws), file=sys.stderr):
        rng = np.random.default_rng((arguments.seed, draw))
        forgery, photo = forger.forge_photo(rng, LONGEST)
        forgery = publish(forgery, config, rng)
        truth, hit = forgery.target_mask, False
        forged += bool(truth.any())
        for _, regions, traits in candidates(forgery.image):
            is_copy = max(_overlap(region, truth) for region in regions) > COPIED
            if truth.any() and not is_copy:
                continue  # a part of the copy, or a look-alike beside it: neither teaches
            hit |= is_copy
            features.append(_features(traits))
            labels.append(is_copy)
            sides.append(photo % 2)
        found += hit
    x, y, side = np.array(features), np.array(labels), np.array(sides)
    print(
        f"{forged} photos with a copy, {found} with a candidate on it; "
        f"{(~y).sum()} look-alikes in {arguments.draws - forged} untouched photos"
    )
    measured = _fit(x[side == 0], y[side == 0])
    probability = 1 / (1 + np.exp(-x[side == 1] @ measured))
    truth = y[side == 1]
    for threshold in (0.3, 0.5, 0.7, 0.9):
        print(
            f"other photos, probability over {threshold}: copies "
            f"{(probability[truth] > threshold).mean():.3f}, look-alikes "
            f"{(probability[~truth] > threshold).mean():.3f} ({(~truth).sum()})"
        )
    print("_COEFFICIENTS =", np.array2string(_fit(x, y), precision=3, separator=", "))


def _overlap(region: np.ndarray, truth: np.ndarray) -> float:
    if region.shape != truth.shape:
        import cv2

        size = truth.shape[::-1]
        region = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return float((region & truth).sum() / max(1, (region | truth).sum()))


def _fit(features: np.ndarray, labels: np.ndarray, ridge: float = 1e-2) -> np.ndarray:
    """Logistic regression by Newton's method; look-alikes weigh half more in all."""
    share = labels.mean()
    weight = np.where(labels, 0.4 / share, 0.6 / (1 - share)) / len(labels)
    coefficients = np.zeros(features.shape[1])
    for _ in range(50):
        probability = 1 / (1 + np.exp(-features @ coefficients))
        gradient = features.T @ (weight * (probability - labels)) + ridge * coefficients / 100
        spread = weight * probability * (1 - probability)
        hessian = (features * spread[:, None]).T @ features
        hessian += np.eye(len(coefficients)) * ridge / 100
        coefficients -= np.linalg.solve(hessian, gradient)
    return coefficients


if __name__ == "__main__":
    main()

"""Fit what separates copies from look-alikes (`COEFFICIENTS` in fasa_cli/postprocess/copy_move.py).

    python benchmarks/fit_copies.py PHOTOS --masks MASKS

Copies are made in authentic photos by the `copy_move` of training; look-alikes are what the same
search finds in the photos as they are. Three in five of both are recompressed. What it says of
other photos comes from a fit on half of the photos; the coefficients are fitted on all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Fit this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from fasa_cli.config import DataConfig
from fasa_cli.data.augmentation import publish
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.synthesis import Forger
from fasa_cli.postprocess.copy_move import candidates, scaled

LONGEST = 900  # pixels of the longer side
LOOK_ALIKES = 1.5  # times what all copies weigh, since most photos are untouched
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
    rows, labels, sides = [], [], []
    forged = found = 0
    for draw in tqdm(range(arguments.draws), file=sys.stderr):
        rng = np.random.default_rng((arguments.seed, draw))
        forgery, photo = forger.forge_photo(rng, LONGEST)
        forgery = publish(forgery, config, rng)
        truth, hit = forgery.target_mask, False
        forged += bool(truth.any())
        for _, regions, features in candidates(forgery.image):
            is_copy = max(_overlap(region, truth) for region in regions) > COPIED
            if truth.any() and not is_copy:
                continue  # a part of the copy, or a look-alike beside it: neither teaches
            hit |= is_copy
            rows.append(scaled(features))
            labels.append(is_copy)
            sides.append(photo % 2)
        found += hit
    x, y, side = np.array(rows), np.array(labels), np.array(sides)
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
    print("COEFFICIENTS =", np.array2string(_fit(x, y), precision=3, separator=", "))


def _overlap(region: np.ndarray, truth: np.ndarray) -> float:
    if region.shape != truth.shape:
        size = truth.shape[::-1]
        region = cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return float((region & truth).sum() / max(1, (region | truth).sum()))


def _fit(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The coefficients of a logistic regression, hardly regularised."""
    weights = {True: 1 / labels.sum(), False: LOOK_ALIKES / (~labels).sum()}
    scale = len(labels) / (1 + LOOK_ALIKES)  # so that weights are 1 on average
    model = LogisticRegression(
        C=10.0,
        class_weight={label: weight * scale for label, weight in weights.items()},
        fit_intercept=False,  # the first feature is constant
        max_iter=10_000,
    )
    return model.fit(features, labels).coef_[0]


if __name__ == "__main__":
    main()

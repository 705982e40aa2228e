"""Choose what follows the network, so that 0.5 is a threshold with few false alarms at every size.

    python benchmarks/calibrate.py --data VAL_DIR --authentic DIR --weights FILE \\
        --out weights/compact.safetensors

On half of every set (`tune`, see accuracy.py). Every untouched photo is measured at its own size
and scaled down to each of SIZES below it, as pictures on the web are. For each of some prominences
of hysteresis and each of SIZES it takes the constant, added to the logits, with which
`--false-alarms` of the photos of about that size have more than 1 % of their area marked. Of the
prominences it takes the one with the highest F1 at 0.5, averaged within each set of forgeries and
then over the sets, with copy-move marks. The constant of the largest size goes into the network's
last bias, what the others have more into the checkpoint (postprocess/size_offset.py). A constant
changes no ranking of the pixels of a photo. The weights are stored in float16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
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
from fasa_cli.imaging import degradations
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.postprocess.copy_move import copy_move_map, find_pairs, marks_of_pairs
from fasa_cli.postprocess.hysteresis import apply_hysteresis
from fasa_cli.predictor import Predictor

SHIFTS = np.arange(-5, 8.01, 0.1)  # of the logits
SIZES = (0.07, 0.2, 0.5, 1.5, 5.0)  # megapixels
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


def critical_shift(logits: np.ndarray) -> float:
    """The constant above which more than FALSE_ALARM_AREA of an untouched photo is marked."""
    rank = min(int(FALSE_ALARM_AREA * logits.size), logits.size - 1)
    return -float(-np.partition(-logits, rank, axis=None)[rank])


def at_sizes(image: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The photo itself and scaled down, each with the index of its place in SIZES."""
    own = image.shape[0] * image.shape[1] / 1e6
    nearest = int(np.abs(np.log(SIZES) - np.log(own)).argmin())
    yield nearest, image
    for index in range(nearest):
        yield index, degradations.resize(image, (SIZES[index] / own) ** 0.5)


@dataclass
class Measured:
    """Of forgeries, by set: (megapixels, F1 by prominence and shift). Of untouched photos, by
    place in SIZES and set: their critical shifts by prominence."""

    forged: dict[str, list[tuple[float, np.ndarray]]]
    untouched: list[dict[str, list[np.ndarray]]]

    def shifts(self, prominence: int, most: float) -> np.ndarray:
        """For each of SIZES, the constant with which a share of `most` has false alarms."""
        return np.array([self._quantile(sets, prominence, most) for sets in self.untouched])

    @staticmethod
    def _quantile(sets: dict[str, list[np.ndarray]], prominence: int, most: float) -> float:
        values = np.sort([one[prominence] for each in sets.values() for one in each])
        return float(values[min(int(most * len(values)), len(values) - 1)])

    def f1(self, prominence: int, shifts: np.ndarray) -> float:
        """Mean F1 with these constants: within each set of forgeries, then over the sets."""
        means = []
        for forged in self.forged.values():
            of_size = [np.interp(np.log(size), np.log(SIZES), shifts) for size, _ in forged]
            curves = (curve[prominence] for _, curve in forged)
            each = zip(of_size, curves, strict=True)
            means.append(np.mean([np.interp(shift, SHIFTS, curve) for shift, curve in each]))
        return float(np.mean(means))


def measure(
    predictor: Predictor,
    data: Path,
    authentic: Path | None,
    limit: int | None,
    largest: float | None,
) -> Measured:
    """Every forgery and every untouched photo of the half `tune`, for all prominences."""
    found = Measured({}, [{} for _ in SIZES])
    for name, dataset in find_sets(data, limit, "tune", authentic, largest).items():
        for sample in tqdm(dataset, name, file=sys.stderr):
            mask = sample.target_mask
            if mask is None or not mask.any():
                for place, image in at_sizes(sample.image):
                    network = predictor.predict(image).probabilities
                    critical = [critical_shift(after_hysteresis(network, h)) for h in PROMINENCES]
                    found.untouched[place].setdefault(name, []).append(np.array(critical))
                continue
            network = predictor.predict(sample.image).probabilities
            pairs = None
            if located := find_pairs(sample.image):
                pairs = copy_move_map(located, marks_of_pairs(network, located))
                pairs = cv2.resize(pairs, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
            curves = [f1_curve(after_hysteresis(network, h), pairs, mask) for h in PROMINENCES]
            found.forged.setdefault(name, []).append((mask.size / 1e6, np.array(curves)))
    return found


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
    found = measure(predictor, options.data, options.authentic, options.limit, options.largest)
    for size, photos in zip(SIZES, found.untouched, strict=True):
        if not photos:
            sys.exit(
                f"calibrate.py: no untouched photo of about {size} megapixels; see --authentic"
            )
    for most in sorted({0.05, 0.1, 0.15, 0.2, 0.3, 0.5, options.false_alarms}):
        prominence, shifts = _best(found, most)
        print(
            f"{most:.0%} of untouched photos over 1 %: F1 {found.f1(prominence, shifts):.3f}, "
            f"prominence {PROMINENCES[prominence]}, "
            + ", ".join(
                f"{size} MP {shift:+.2f}" for size, shift in zip(SIZES, shifts, strict=True)
            )
        )
    prominence, shifts = _best(found, options.false_alarms)
    base = float(shifts[-1])
    offsets = [round(float(shift) - base, 2) for shift in shifts]
    after = PostprocessConfig(
        size_offsets=tuple(zip(SIZES, offsets, strict=True)),
        minimum_prominence=PROMINENCES[prominence],
        copy_move=True,
    )
    shift_logits(model, base)
    training = {**checkpoint.training, "calibrated_shift": round(base, 2)}
    sha256 = save_model(model.cpu(), options.out, half=True, training=training, postprocess=after)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB, sha256 {sha256}")


def _best(found: Measured, most: float) -> tuple[int, np.ndarray]:
    """The prominence (its index) with the highest F1, and the constants for SIZES."""
    shifts = [found.shifts(index, most) for index in range(len(PROMINENCES))]
    scores = [found.f1(index, each) for index, each in enumerate(shifts)]
    best = int(np.argmax(scores))
    return best, shifts[best]


if __name__ == "__main__":
    main()

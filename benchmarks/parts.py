"""What each part of the model gives: F1 without it, or with another photo's.

    python benchmarks/parts.py --data VAL_DIR --half tune --out parts.json

A part that can be exchanged or left out without effect is a defect, or is not needed. The table
has the mean F1 over the sets at 0.5 as scanned (hysteresis, no copy-move search), how far logits
move on average, in units of their standard deviation, and the share of pixels that change sides.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from accuracy import find_sets
from torch import Tensor, nn

from fasa_cli.assets import shipped_weights
from fasa_cli.evaluation.metrics import mean, pixel_f1
from fasa_cli.model.fasa import Fasa
from fasa_cli.predictor import Predictor

THRESHOLD = 0.5


@contextmanager
def replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """An attribute is another one for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def hooked(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Callable[[], None]:
    """What the module gives is changed; the answer takes the change away."""
    return module.register_forward_hook(lambda own, inputs, output: change(output)).remove


class Knockouts:
    """The changes, by name: each a context in which the model lacks something."""

    def __init__(self, model: Fasa) -> None:
        self.model = model
        self.others: list[Tensor] = []  # semantic maps of the photos before
        self._semantic_map = model.semantic_map

    def names(self) -> list[str]:
        return [
            "nothing",
            "another photo's semantic map",
            "no semantic map",
            "prototypes exchanged",
            "constant gate",
            "no low band",
            "no high band",
            "no statistics",
        ]

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        model = self.model
        if name == "nothing":
            yield
        elif name == "another photo's semantic map":
            with replaced(model, "semantic_map", lambda image: self.others[0]):
                yield
        elif name == "no semantic map":
            with replaced(model, "inject", lambda semantic_map, features, *rest: features):
                yield
        elif name == "prototypes exchanged":
            prototypes = model.prototypes
            fake, real = prototypes.fake_prototype, prototypes.real_prototype
            with (
                replaced(prototypes, "fake_prototype", real),
                replaced(prototypes, "real_prototype", fake),
            ):
                yield
        else:
            with self._hook(name):
                yield

    @contextmanager
    def _hook(self, name: str) -> Iterator[None]:
        model = self.model
        if name == "constant gate":
            remove = hooked(model.decoder.gate, lambda gate: torch.full_like(gate, 0.5))
        elif name in ("no low band", "no high band"):
            first = 6 if name == "no low band" else 3  # RGB, high, low

            def silent(image: Tensor) -> Tensor:
                image = image.clone()
                image[:, first : first + 3] = 0
                return image

            remove = hooked(model.frequency, silent)
        else:  # the photo's mean of them everywhere
            remove = hooked(
                model.side.statistics, lambda map: map.mean((2, 3), keepdim=True).expand_as(map)
            )
        try:
            yield
        finally:
            remove()

    def remember(self, image: np.ndarray) -> None:
        """Keep the semantic map of the photo before this one."""
        with torch.inference_mode():
            batch = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255)
            self.others = [*self.others, self._semantic_map(batch)][-2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--half", choices=("all", "tune", "report"), default="tune")
    parser.add_argument("--limit", type=int, default=12, help="forged images per set")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    path = options.weights or shipped_weights()
    predictor = Predictor.from_checkpoint(path, "cpu", copy_move=False)
    knockouts = Knockouts(predictor.model)
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in knockouts.names()}
    moved: dict[str, list[float]] = {name: [] for name in scores}
    sides: dict[str, list[float]] = {name: [] for name in scores}
    for set_name, dataset in find_sets(options.data, options.limit, options.half).items():
        for sample in dataset:
            knockouts.remember(sample.image)
            if sample.target_mask is None or len(knockouts.others) < 2:
                continue
            plain = None
            for name in scores:
                with knockouts.without(name):
                    prediction = predictor.predict(sample.image)
                f1 = pixel_f1(prediction.probabilities, sample.target_mask)
                scores[name].setdefault(set_name, []).append(f1)
                logits = torch.logit(torch.from_numpy(prediction.network_map), eps=1e-6).numpy()
                plain = logits if plain is None else plain
                moved[name].append(float(np.abs(logits - plain).mean() / plain.std()))
                sides[name].append(float(((logits > 0) != (plain > 0)).mean()))
        print(set_name, file=sys.stderr)
    rows = {
        name: {
            "f1": mean(float(np.mean(each)) for each in scores[name].values()),
            "logits_moved": float(np.mean(moved[name])),
            "pixels_on_the_other_side": float(np.mean(sides[name])),
        }
        for name in scores
    }
    print("| Without | mean F1 | logits moved (deviations) | pixels on the other side |")
    print("|---|---|---|---|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['f1']:.3f} | {row['logits_moved']:.2f} "
            f"| {100 * row['pixels_on_the_other_side']:.1f} % |"
        )
    images = len(moved["nothing"])
    print(f"{images} forged images, half {options.half}, protocol native, threshold {THRESHOLD}")
    if options.out:
        about = {"images": images, "half": options.half, "weights": predictor.weights.sha256}
        options.out.write_text(json.dumps({**about, "parts": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()

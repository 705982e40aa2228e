"""Score a checkpoint on every data set of a folder, beside two floors that ignore the image.

    python benchmarks/accuracy.py --data VAL_DIR --authentic DIR --half report --degrade --out F

VAL_DIR holds one folder per set (`images/` + `masks/`, `authentic/` or both), or is a set itself.
`--authentic DIR` adds one set of untouched photos for each folder in DIR. `--half` takes half of
every set, told apart by a hash of the file's name: weights, thresholds and designs are chosen on
`tune`, and what is quoted is measured on `report`.
Protocol `native`, threshold 0.5. Tables go to stdout, progress to stderr, everything to the JSON.

The floors mark every pixel, or the middle of the photo: forgeries are large and central often
enough that a model which cannot beat them has learned nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from fasa_cli import __version__
from fasa_cli.data.datasets import FolderDataset, Sample, SampleError, read_folder, readable
from fasa_cli.data.samples import Entry
from fasa_cli.data.selection import HALVES, selected
from fasa_cli.errors import DatasetError, FasaError
from fasa_cli.evaluation.bootstrap import Interval, bootstrap_interval
from fasa_cli.evaluation.localizers import ModelLocalizer
from fasa_cli.evaluation.metrics import FALSE_ALARM_AREA, false_alarms, mean
from fasa_cli.evaluation.scoring import Evaluation, degraded, evaluate
from fasa_cli.imaging.degradations import CLEAN, Degradation
from fasa_cli.imaging.formats import IMAGE_SUFFIXES
from fasa_cli.results import Prediction

PROTOCOL, THRESHOLD = "native", 0.5
METRICS = ("pixel_f1", "pixel_f1_best", "pixel_iou", "pixel_auc")


class Recut:
    """A change of the picture's bounds, for images and masks alike."""

    def __init__(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        self.name, self._change = name, change

    def __call__(self, samples: Iterable[Sample | SampleError]) -> Iterator[Sample | SampleError]:
        for sample in samples:
            if isinstance(sample, SampleError):
                yield sample
                continue
            mask = sample.target_mask
            mask = mask if mask is None else self._change(mask.astype(np.uint8)).astype(bool)
            yield replace(sample, image=self._change(sample.image), target_mask=mask)


def _cropped(pixels: np.ndarray) -> np.ndarray:
    """Three rows and five columns less: off the JPEG grid."""
    return np.ascontiguousarray(pixels[3:, 5:])


def _letterboxed(pixels: np.ndarray) -> np.ndarray:
    """Black bars above and below, an eighth of the height each."""
    height = pixels.shape[0] // 8
    return cv2.copyMakeBorder(pixels, height, height, 0, 0, cv2.BORDER_CONSTANT)


DEGRADATIONS = (
    Degradation("jpeg", 90),
    Degradation("jpeg", 70),
    Degradation("jpeg", 50),
    Degradation("blur", 3),
    Degradation("noise", 7),
    Degradation("resize", 50),
    Recut("crop 3,5", _cropped),
    Recut("letterbox", _letterboxed),
)


class EveryPixel:
    """The floor that marks everything."""

    def predict(self, image: np.ndarray) -> Prediction:
        return Prediction(np.ones(image.shape[:2], np.float32), 1.0, image.shape[1::-1])


class Middle:
    """The floor that marks the middle: a Gaussian whose sigma is a quarter of each side."""

    def predict(self, image: np.ndarray) -> Prediction:
        rows, columns = (self._profile(length) for length in image.shape[:2])
        return Prediction(np.outer(rows, columns), 1.0, image.shape[1::-1])

    @staticmethod
    def _profile(length: int) -> np.ndarray:
        offset = (np.arange(length) - (length - 1) / 2) / (0.25 * length)
        return np.exp(-(offset**2) / 2).astype(np.float32)


FLOORS: dict[str, Any] = {"every pixel": EveryPixel(), "middle": Middle()}


@dataclass(frozen=True)
class Result:
    """One predictor on all sets, under one degradation."""

    sets: dict[str, Evaluation]

    def mean(self, metric: str) -> float | None:
        """The mean over the sets that hold manipulated images; every set weighs the same."""
        return mean(getattr(evaluation.scores, metric) for evaluation in self.sets.values())

    @property
    def authentic_areas(self) -> list[float]:
        """Marked share of every authentic photo of all sets together."""
        images = (image for evaluation in self.sets.values() for image in evaluation.images)
        return [image.area for image in images if not image.manipulated]

    @property
    def image_auc(self) -> float | None:
        """How well the image-level score tells forged from untouched photos, over all sets."""
        images = [image for each in self.sets.values() for image in each.images]
        return image_level_auc(
            [image.score for image in images], [image.manipulated for image in images]
        )

    @property
    def seconds_per_image(self) -> float | None:
        images = sum(len(evaluation.images) for evaluation in self.sets.values())
        seconds = sum(evaluation.seconds for evaluation in self.sets.values())
        return seconds / images if images else None

    def as_dict(self) -> dict[str, Any]:
        areas = self.authentic_areas
        large = [float(area > FALSE_ALARM_AREA) for area in areas]
        return {
            "sets": {name: _evaluation_dict(each) for name, each in self.sets.items()},
            "mean_over_manipulated_sets": {metric: self.mean(metric) for metric in METRICS},
            "authentic": {
                "images": len(areas),
                **false_alarms(areas)._asdict(),
                "any_share_interval": bootstrap_interval(float(area > 0) for area in areas),
                "large_share_interval": bootstrap_interval(large),
                "area_interval": bootstrap_interval(areas),
            },
            "image_auc": self.image_auc,
            "seconds_per_image": self.seconds_per_image,
        }


def image_level_auc(scores: list[float], manipulated: list[bool]) -> float | None:
    """The probability that a forged image scores higher than an untouched one; None: one class."""
    forged = np.array(
        [score for score, is_forged in zip(scores, manipulated, strict=True) if is_forged]
    )
    untouched = np.array(
        [score for score, is_forged in zip(scores, manipulated, strict=True) if not is_forged]
    )
    if not len(forged) or not len(untouched):
        return None
    difference = forged[:, None] - untouched
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def find_sets(
    root: Path,
    limit: int | None,
    half: str = "all",
    authentic: Path | None = None,
    largest: float | None = None,
) -> dict[str, FolderDataset]:
    """The sets in and at `root`, and one of untouched photos for each folder in `authentic`.

    `half` keeps "tune" or "report", one of the two halves of each set; `largest` images of at most
    so many megapixels; `limit` that many of each kind in each set.

    Raises:
        DatasetError: no set is found, or one does not fit together.
    """
    sets = {}
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        has_images = any((folder / name).is_dir() for name in ("images", "Tp"))
        if not has_images and not any((folder / name).is_dir() for name in ("authentic", "Au")):
            continue
        dataset = read_folder(folder)
        sets[dataset.name if has_images else "authentic"] = dataset
    for folder in (
        sorted(path for path in authentic.iterdir() if path.is_dir()) if authentic else ()
    ):
        photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        sets[f"untouched {folder.name}"] = FolderDataset(folder, tuple(map(Entry, photos)))
    sets = {
        name: selected(dataset, half=half, limit=limit, largest=largest)
        for name, dataset in sets.items()
    }
    if not sets:
        raise DatasetError(f"{root}: neither a data set nor a folder of data sets")
    return sets


def measure(
    predictor: Any,
    sets: dict[str, FolderDataset],
    title: str,
    degradation: Degradation | Recut = CLEAN,
) -> Result:
    """Evaluate one predictor on every set."""
    evaluations = {}
    for name, dataset in sets.items():
        shown = _with_progress(dataset, f"{title}: {name}")
        samples = (
            degradation(shown) if isinstance(degradation, Recut) else degraded(shown, degradation)
        )
        evaluations[name] = evaluate(
            ModelLocalizer(predictor), samples, protocol=PROTOCOL, threshold=THRESHOLD
        )
    return Result(evaluations)


def set_table(title: str, result: Result, floors: dict[str, Result]) -> Table:
    """Scores per set with 95 % intervals, and the F1 of the floors beside them."""
    table = Table(title=f"{title} ({PROTOCOL}, > {THRESHOLD})")
    table.add_column("set")
    for heading in ("forged", "untouched", "> 1 %", "skipped", "F1", "best F1", "at", "IoU", "AUC"):
        table.add_column(heading, justify="right")
    for floor in floors:
        table.add_column(f"F1 {floor}", justify="right")
    for name, evaluation in result.sets.items():
        scores, intervals = evaluation.scores, evaluation.intervals
        cells = [_cell(getattr(scores, metric), intervals[metric]) for metric in METRICS]
        table.add_row(
            name,
            str(scores.manipulated),
            str(scores.images - scores.manipulated),
            _cell(scores.false_alarm_large_share, digits=2),
            str(scores.skipped),
            *cells[:2],
            _cell(scores.best_threshold, digits=2),
            *cells[2:],
            *(_cell(floor.sets[name].scores.pixel_f1) for floor in floors.values()),
        )
    table.add_section()
    means = [_cell(result.mean(metric)) for metric in METRICS]
    floor_means = [_cell(floor.mean("pixel_f1")) for floor in floors.values()]
    table.add_row("mean of sets", "", "", "", "", *means[:2], "", *means[2:], *floor_means)
    return table


def summary_table(results: dict[str, Result]) -> Table:
    """One line per predictor and degradation: means over sets, and false alarms."""
    table = Table(title="Means over the manipulated sets; false alarms on all authentic photos")
    table.add_column("")
    headings = ["F1", "best F1", "IoU", "AUC", "image AUC", "untouched", "any pixel"]
    headings += ["> 1 % area", "area"]
    for heading in [*headings, "s/image"]:
        table.add_column(heading, justify="right")
    for name, result in results.items():
        alarms = false_alarms(result.authentic_areas)
        table.add_row(
            name,
            *(_cell(result.mean(metric)) for metric in METRICS),
            _cell(result.image_auc),
            str(len(result.authentic_areas)),
            *(_cell(value) for value in (alarms.any_share, alarms.large_share, alarms.area)),
            _cell(result.seconds_per_image),
        )
    return table


def main() -> None:
    """Measure, print, and write."""
    options = _parse_arguments()
    try:
        sets = find_sets(
            options.data, options.limit, options.half, options.authentic, options.largest
        )
        floors = {name: measure(floor, sets, name) for name, floor in FLOORS.items()}
        results = dict(floors)
        about: dict[str, Any] = {}
        if not options.floors_only:
            model, about = _load(options.weights, options.device)
            results = {"model": measure(model, sets, "model"), **floors}
            for degradation in DEGRADATIONS if options.degrade else ():
                name = degradation.name
                results[f"model, {name}"] = measure(model, sets, name, degradation)
    except FasaError as error:
        sys.exit(f"accuracy.py: {error}")
    _show(results, floors, about)
    if options.out:
        report = {
            "fasa": __version__,
            "protocol": PROTOCOL,
            "threshold": THRESHOLD,
            "limit": options.limit,
            "half": options.half,
            "largest_megapixels": options.largest,
            "machine": platform.processor() or platform.machine(),
            "weights": about,
            "results": {name: result.as_dict() for name, result in results.items()},
        }
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--authentic", type=Path, help="folder of folders of untouched photos")
    parser.add_argument("--half", choices=HALVES, default="all")
    parser.add_argument("--weights", type=Path, help="checkpoint; the shipped one by default")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--degrade", action="store_true", help="also score degraded images")
    parser.add_argument("--floors-only", action="store_true", help="score no model")
    parser.add_argument("--limit", type=int, help="images of each kind per set")
    parser.add_argument("--largest", type=float, help="megapixels; leave out larger images")
    options = parser.parse_args()
    if not options.data.is_dir():
        parser.error(f"--data {options.data}: no such folder")
    return options


def _load(weights: Path | None, device: str) -> tuple[Any, dict[str, Any]]:
    from fasa_cli.assets import shipped_weights
    from fasa_cli.predictor import Predictor  # torch, which the floors do not need

    path = weights or shipped_weights()
    predictor = Predictor.from_checkpoint(path, device=device)
    about = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": predictor.weights.sha256,
        "parameters": predictor.weights.parameters,
        "device": str(predictor.device),
    }
    return predictor, about


def _show(results: dict[str, Result], floors: dict[str, Result], about: dict[str, Any]) -> None:
    # A file or a pipe gets tables as wide as they need to be.
    console = Console(width=None if sys.stdout.isatty() else 180)
    for name in ("model", *floors):
        if name in results:
            console.print(set_table(name, results[name], {} if name in floors else floors))
    console.print(summary_table(results))
    if about:
        console.print(
            f"{about['file']}: {about['bytes'] / 1e6:.1f} MB, {about['parameters']:,} parameters, "
            f"sha256 {about['sha256'][:12]}, on {about['device']}"
        )


def _with_progress(dataset: FolderDataset, title: str) -> Iterable[Sample | SampleError]:
    if sys.stderr.isatty():
        return tqdm(readable(dataset), desc=title, total=len(dataset), leave=False)
    print(f"{title}: {len(dataset)} images", file=sys.stderr)
    return readable(dataset)


def _evaluation_dict(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "scores": asdict(evaluation.scores),
        "intervals": evaluation.intervals,
        "seconds_per_image": evaluation.seconds_per_image,
        "skipped": evaluation.skipped,
    }


def _cell(value: float | None, interval: Interval | None = None, digits: int = 3) -> str:
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return text if interval is None else f"{text} ({interval[0]:.2f}-{interval[1]:.2f})"


if __name__ == "__main__":
    main()

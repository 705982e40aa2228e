"""Evaluations in folders: measured, written, read back, and compared image by image.

A folder holds `images.jsonl` and `images.csv` (every image's result) and, written last,
`evaluation.json`: what was measured with what, on what, by which protocol, and what came of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fasa_cli import __version__
from fasa_cli.calibration import LoadedCalibration
from fasa_cli.data.datasets import Dataset, readable
from fasa_cli.environment import environment
from fasa_cli.errors import DatasetError, OutputError
from fasa_cli.evaluation.bootstrap import Difference, Interval, paired_differences
from fasa_cli.evaluation.evidence import draw_evidence, measure_evidence
from fasa_cli.evaluation.localizers import Localizer
from fasa_cli.evaluation.scoring import degraded, evaluate
from fasa_cli.files import (
    csv_table,
    json_line,
    sha256_of_files,
    utc_now,
    write_atomically,
    write_lines,
)
from fasa_cli.imaging.degradations import CLEAN, Degradation
from fasa_cli.results import ImageScores, Scores
from fasa_cli.text import rounded_score

EVALUATION_FILE, IMAGES_FILE, TABLE_FILE = "evaluation.json", "images.jsonl", "images.csv"
EVIDENCE_PICTURE = "evidence"  # .png and .svg
EVALUATION_SCHEMA = 1
POINTS = "points"  # where a sweep keeps its evaluations: points/<method>/<severity>


@dataclass(frozen=True)
class Data:
    """A data set to measure on, its name, where it lies, and one hash over all its files."""

    dataset: Dataset
    name: str
    path: Path
    sha256: str

    @classmethod
    def of(cls, dataset: Dataset, path: Path) -> Data:
        """
        Raises:
            DatasetError: a file cannot be read.
        """
        try:
            return cls(dataset, dataset.name, path, sha256_of_files(dataset.files))
        except OSError as error:
            raise DatasetError(f"{error.filename}: cannot be read ({error.strerror})") from error


@dataclass(frozen=True)
class Measurement:
    """One thing to be measured: which method, on what, under which protocol."""

    localizer: Localizer
    name: str
    data: Data
    protocol: str = "native"
    threshold: float = 0.5
    degradation: Degradation = CLEAN
    calibration: LoadedCalibration | None = None

    def identity(self) -> dict[str, Any]:
        """What must be equal for two evaluations to be the same, as plain JSON values."""
        return {
            "schema_version": EVALUATION_SCHEMA,
            "version": __version__,
            "name": self.name,
            "data": {"name": self.data.name, "sha256": self.data.sha256},
            "method": self.localizer.identity(),
            "protocol": self.protocol,
            "threshold": self.threshold,
            "degradation": asdict(self.degradation),
            "calibration": self.calibration and self.calibration.sha256,
        }


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation read from its folder; `about` is all of `evaluation.json`."""

    folder: Path
    about: Mapping[str, Any]
    scores: Scores
    intervals: Mapping[str, Interval | None]

    @property
    def name(self) -> str:
        """What tables call the method."""
        return str(self.about["name"])

    @property
    def data_name(self) -> str:
        """What tables call the data set."""
        return str(self.about["data"]["name"])

    @property
    def degradation(self) -> Degradation:
        """What was done to the images."""
        return Degradation(**self.about["degradation"])

    @property
    def skipped(self) -> tuple[str, ...]:
        """Which images were left out, and why."""
        return tuple(self.about["skipped"])

    @property
    def evidence(self) -> Mapping[str, Any] | None:
        """The fields of `evidence.Evidence`; None where there were too few photos of a class."""
        return self.about.get("evidence")

    @property
    def notes(self) -> tuple[str, ...]:
        """What else a reader of the numbers must know."""
        return tuple(self.about["notes"])

    def images(self) -> tuple[ImageScores, ...]:
        """Every image's result.

        Raises:
            OutputError: the file is missing or damaged.
        """
        path = self.folder / IMAGES_FILE
        try:
            lines = path.read_text(encoding="ascii").splitlines()
            images = tuple(ImageScores(**json.loads(line)) for line in lines)
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); evaluate again") from error
        if len(images) != self.scores.images:
            raise OutputError(f"{path}: has {len(images)} images, not {self.scores.images}")
        return images


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same images; `unpaired` images are in one of them only.

    `differences` are second - first, by the names of `Scores`, over the images in both.
    """

    first: EvaluationRun
    second: EvaluationRun
    images: int
    unpaired: int
    differences: Mapping[str, Difference]


def method_name(path: Path) -> str:
    """What tables call the weights or predictions at `path` by default: the file's or folder's
    name, after its run's where a training gave it."""
    stem = path.stem if path.suffix == ".safetensors" else path.name
    return f"{path.resolve().parent.name} {stem}" if stem in ("last", "best") else stem


def folder_name(text: str) -> str:
    """A text as a name that any file system takes."""
    return re.sub(r"[^\w.+-]+", "-", text).strip(".-") or "unnamed"


def measure(
    measurement: Measurement,
    folder: Path,
    *,
    overwrite: bool = False,
    argv: Sequence[str] = (),
    advance: Callable[[], None] = lambda: None,
) -> EvaluationRun:
    """Evaluate, and write everything to `folder`; an evaluation of the same there is replaced.

    Raises:
        OutputError: `folder` holds another evaluation or other files, or cannot be written.
        DatasetError: no image could be scored.
    """
    identity = measurement.identity()
    if not overwrite:
        _refuse_other(folder, identity)
    started = utc_now()
    loaded = measurement.calibration
    samples = readable(measurement.data.dataset)
    if not measurement.degradation.is_clean:
        samples = degraded(samples, measurement.degradation)
    evaluation = evaluate(
        measurement.localizer,
        samples,
        protocol=measurement.protocol,
        threshold=measurement.threshold,
        advance=advance,
        calibration=None if loaded is None else loaded.calibration,
    )
    if not evaluation.images:
        why = evaluation.skipped[0] if evaluation.skipped else "the data set is empty"
        raise DatasetError(f"{measurement.data.path}: no image could be scored; the first: {why}")
    source = measurement.localizer.source
    evidence = measure_evidence(evaluation.images)
    about = {
        "tool": "fasa",
        "kind": "evaluation",
        **identity,
        "scores": asdict(evaluation.scores),
        "intervals": evaluation.intervals,
        "evidence": evidence and asdict(evidence),
        "skipped": evaluation.skipped,
        "notes": evaluation.notes,
        "paths": {"data": str(measurement.data.path), "method": source and str(source)},
        "seconds": round(evaluation.seconds, 3),
        "argv": list(argv),
        "started": started,
        "ended": utc_now(),
        **environment(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EVALUATION_FILE).unlink(missing_ok=True)  # never beside results of another run
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
    title = f"{measurement.name} on {measurement.data.name}"
    pictures = draw_evidence(evaluation.images, title) if evidence else {}
    for kind, data in pictures.items():
        write_atomically(folder / f"{EVIDENCE_PICTURE}.{kind}", data)
    rows = [asdict(image) for image in evaluation.images]
    write_lines(folder / IMAGES_FILE, map(json_line, rows))
    short = ({**row, "score": rounded_score(row["score"])} for row in rows)
    write_lines(folder / TABLE_FILE, csv_table(short))
    text = json.dumps(about, indent=1, allow_nan=False) + "\n"
    write_atomically(folder / EVALUATION_FILE, text.encode("ascii"))
    return read_evaluation(folder)


def is_measured(measurement: Measurement, folder: Path) -> bool:
    """Whether `folder` holds this very evaluation, complete."""
    if not (folder / EVALUATION_FILE).exists():
        return False
    try:
        run = read_evaluation(folder)
        run.images()
    except OutputError:
        return False
    return _different(run.about, measurement.identity()) == []


def read_evaluation(folder: Path) -> EvaluationRun:
    """
    Raises:
        OutputError: there is no evaluation, or it is damaged or of another schema.
    """
    path = folder / EVALUATION_FILE
    try:
        about = json.loads(path.read_bytes())
        if about["schema_version"] != EVALUATION_SCHEMA:
            raise ValueError(f"schema {about['schema_version']}, not {EVALUATION_SCHEMA}")
        intervals = {name: each and tuple(each) for name, each in about["intervals"].items()}
        return EvaluationRun(folder, about, Scores(**about["scores"]), intervals)
    except FileNotFoundError as error:
        raise OutputError(f"{folder}: holds no evaluation; run fasa evaluate") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); evaluate again") from error


def find_evaluations(folder: Path) -> list[EvaluationRun]:
    """The evaluation in a folder, or all those below it but the points of sweeps, by path.

    Raises:
        OutputError: there is none, or one cannot be read.
    """
    if (folder / EVALUATION_FILE).exists():
        return [read_evaluation(folder)]
    below = sorted(path.parent for path in folder.rglob(EVALUATION_FILE))
    found = [read_evaluation(each) for each in below if each.parent.parent.name != POINTS]
    return found or [read_evaluation(folder)]  # which says that there is none


def compare(first: EvaluationRun, second: EvaluationRun) -> Comparison:
    """Pair two evaluations image by image, and give each metric's difference with its interval.

    Raises:
        OutputError: they are not of the same data and protocol, or share no image.
    """
    for what, ours, theirs in (
        ("data sets", first.about["data"]["sha256"], second.about["data"]["sha256"]),
        ("protocols", first.scores.protocol, second.scores.protocol),
    ):
        if ours != theirs:
            raise OutputError(
                f"{first.folder} and {second.folder}: of different {what}, so that no image can "
                "be compared; evaluate both on the same"
            )
    ours, theirs = _by_name(first.images()), _by_name(second.images())
    both = [key for key in ours if key in theirs]
    if not both:
        raise OutputError(f"{first.folder} and {second.folder}: share no image")
    differences = paired_differences(
        [ours[key] for key in both],
        [theirs[key] for key in both],
        thresholds=(first.scores.threshold, second.scores.threshold),
    )
    unpaired = len(ours) + len(theirs) - 2 * len(both)
    return Comparison(first, second, len(both), unpaired, differences)


def _by_name(images: Sequence[ImageScores]) -> dict[tuple[str, int], ImageScores]:
    """Images by name; of several that bear the same, each also by which of them it is."""
    named: dict[tuple[str, int], ImageScores] = {}
    seen: dict[str, int] = {}
    for image in images:
        seen[image.name] = number = seen.get(image.name, -1) + 1
        named[image.name, number] = image
    return named


def _refuse_other(folder: Path, identity: Mapping[str, Any]) -> None:
    if (folder / EVALUATION_FILE).exists():
        if different := _different(read_evaluation(folder).about, identity):
            raise OutputError(
                f"{folder}: holds another evaluation (other {', '.join(different)}); "
                "choose another --out, or --overwrite to replace it"
            )
        return
    for name in (IMAGES_FILE, TABLE_FILE):
        if (folder / name).exists():
            raise OutputError(
                f"{folder / name}: exists, without an {EVALUATION_FILE} beside it; "
                "choose another --out, or --overwrite to replace it"
            )


def _different(about: Mapping[str, Any], identity: Mapping[str, Any]) -> list[str]:
    """Which parts of an identity an evaluation does not share."""
    return [key for key, value in identity.items() if about.get(key) != value]

"""Robustness sweeps (section 4.3): one data set, several methods, rising severities; resumable.

Images are degraded at their native resolution, before any protocol resizes them, by the code that
degrades in training. Every severity is an evaluation of its own in `points/`, so that a sweep that
was cut off resumes with the first one missing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fasa_cli import __version__
from fasa_cli.data.datasets import Dataset, Sample, SampleError, readable
from fasa_cli.errors import DatasetError, OutputError
from fasa_cli.evaluation.localizers import Localizer
from fasa_cli.evaluation.metrics import METRICS
from fasa_cli.evaluation.predictions import SavedPredictions
from fasa_cli.evaluation.runs import (
    POINTS,
    Data,
    EvaluationRun,
    Measurement,
    folder_name,
    is_measured,
    measure,
    read_evaluation,
)
from fasa_cli.evaluation.scoring import degraded
from fasa_cli.files import csv_table, utc_now, write_atomically, write_lines
from fasa_cli.imaging.degradations import CLEAN, Degradation
from fasa_cli.imaging.encode import encode_mask, encode_png

if TYPE_CHECKING:
    pass

SWEEP_FILE, SWEEP_TABLE, CURVES = "robustness.json", "robustness.csv", "robustness"
SWEEP_SCHEMA = 1
Answering = Callable[[Degradation], Localizer]


@dataclass(frozen=True)
class Method:
    """A line of the sweep. `open` makes it ready, and returns what predicts at a severity."""

    name: str
    open: Callable[[], Answering]


@dataclass(frozen=True)
class Sweep:
    """A sweep read from its folder: every point's evaluation, and what `robustness.json` says."""

    folder: Path
    about: Mapping[str, Any]
    runs: tuple[EvaluationRun, ...]

    @property
    def kinds(self) -> list[str]:
        """The degradations, in the order in which they were asked for."""
        return list(dict.fromkeys(point.kind for point in self._points if not point.is_clean))

    @property
    def _points(self) -> list[Degradation]:
        return [Degradation(**point) for point in self.about["points"]]

    def severities(self, kind: str) -> list[Degradation]:
        """From clean to the most severe."""
        return [CLEAN, *(point for point in self._points if point.kind == kind)]

    def methods(self) -> dict[str, dict[str, EvaluationRun]]:
        """Evaluations by method, then by the name of the degradation."""
        methods: dict[str, dict[str, EvaluationRun]] = {}
        for run in self.runs:
            methods.setdefault(run.name, {})[run.degradation.name] = run
        return methods


def points_of(severities: Mapping[str, Iterable[int]]) -> list[Degradation]:
    """Clean, then each kind's severities from mild to severe; what changes nothing is left out.

    Raises:
        ValueError: a severity is none of its kind's.
    """
    points = [CLEAN]
    for kind, values in severities.items():
        each = {Degradation(kind, value) for value in values}
        points += sorted((point for point in each if not point.is_clean), key=_severeness)
    return points


def with_earlier_points(points: Sequence[Degradation], folder: Path) -> list[Degradation]:
    """The points and those of a sweep that `folder` holds, in order; theirs only if it holds one.

    Raises:
        OutputError: the sweep is damaged.
    """
    about = _read_about(folder) or {"points": []}
    severities: dict[str, list[int]] = {}
    for point in [*points, *(Degradation(**point) for point in about["points"])]:
        if not point.is_clean:
            severities.setdefault(point.kind, []).append(point.severity)
    return points_of(severities)


def own_folder(folder: Path, data: Data, methods: Sequence[str], threshold: float) -> Path:
    """`folder`, or one beside it where it holds a sweep of other data, methods or threshold.

    Raises:
        OutputError: the sweep that it holds is damaged.
    """
    about = _read_about(folder)
    own = {
        "data": {"name": data.name, "sha256": data.sha256},
        "methods": list(methods),
        "threshold": threshold,
    }
    if about is None or all(about.get(key) == value for key, value in own.items()):
        return folder
    mark = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
    return folder.with_name(f"{folder.name}-{mark}")


def _severeness(point: Degradation) -> float:
    measures = {"jpeg": lambda s: -s, "resize": lambda s: abs(math.log(s / 100))}
    return float(measures.get(point.kind, lambda s: s)(point.severity))


def predictions_per_severity(folder: Path, points: Sequence[Degradation]) -> Answering:
    """Another method's predictions for degraded images: `folder/clean`, `folder/jpeg-50` ...

    Raises:
        DatasetError: a severity's folder is missing; all that are needed are named.
    """
    needed = [point.name for point in points]
    if missing := [name for name in needed if not (folder / name).is_dir()]:
        raise DatasetError(
            f"{folder}: a sweep needs this method's predictions for the degraded images, in a "
            f"folder per severity ({', '.join(needed)}), each laid out as for fasa evaluate; "
            f"missing: {', '.join(missing)}. fasa robustness --export writes the degraded images"
        )
    return lambda point: SavedPredictions(folder / point.name)


def export_points(
    dataset: Dataset,
    points: Sequence[Degradation],
    out: Path,
    *,
    advance: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write the degraded images without loss, with their masks: a data set per severity.

    `out/jpeg-50/images/sub/a.jpg.png` is `sub/a.jpg` at JPEG quality 50; authentic images lie in
    `authentic/`. Returns which images could not be read, and why.

    Raises:
        OutputError: `out` holds something already, or cannot be written.
    """
    if out.exists() and any(out.iterdir()):
        raise OutputError(f"{out}: holds something already; name a new folder")
    skipped = []
    for sample in readable(dataset):
        if isinstance(sample, SampleError):
            skipped.append(str(sample))
            for _ in points:
                advance()
            continue
        for point in points:
            for each in degraded([sample], point):
                _export(each, out / point.name)
            advance()
    return skipped


def _export(sample: Sample | SampleError, folder: Path) -> None:
    assert isinstance(sample, Sample)
    manipulated = sample.target_mask is not None
    name = PurePosixPath(sample.name)
    parts = [part for part in name.parts if part not in ("/", "..", "images", "authentic")]
    inside = Path(*parts[:-1], f"{name.name}.png")
    files = {Path("images" if manipulated else "authentic") / inside: encode_png(sample.image)}
    if sample.target_mask is not None:
        files[Path("masks") / inside] = encode_mask(sample.target_mask)
    for path, data in files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
        write_atomically(folder / path, data)


def sweep(
    methods: Sequence[Method],
    data: Data,
    points: Sequence[Degradation],
    out: Path,
    *,
    protocol: str = "native",
    threshold: float = 0.5,
    overwrite: bool = False,
    argv: Sequence[str] = (),
    advance: Callable[[int], None] = lambda images: None,
) -> Sweep:
    """Evaluate every method at every point, and write `robustness.json` and `.csv`.

    Points that were measured already, with the same weights, data and settings, are taken as they
    are; `points` must hold all those of a sweep in `out` (see `with_earlier_points`). `advance` is
    called with the number of images done.

    Raises:
        OutputError: `out` holds another sweep, or cannot be written.
        DatasetError: no image could be scored, or predictions are missing.
    """
    about: dict[str, Any] = {
        "schema_version": SWEEP_SCHEMA,
        "version": __version__,
        "data": {"name": data.name, "sha256": data.sha256},
        "methods": [method.name for method in methods],
        "points": [asdict(point) for point in points],
        "protocol": protocol,
        "threshold": threshold,
    }
    if not overwrite:
        _refuse_other(out, about)
    started = utc_now()
    runs = []
    for method in methods:
        answering = method.open()
        for point in points:
            measurement = Measurement(
                answering(point), method.name, data, protocol, threshold, point
            )
            runs.append(_point(measurement, out, argv, advance))
        del answering  # one model in memory at a time
    about |= {
        "tool": "fasa",
        "kind": "sweep",
        "results": [_result(run, out) for run in runs],
        "paths": {"data": str(data.path)},
        "argv": list(argv),
        "started": started,
        "ended": utc_now(),
    }
    write_lines(out / SWEEP_TABLE, sweep_csv(runs))
    text = json.dumps(about, indent=1, allow_nan=False) + "\n"
    write_atomically(out / SWEEP_FILE, text.encode("ascii"))
    return Sweep(out, about, tuple(runs))


def read_sweep(folder: Path) -> Sweep:
    """
    Raises:
        OutputError: there is no sweep, or it or one of its points is damaged.
    """
    path = folder / SWEEP_FILE
    try:
        about = json.loads(path.read_bytes())
        if about["schema_version"] != SWEEP_SCHEMA:
            raise ValueError(f"schema {about['schema_version']}, not {SWEEP_SCHEMA}")
        runs = tuple(read_evaluation(folder / result["run"]) for result in about["results"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: cannot be read ({error}); run fasa robustness again") from error
    return Sweep(folder, about, runs)


def sweep_csv(runs: Iterable[EvaluationRun]) -> Iterator[str]:
    """A header and a line per method and severity: every metric, its interval, and the counts."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {
            "source": "measured",
            "name": run.name,
            "data": run.data_name,
            "degradation": run.degradation.kind,
            "severity": run.degradation.severity,
        }
        scores = asdict(run.scores)
        row |= {key: value for key, value in scores.items() if key not in METRICS}
        for metric in METRICS:
            low, high = run.intervals.get(metric) or (None, None)
            row |= {metric: scores[metric], f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return csv_table(rows)


def _point(
    measurement: Measurement, out: Path, argv: Sequence[str], advance: Callable[[int], None]
) -> EvaluationRun:
    identity = json.dumps(measurement.identity(), sort_keys=True).encode()
    mark = hashlib.sha256(identity).hexdigest()[:8]
    folder = out / POINTS / folder_name(measurement.name)
    folder /= f"{measurement.degradation.name}-{mark}"
    if is_measured(measurement, folder):
        advance(len(measurement.data.dataset))
        return read_evaluation(folder)
    return measure(measurement, folder, overwrite=True, argv=argv, advance=lambda: advance(1))


def _read_about(folder: Path) -> dict[str, Any] | None:
    """What `robustness.json` in a folder says; None without one."""
    path = folder / SWEEP_FILE
    try:
        about = json.loads(path.read_bytes())
        for point in about["points"]:
            Degradation(**point)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path}: cannot be read ({error}); choose another --out, or --overwrite"
        ) from error
    return dict(about)


def _refuse_other(out: Path, about: Mapping[str, Any]) -> None:
    then = _read_about(out)
    if then is None:
        return
    different = [key for key, value in about.items() if key != "points" and then.get(key) != value]
    if any(point not in about["points"] for point in then["points"]):
        different.append("points")
    if different:
        raise OutputError(
            f"{out}: holds another sweep (other {', '.join(different)}); choose another --out, or "
            "--overwrite to replace its tables and curves (points that fit are kept)"
        )


def _result(run: EvaluationRun, out: Path) -> dict[str, Any]:
    return {
        "name": run.name,
        "degradation": run.degradation.kind,
        "severity": run.degradation.severity,
        "scores": asdict(run.scores),
        "intervals": dict(run.intervals),
        "skipped": list(run.skipped),
        "run": run.folder.relative_to(out).as_posix(),
    }

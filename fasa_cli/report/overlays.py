"""Pictures of results, written to files: from a saved scan, or from photos at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasa_cli.errors import ConfigError, FasaError, OutputError
from fasa_cli.files import write_atomically
from fasa_cli.imaging.decode import read_image
from fasa_cli.imaging.encode import encode_jpeg, encode_png, encode_webp
from fasa_cli.imaging.profiles import for_display
from fasa_cli.imaging.rendering import blend, contour, hatched, side_by_side, with_scale
from fasa_cli.results import Box, Failure, ScanRecord
from fasa_cli.scanning.discovery import Discovery
from fasa_cli.scanning.saved_run import SavedRun, is_saved_run

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor

STYLES = ("heat", "contour", "side", "mask")
ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".png": encode_png,
    ".jpg": encode_jpeg,
    ".jpeg": encode_jpeg,
    ".webp": encode_webp,
}


@dataclass(frozen=True)
class OverlayStyle:
    """How a result is drawn. `style` None is a heat map where there is one, else the contour."""

    style: str | None = None
    alpha: float = 0.5
    colormap: str = "viridis"
    scale_bar: bool = True


@dataclass(frozen=True)
class Subject:
    """A photo and what was found in it, all upright and of one size.

    `image` is H x W x 3 uint8 RGB, `mask` H x W bool, `probabilities` H x W in [0, 1] or None
    where a scan kept the mask only. `damaged` boxes of the photo are hatched.
    """

    image: np.ndarray
    mask: np.ndarray
    probabilities: np.ndarray | None
    threshold: float
    damaged: tuple[Box, ...] = ()


@dataclass(frozen=True)
class Job:
    """One picture to make: the photo's `path`, the `name` of the picture, and its content."""

    path: str
    name: str
    load: Callable[[], Subject]


def draw(subject: Subject, overlay_style: OverlayStyle) -> tuple[str, np.ndarray]:
    """(style, picture): H x W uint8 for `mask`, else uint8 RGB of the photo's size and scale.

    `heat` and `side` have a strip with the scale below, unless `overlay_style` says
    otherwise; `side` has the photo itself on the left.

    Raises:
        OutputError: a heat map is asked for, and the scan kept none.
    """
    heat = subject.probabilities
    style = overlay_style.style or ("contour" if heat is None else "heat")
    if style == "mask":
        return style, subject.mask.astype(np.uint8) * np.uint8(255)
    if style == "contour":
        return style, hatched(contour(subject.image, subject.mask), subject.damaged)
    if heat is None and style == "heat":
        raise OutputError(
            "the scan kept masks only; scan with --probabilities, or take --style contour"
        )
    picture = subject.image
    if heat is not None:
        picture = blend(picture, heat, overlay_style.alpha, overlay_style.colormap)
    picture = hatched(contour(picture, subject.mask), subject.damaged)
    if style == "side":
        picture = side_by_side(subject.image, picture)
    if overlay_style.scale_bar and heat is not None:
        picture = with_scale(picture, subject.threshold, overlay_style.colormap)
    return style, picture


def run_jobs(run: SavedRun, threshold: float | None = None) -> Iterator[Job]:
    """What a saved scan has to show; the model does not run again."""
    for record in run.records():
        yield Job(record.path, record.name, partial(_from_run, run, record, threshold))


def _from_run(run: SavedRun, record: ScanRecord, threshold: float | None) -> Subject:
    probabilities = run.read_probabilities(record)
    photo = run.read_photo(record)[0]
    image = for_display(photo.pixels, photo.icc_profile)
    if threshold is None or threshold == run.threshold:
        mask = run.read_mask(record)
        return Subject(image, mask, probabilities, run.threshold, record.damaged)
    if probabilities is None:
        raise OutputError(
            f"the scan kept only masks at {run.threshold:g}; for another --threshold scan with "
            "--probabilities"
        )
    return Subject(image, probabilities > threshold, probabilities, threshold, record.damaged)


def photo_jobs(predictor: Predictor, found: Discovery, threshold: float = 0.5) -> Iterator[Job]:
    """What the model finds in photos."""
    for source in found.sources:
        load = partial(_from_photo, predictor, source.path, threshold)
        yield Job(source.path, source.name, load)


def _from_photo(predictor: Predictor, path: str, threshold: float) -> Subject:
    photo = read_image(path)
    prediction = predictor.predict(photo)
    image = for_display(photo.pixels, photo.icc_profile)
    mask = prediction.mask(threshold)
    return Subject(image, mask, prediction.probabilities, threshold, photo.damaged)


def write_overlay(job: Job, out: Path, suffix: str, overlay_style: OverlayStyle) -> Path | Failure:
    """Draw one picture into the folder `out`, or as the file `out` when `suffix` is its own.

    In a folder it is called by the photo, the style and `suffix` (`.png`, `.jpg`, `.webp`).

    Raises:
        OutputError: the folder cannot be written, or is a scan's.
    """
    is_file = out.suffix.lower() == suffix
    folder = out.parent if is_file else out
    if is_saved_run(folder):
        raise OutputError(f"{folder}: holds a scan, which must stay as it is; choose another --out")
    try:
        style, picture = draw(job.load(), overlay_style)
        target = out if is_file else out / f"{job.name}.{style}{suffix}"
        if target.exists() and target.samefile(job.path):
            raise ConfigError("--out would overwrite the photo; choose another")
        encoded = ENCODERS[suffix](picture)
    except FasaError as error:
        return Failure(job.path, "no picture", str(error).removeprefix(f"{job.path}: "), "overlay")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: cannot be made ({error.strerror})") from error
    write_atomically(target, encoded)
    return target

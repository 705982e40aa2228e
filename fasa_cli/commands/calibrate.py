"""`fasa calibrate`: what scores of some weights mean, on photos of known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands.display import Progress, console, is_screen, say
from fasa_cli.commands.options import Device, Threshold, Weights
from fasa_cli.text import counted, printable

if TYPE_CHECKING:
    from fasa_cli.calibration import Calibration
    from fasa_cli.data.datasets import FolderDataset

_RATES = (0.01, 0.05, 0.2)


def calibrate(
    authentic: Annotated[
        list[Path],
        typer.Option(
            metavar="DIR", help="Untouched photos in a folder, or in the folders in it; repeat."
        ),
    ],
    manipulated: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATASET",
            help="A data set of forgeries, or a folder of them; repeat. Without: rates, no ratio.",
        ),
    ] = None,
    weights: Weights = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write.",
            show_default="beside the weights",
        ),
    ] = None,
    half: Annotated[
        str, typer.Option(metavar="all|tune|report", help="Half of each, by a hash of the name.")
    ] = "all",
    limit: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images of each kind from each folder or data set."),
    ] = None,
    largest: Annotated[
        float | None, typer.Option(metavar="MP", help="Leave out images of more megapixels.")
    ] = None,
    recompress: Annotated[
        bool,
        typer.Option(
            "--recompress",
            help="Also photos of under half a megapixel in JPEG 50 to 74, as messengers send them.",
        ),
    ] = False,
    threshold: Threshold = 0.5,
    device: Device = "auto",
) -> None:
    """Measure how often untouched photos score how high, and fit a likelihood ratio.

    The photos must be seen neither by training nor by the choice of thresholds. A scan takes the
    calibration that lies beside its weights.
    """
    from fasa_cli.assets import shipped_weights
    from fasa_cli.calibration import calibration_path
    from fasa_cli.data.selection import HALVES, selected
    from fasa_cli.evaluation.calibration import (
        fit_calibration,
        score_photos,
        write_calibration,
    )
    from fasa_cli.predictor import Predictor

    if half not in HALVES:
        raise typer.BadParameter(f"no half {half!r}; there are {', '.join(HALVES)}")
    found = [*map(_untouched, authentic), *map(_forged, manipulated or ())]
    sets = [
        selected(one, half=half, limit=limit, largest=largest)
        for several in found
        for one in several
    ]
    path = weights or shipped_weights()
    predictor = Predictor.from_checkpoint(path, device)
    photos, sources = [], []
    with Progress(sum(map(len, sets)), "images") as progress:
        for one in sets:
            scored, source = score_photos(
                predictor, one, threshold, progress.advance, recompress=recompress
            )
            photos += scored
            sources.append(source)
            if source.left_out:
                progress.note(f"{one.root}: {counted(source.left_out, 'image')} not readable")
    selection = {
        "half": half,
        "limit": limit,
        "largest_megapixels": largest,
        "recompress": recompress,
    }
    calibration = fit_calibration(photos, sources, predictor, threshold, selection)
    _show(calibration)
    target = out or calibration_path(path)
    write_calibration(target, calibration)
    say(f"calibration of weights {predictor.weights.sha256[:12]} in {target}")


def _untouched(folder: Path) -> list[FolderDataset]:
    """The photos of a folder, or of each folder in it where they lie in folders."""
    from fasa_cli.data.datasets import Entry, FolderDataset
    from fasa_cli.data.photos import PhotoPool

    below = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not below or any(path.is_file() for path in folder.iterdir()):
        below = [folder]
    return [FolderDataset(one, tuple(map(Entry, PhotoPool(one).photos))) for one in below]


def _forged(path: Path) -> list[FolderDataset]:
    """A data set, or those that lie in a folder."""
    from fasa_cli.data.datasets import FolderDataset, read_dataset
    from fasa_cli.errors import DatasetError

    inside = sorted(one.parent for name in ("images", "Tp") for one in path.glob(f"*/{name}"))
    found = []
    for one in inside or [path]:
        dataset = read_dataset(one)
        if not isinstance(dataset, FolderDataset):
            raise DatasetError(f"{one}: a calibration needs images in files; give their folder")
        found.append(dataset)
    return found


def _show(calibration: Calibration) -> None:
    from rich.table import Table
    from rich.text import Text

    from fasa_cli.errors import CalibrationError
    from fasa_cli.evaluation.calibration import quality_of

    table = Table("photos", "untouched", "manipulated", "smallest rate")
    for rate in _RATES:
        table.add_column(f"score at {rate:.0%}", justify="right")
    table.add_column("log10 LR", justify="right")
    table.add_column("Cllr (least)", justify="right")
    for name, reference in calibration.populations.items():
        cells = []
        for rate in _RATES:
            try:
                cells.append(f"{reference.authentic.threshold(rate):+.2f}")
            except CalibrationError:
                cells.append("-")
        ratio, quality = reference.ratio, quality_of(reference)
        table.add_row(
            name,
            str(len(reference.authentic.scores)),
            str(len(reference.manipulated)),
            f"{reference.authentic.smallest_rate:.4f}",
            *cells,
            "-" if ratio is None else f"{ratio.bounds[0]:+.2f} to {ratio.bounds[1]:+.2f}",
            "-" if quality is None else f"{quality.cost:.3f} ({quality.least_cost:.3f})",
        )
    screen = console()
    screen.print(table)
    note = "Scores are logits of the probability that 1 % of a photo reaches; rates are shares of "
    screen.print(
        Text(printable(note + "untouched photos that score as high.")),
        soft_wrap=not is_screen(screen.file),
    )

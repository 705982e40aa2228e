"""fasa overlay: pictures of what was found, from a saved scan or from photos at once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands.display import Progress, say
from fasa_cli.commands.options import Device, EncoderWeights, OriginalsAt, Weights

if TYPE_CHECKING:
    from fasa_cli.report.overlays import Job
    from fasa_cli.results import Failure


# Suffixes with which --out names a picture, not a folder, but none that is written.
_OTHER_FORMATS = frozenset(
    (".gif", ".tif", ".tiff", ".bmp", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".apng")
) | {".svg", ".pdf", ".eps", ".psd"}


class Style(str, Enum):
    """What is drawn."""

    heat = "heat"
    contour = "contour"
    side = "side"
    mask = "mask"


class Colormap(str, Enum):
    """Colours of the heat map; all are even to the eye and safe for the colour-blind."""

    viridis = "viridis"
    cividis = "cividis"
    magma = "magma"
    inferno = "inferno"


class Format(str, Enum):
    """File formats of pictures."""

    png = "png"
    jpg = "jpg"
    webp = "webp"


def overlay(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... | SCAN_RUN", help="Photos, folders, globs; or one folder of a scan."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="PLACE",
            help="A folder; or, for one photo, a .png, .jpg or .webp.",
        ),
    ],
    style: Annotated[
        Style | None,
        typer.Option(
            metavar="heat|contour|side|mask",
            help="Heat map and contour, contour alone, photo and heat map, or the bare mask.",
            show_default="heat, or contour where a scan kept masks only",
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(metavar="OPACITY", min=0, max=1, help="Opacity of the heat map.")
    ] = 0.5,
    colormap: Annotated[
        Colormap, typer.Option(metavar="viridis|cividis|magma|inferno", help="Colours.")
    ] = Colormap.viridis,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="PROBABILITY",
            min=0,
            max=1,
            help="Where the contour runs.",
            show_default="the scan's, else 0.5",
        ),
    ] = None,
    scale_bar: Annotated[
        bool, typer.Option("--scale/--no-scale", help="A scale bar below heat maps.")
    ] = True,
    format: Annotated[
        Format,
        typer.Option("--format", metavar="png|jpg|webp", help="Of the pictures in a folder."),
    ] = Format.png,
    originals_at: OriginalsAt = None,
    weights: Weights = None,
    encoder_weights: EncoderWeights = None,
    device: Device = "auto",
) -> None:
    """Draw heat maps, contours or masks over photos, pixel for pixel at the photos' own size.

    From the folder of a scan, nothing is computed again; from photos, the model runs. Exit codes
    are those of fasa scan.
    """
    from fasa_cli.report.overlays import ENCODERS, OverlayStyle, write_overlay
    from fasa_cli.scanning.saved_run import is_saved_run

    if out.suffix.lower() in _OTHER_FORMATS and not out.is_dir():
        raise typer.BadParameter(
            f"{out}: pictures are .png, .jpg or .webp, not {out.suffix}; or name a folder"
        )
    overlay_style = OverlayStyle(style and style.value, alpha, colormap.value, scale_bar)
    saved = len(inputs) == 1 and is_saved_run(Path(inputs[0]))
    jobs, failures = (
        _saved_jobs(inputs[0], threshold, originals_at)
        if saved
        else _photo_jobs(inputs, out, threshold, weights, encoder_weights, device)
    )
    is_file = out.suffix.lower() in ENCODERS and not out.is_dir()
    if is_file and len(jobs) > 1:
        raise typer.BadParameter(f"{out} is one file for {len(jobs)} photos; name a folder")
    suffix = out.suffix.lower() if is_file else f".{format.value}"
    with Progress(len(jobs), "pictures") as progress:
        for job in jobs:
            made = write_overlay(job, out, suffix, overlay_style)
            progress.advance()
            if not isinstance(made, Path):
                failures.append(made)
    for failure in failures:
        say(f"failed: {failure.path}: {failure.reason}")
    drawn = len(jobs) - sum(failure.stage == "overlay" for failure in failures)
    say(f"pictures drawn: {drawn}, failed: {len(failures)}" + (f"; in {out}" if drawn else ""))
    raise typer.Exit(ExitCode.INCOMPLETE if failures else ExitCode.DONE)


def _saved_jobs(
    folder: str, threshold: float | None, originals_at: Path | None
) -> tuple[list[Job], list[Failure]]:
    from fasa_cli.report.overlays import run_jobs
    from fasa_cli.scanning.saved_run import SavedRun

    jobs = list(run_jobs(SavedRun(Path(folder), originals_at), threshold))
    if not jobs:
        say(f"{folder}: the scan has no result to draw")
        raise typer.Exit(ExitCode.NO_IMAGE)
    return jobs, []


def _photo_jobs(
    inputs: list[str],
    out: Path,
    threshold: float | None,
    weights: Path | None,
    encoder_weights: str | None,
    device: str,
) -> tuple[list[Job], list[Failure]]:
    from fasa_cli.assets import shipped_weights
    from fasa_cli.predictor import Predictor
    from fasa_cli.report.overlays import photo_jobs
    from fasa_cli.scanning.discovery import discover

    found = discover(inputs, out)
    if not found.sources and not found.failures:
        say("no image found; name photos, folders with photos, or the folder of a scan")
        raise typer.Exit(ExitCode.NO_IMAGE)
    if not found.sources:
        return [], list(found.failures)
    predictor = Predictor.from_checkpoint(
        weights or shipped_weights(), device, encoder_weights=encoder_weights
    )
    jobs = list(photo_jobs(predictor, found, 0.5 if threshold is None else threshold))
    return jobs, list(found.failures)

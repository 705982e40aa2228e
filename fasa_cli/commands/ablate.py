"""`fasa ablate`: the five variants of the paper's Table 4."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasa_cli.commands import options, train
from fasa_cli.commands.display import say
from fasa_cli.errors import DatasetError

if TYPE_CHECKING:
    from fasa_cli.config import Variant
    from fasa_cli.training.trainer import Progress

TABLE = "ablation.md"


def ablate(
    photos: train.Photos = None,
    data: train.Data = None,
    masks: train.Masks = None,
    validation: train.Validation = None,
    root: train.Root = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A recipe that comes with fasa: compact, opensdi, catnet-protocol.",
            show_default="opensdi on CUDA, else compact",
        ),
    ] = None,
    config: train.Config = None,
    overrides: train.Overrides = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="A folder per variant is made here; finished ones are kept.",
        ),
    ] = Path("runs/ablation"),
    autoencoder: train.Autoencoder = None,
    encoder_weights: options.EncoderWeights = None,
    side_weights: train.SideWeights = None,
    lenient: train.Lenient = False,
    no_check: train.NoCheck = False,
    device: options.Device = "auto",
) -> None:
    """Train baseline, dct, psa, sfsa and full in turn, and print a table like the paper's Table 4
    on stdout. Scores are those of the last epoch's averaged weights on --val.

    The same command resumes where it stopped.
    """
    from fasa_cli.files import write_atomically
    from fasa_cli.training.ablation import ablate as run
    from fasa_cli.training.ablation import ablation_table
    from fasa_cli.training.folder import locked
    from fasa_cli.training.processes import joined

    if photos is None and not data:
        raise DatasetError("nothing to train on; give PHOTOS, --data DATASET, or both")
    scores: dict[Variant, dict[str, Any]] = {}
    with joined(device) as processes, ExitStack() as stack:
        if recipe is None:
            recipe = "opensdi" if processes.device.type == "cuda" else "compact"
            if config is None and processes.is_first:
                say(f"recipe {recipe}, which trains on {processes.device}; --recipe takes another")
        resolved = train.resolve(recipe, config, overrides or ())
        encoder_weights = encoder_weights or train.shipped_encoder(resolved)
        sources = train.open_data(
            resolved,
            processes,
            out,
            photos=photos,
            masks=masks,
            sets=data or (),
            validation=validation,
            root=root,
            autoencoder=autoencoder,
            lenient=lenient,
            decode=not no_check,
        )
        if processes.is_first:
            stack.enter_context(locked(out))
        show_line = say if processes.is_first else train.silence
        shown: dict[Variant, train.Shown] = {}

        def show(variant: Variant, progress: Progress) -> None:
            shown.setdefault(variant, train.Shown(show_line, f"{variant}: "))(progress)

        for variant, found in run(
            resolved,
            sources,
            out,
            processes,
            encoder_weights=encoder_weights,
            side_weights=side_weights,
            report=show,
            show_line=show_line,
        ):
            if variant in shown:  # else it was finished before
                shown[variant].close()
            scores[variant] = found
            if processes.is_first:
                write_atomically(out / TABLE, ablation_table(scores).encode())
        if processes.is_first:
            sys.stdout.write(ablation_table(scores))
            say("pixel F1 and IoU: protocol native, threshold 0.5, means over manipulated images")

"""`fasa train`: train a localizer on forgeries made from authentic photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands import options
from fasa_cli.commands.display import say

if TYPE_CHECKING:
    from fasa_cli.training import Progress

DEMONSTRATION = ("training.epochs=2", "training.samples_per_epoch=32", "training.batch=4")


def train(
    photos: Annotated[
        Path | None, typer.Argument(help="Folder of authentic photos; default: the examples.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Object masks: PHOTOS/sub/a.jpg has MASKS/sub/a.png.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="A recipe that comes with fasa, such as compact.")
    ] = "compact",
    config: Annotated[
        Path | None, typer.Option(help="Your own configuration (TOML or YAML) instead.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key: training.epochs=5."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run's folder; an unfinished run goes on.")] = Path(
        "runs/train"
    ),
    init: Annotated[
        Path | None, typer.Option(help="Weights to start from, with their architecture.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            "--val", help="Data set, in any layout that is known, scored after every epoch."
        ),
    ] = None,
    autoencoder: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Autoencoder (.safetensors) for rerender, regenerate."),
    ] = None,
    encoder_weights: options.EncoderWeights = None,
    side_weights: Annotated[
        str | None,
        typer.Option(
            metavar="timm|FILE", help="Pretrained side backbone to start from (preset paper)."
        ),
    ] = None,
    device: options.Device = "auto",
) -> None:
    """Train a localizer. Forgeries are made on the fly from authentic photos, with exact masks.

    Without PHOTOS it trains briefly on the example photos, to show the way.
    """
    from fasa_cli import assets
    from fasa_cli.config import load_config
    from fasa_cli.data.datasets import read_dataset
    from fasa_cli.data.photos import PhotoPool
    from fasa_cli.training import Trainer

    changes = list(overrides or ())
    if photos is None:
        photos = assets.shipped_examples() / "authentic"
        changes = [*DEMONSTRATION, *changes]
        say("no photos given: a short demonstration on the example photos, not a useful model")
    resolved = load_config(config or assets.recipe(recipe), changes)
    pool = PhotoPool(photos, masks, cache_bytes=int(resolved.data.cache_gigabytes * 2**30))
    for problem in pool.check():
        say(f"left out: {problem}")
    dataset = read_dataset(validation) if validation else None
    trainer = Trainer(
        resolved, pool, out, device, init, dataset, autoencoder, encoder_weights, side_weights
    )
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    say(
        f"{len(pool)} photos, {len(pool.with_object)} with an object mask; "
        f"{trainer.config.model.preset}, {parameters / 1e6:.1f} million parameters; "
        f"{trainer.steps} steps on {trainer.device}, from step {trainer.step}"
    )
    weights = trainer.fit(_show)
    say(f"weights: {weights}   (fasa scan PHOTOS --weights {weights})")


def _show(progress: Progress) -> None:
    """A plain line every ten steps: it reads as well in a log as on a terminal."""
    if progress.step % 10 and progress.validation is None and progress.step != progress.steps:
        return
    losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    say(
        f"step {progress.step}/{progress.steps}  epoch {progress.epoch}  {losses}  "
        f"{progress.samples_per_second:.1f} samples/s, "
        f"{progress.data_wait_share:.0%} waiting for data"
    )
    if progress.validation is not None:
        numbers = (
            f"{name} {'-' if value is None else format(value, '.3f')}"
            for name, value in progress.validation.items()
        )
        say("validation (native, threshold 0.5): " + "  ".join(numbers))

"""`fasa synth`: a forged data set from authentic photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasa_cli.commands.display import Progress, by_kind, say
from fasa_cli.text import counted


def synth(
    photos: Annotated[Path, typer.Argument(metavar="PHOTOS", help="Folder of authentic photos.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DATASET", help="A new folder for the data set.")
    ],
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Object masks: PHOTOS/sub/a.jpg has MASKS/sub/a.png."),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="How many pictures.")] = 100,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="The same seed gives the same bytes.")
    ] = 0,
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="KIND,...",
            help="Manipulations, drawn equally: splice, copy_move, removal, local, denoise, "
            "superres, rerender, regenerate.",
            show_default="as in training; with --autoencoder rerender",
        ),
    ] = None,
    authentic: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=1, help="Share of photos that stay untouched."),
    ] = 0.25,
    longest: Annotated[
        int,
        typer.Option(
            metavar="PIXELS", min=0, help="Larger photos are scaled down to this side; 0 keeps all."
        ),
    ] = 2048,
    autoencoder: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Autoencoder (.safetensors) for rerender, regenerate."),
    ] = None,
) -> None:
    """Make a forged data set with exact masks from authentic photos, by the code that trains.

    DATASET gets images/, masks/, authentic/ and manifest.csv, and is read by every command that
    takes a data set. Made for research and teaching: say of such pictures that they are forged.
    """
    from fasa_cli.config import DataConfig, config_from_dict
    from fasa_cli.data.forged_set import write_forged_set
    from fasa_cli.data.photos import PhotoPool
    from fasa_cli.data.synthesis import Forger

    weights = dict(DataConfig().kinds)
    if kinds is not None:
        weights = {kind.strip(): 1.0 for kind in kinds.split(",")}
    elif autoencoder:
        weights = {"rerender": 1.0}
    data = {"kinds": weights, "authentic_share": authentic}
    config = config_from_dict({"data": data}, source="--kinds").data
    renderer = None
    if autoencoder:
        from fasa_cli.data.autoencoder import read_autoencoder

        renderer = read_autoencoder(autoencoder)
    pool = PhotoPool(photos, masks)
    forger = Forger(pool, config, renderer)
    for problem in pool.check():
        say(f"left out: {problem}")
    try:
        with Progress(count, "pictures") as progress:
            made = write_forged_set(
                forger, out, count, seed=seed, longest=longest, advance=progress.advance
            )
    except KeyboardInterrupt:
        say(f"{out} is incomplete, without a manifest; delete it first")
        raise
    say(
        f"{counted(count, 'picture')} in {out}{by_kind(made)}; "
        "what each is made of is in manifest.csv"
    )

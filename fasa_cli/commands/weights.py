"""`fasa weights`: what the weights are, and the pretrained backbones of preset `paper`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fasa_cli.commands.display import say
from fasa_cli.errors import CheckpointError, FasaError

_SECONDS = 5.0  # that the host of the weights has to answer

app = typer.Typer(help="Show weights, or fetch pretrained backbones.", no_args_is_help=True)


@app.command("show")
def show(
    weights: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A weights file; default: the one that comes with fasa."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what a weights file is; of the shipped one, also its model card."""
    from fasa_cli.assets import shipped_model_card, shipped_weights
    from fasa_cli.calibration import calibration_for
    from fasa_cli.checkpoint import read_checkpoint
    from fasa_cli.files import json_line

    path = weights or shipped_weights()
    checkpoint = read_checkpoint(path)
    beside, why_none = calibration_for(None, path, checkpoint.sha256, checkpoint.postprocess)
    summary = {**checkpoint.summary(), "calibration": beside and beside.about()}
    if json:
        typer.echo(json_line(summary), nl=False)
        return
    if beside is None:
        summary["calibration"] = f"none: {why_none}"
    for name, value in summary.items():
        typer.echo(f"{name}: {value}")
    if weights is None:
        typer.echo("\n" + shipped_model_card().read_text(encoding="utf-8"), nl=False)


@app.command("pull")
def pull() -> None:
    """Fetch the pretrained CLIP and ConvNeXt of preset `paper` into their libraries' caches.

    The only command that uses the network. Afterwards, offline:
    fasa train PHOTOS --set model.preset=paper --encoder-weights openai --side-weights timm
    """
    _check_connection()
    os.environ["HF_HUB_OFFLINE"] = "0"  # before the libraries are imported: they read it once

    from fasa_cli.config import PAPER
    from fasa_cli.model.presets import build_encoder, build_side

    try:
        say(f"fetching {PAPER.encoder.name} (openai) through open_clip; about 1.7 GB")
        encoder = build_encoder(PAPER.encoder, "openai")
        say(f"sha256 of its weights: {encoder.sha256()}")
        say(f"fetching {PAPER.side.name} through timm; about 350 MB")
        build_side(PAPER.side, 9, "timm")
        say("done; use them with --encoder-weights openai --side-weights timm")
    except FasaError:
        raise
    except Exception as error:  # open_clip, timm and what they use raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"the backbones were not fetched ({reason}); run fasa weights pull again"
        ) from error


def _check_connection() -> None:
    """Ask once, and briefly: the libraries try again and again, and say so each time.

    Raises:
        CheckpointError: the host of the weights cannot be reached.
    """
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        with urlopen(Request(host, method="HEAD"), timeout=_SECONDS):
            return
    except HTTPError:  # it answers, and that is all we ask
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"{host}: cannot be reached ({reason}), so nothing was fetched. Check the network, "
            "HTTPS_PROXY or HF_ENDPOINT; preset compact needs no download"
        ) from error

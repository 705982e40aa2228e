"""The model card that a run writes beside its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fasa_cli import __version__
from fasa_cli.config import FasaConfig
from fasa_cli.training.curves import SCORES
from fasa_cli.training.sources import SourceStats


def model_card(
    config: FasaConfig,
    stats: Sequence[SourceStats],
    steps: tuple[int, int],
    parameters: int,
    start: str,
    scores: Mapping[str, Any] | None,
) -> str:
    """Markdown. `steps` are done and planned; `start` says what training started from."""
    training, data = config.training, config.data
    done, planned = steps
    made = any(fact.role == "photos" for fact in stats)
    lines = [
        f"# Model card: {config.model.preset}, variant {config.model.variant}",
        "",
        f"Written by fasa {__version__} while training; step {done} of {planned}"
        + ("." if done == planned else ", unfinished."),
        "",
        "## What it is",
        "",
        "A localizer of manipulated pixels (FASA, arXiv 2604.12341): an RGB image in, a probability"
        " per pixel out.",
        f"{parameters:,} parameters, "
        + (
            f"input resized to {config.model.input_size} x {config.model.input_size}."
            if config.model.input_size
            else "native resolution."
        ),
        f"Started from {start}.",
        "",
        "## Data",
        "",
        "| Role | Name | Images | Manipulated | SHA-256 over names and pixels |",
        "|---|---|---|---|---|",
    ]
    for fact in stats:
        manipulated = "-" if fact.role == "photos" else _shown(fact.manipulated, "not looked at")
        digest = fact.sha256[:16] + "..." if fact.sha256 else "not looked at"
        lines.append(f"| {fact.role} | {fact.name} | {fact.images} | {manipulated} | {digest} |")
    lines += [""]
    if made:
        kinds = ", ".join(f"{kind} {weight:g}" for kind, weight in data.kinds.items() if weight)
        lines.append(
            f"Forgeries are made from the photos ({kinds}), with exact masks; "
            f"{data.authentic_share:.0%} of the windows stay authentic."
        )
    if data.draws_per_set:
        lines.append(f"{data.draws_per_set} of each set per epoch, drawn with replacement.")
    lines += [
        f"Augmented by blur ({data.blur:g}), JPEG ({data.jpeg:g}), scaling ({data.resize:g}), "
        f"cropping and flips, to {data.crop} x {data.crop} pixels "
        + ("at native resolution." if data.fit == "crop" else "by resizing."),
        "",
        "## Training",
        "",
        f"AdamW, {training.epochs} epochs, batch {training.batch}, learning rate "
        f"{training.learning_rate:g} (cosine, {training.warmup_steps} steps of warm-up), weight "
        f"decay {training.weight_decay:g}, averaged weights (decay {training.ema:g}), "
        f"seed {training.seed}. All settings: `config.yaml`.",
        "",
        "## Scores",
        "",
    ]
    if scores:
        lines += [
            "Averaged weights on the validation set after the last full epoch; protocol `native`, "
            f"threshold 0.5, {scores['images']} images counted, {scores['skipped']} skipped.",
            "",
            "| Measure | Value |",
            "|---|---|",
            *(
                f"| {label} | {_shown(scores[name], 'not defined', '.4f')} |"
                for name, label in SCORES.items()
            ),
        ]
    else:
        lines.append("None: no validation set was given, or no epoch has ended.")
    return "\n".join(
        [
            *lines,
            "",
            "## Limits",
            "",
            "A mask is a lead for a person to follow, not a verdict. Pictures unlike those above "
            "(other cameras, editors, generators, compression) can be marked wrongly or not at "
            "all. Scores on the validation set are those that training was watched by; measure on "
            "data that was not.",
            "",
        ]
    )


def _shown(value: Any, otherwise: str, form: str = "") -> str:
    return otherwise if value is None else format(value, form)

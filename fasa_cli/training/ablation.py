"""The progressive ablation of Table 4 (section 4.4): five variants, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fasa_cli.config import VARIANTS, FasaConfig, Variant
from fasa_cli.errors import DatasetError
from fasa_cli.evaluation.published import published_tables
from fasa_cli.training.processes import Processes
from fasa_cli.training.sources import Sources
from fasa_cli.training.trainer import Progress, Trainer

COLUMNS = {"pixel_f1": "Pixel F1", "pixel_iou": "Pixel IoU"}


def ablate(
    config: FasaConfig,
    sources: Sources,
    out: Path,
    processes: Processes,
    *,
    encoder_weights: str | None = None,
    side_weights: str | None = None,
    report: Callable[[Variant, Progress], None] = lambda variant, progress: None,
    show_line: Callable[[str], None] = lambda note: None,
) -> Iterator[tuple[Variant, dict[str, Any]]]:
    """Train each variant in a folder of its own below `out`, and yield its final scores.

    Only the network is compared, without what follows it (postprocess/). Variants that are finished
    there are not trained again, and one that was cut off resumes. `show_line` is called with what
    the trainer changed, as to memory.

    Raises:
        DatasetError: there is no validation set.
        FasaError: as `Trainer` does.
    """
    if sources.validation is None:
        raise DatasetError("an ablation compares scores: give a validation set with --val")
    for variant in VARIANTS:
        model = config.model.model_copy(update={"variant": variant})
        trainer = Trainer(
            config.model_copy(update={"model": model}),
            sources,
            out / variant,
            processes,
            encoder_weights=encoder_weights,
            side_weights=side_weights,
        )
        for note in trainer.notes:
            show_line(f"{variant}: {note}")
        trainer.fit(lambda progress, variant=variant: report(variant, progress))  # type: ignore[misc]
        yield variant, trainer.folder.last_scores() or {}


def ablation_table(scores: Mapping[Variant, Mapping[str, Any]]) -> str:
    """Markdown in the shape of Table 4; variants without scores yet have none."""
    lines = [
        f"| Model Variation | {' | '.join(COLUMNS.values())} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for variant, name in zip(VARIANTS, published_tables()[4].rows, strict=True):
        values = [scores.get(variant, {}).get(column) for column in COLUMNS]
        shown = ("-" if value is None else f"{value:.4f}" for value in values)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"

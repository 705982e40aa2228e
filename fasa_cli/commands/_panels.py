"""How help looks: options in panels, the same ones in every command, at any width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

# What is in none of them stands under "Options", last.
PANELS = {
    "Inputs": (
        *(
            "--files-from",
            "--null",
            "--pages",
            "--previews",
            "--data",
            "--masks",
            "--val",
            "--root",
            "--layout",
        ),
        *("--lenient", "--no-check", "--predictions", "--originals-at", "--against", "--compare"),
        *("--autoencoder", "--authentic", "--manipulated", "--half", "--limit", "--largest"),
    ),
    "Forgeries": ("--count", "--seed", "--kinds", "--longest"),
    "Degradations": ("--jpeg", "--blur", "--noise", "--resize"),
    "Outputs": (
        *("--out", "--probabilities", "--overlay", "--report", "--network-map"),
        *(
            "--copy-move-map",
            "--masks-apart",
            "--maps",
            "--json",
            "--dry-run",
            "--top",
            "--overwrite",
        ),
        *("--add", "--format", "--name", "--export", "--tensorboard", "--redact"),
        *("--case", "--examiner", "--note"),
    ),
    "Model": (
        *("--weights", "--encoder-weights", "--side-weights", "--init", "--device"),
        *("--precision", "--batch", "--threshold", "--copy-move", "--variant"),
    ),
    "Pictures": ("--style", "--alpha", "--colormap", "--scale"),
    "Scores": (
        *(
            "--calibration",
            "--max-false-alarms",
            "--stability",
            "--protocol",
            "--table",
            "--published",
        ),
        *("--metrics", "--metric", "--intervals"),
    ),
    "Training": ("--recipe", "--config", "--set", "--epochs", "--lr"),
    "Evidence": (
        *("--deterministic", "--sign", "--key", "--rerun", "--tolerance", "--originals"),
        *("--bagit", "--inspect", "--fail-on"),
    ),
}
_PANEL_OF = {option: panel for panel, options in PANELS.items() for option in options}


def panel_of(parameter: Any) -> str:
    """The panel of an option."""
    return next((_PANEL_OF[name] for name in parameter.opts if name in _PANEL_OF), "Options")


def in_panels(parameters: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """(panel, its options) in the order of `PANELS`; those of no panel come last."""
    for panel in (*PANELS, "Options"):
        own = [one for one in parameters if panel_of(one) == panel]
        if own:
            yield panel, own


class Command(TyperCommand):
    """A command whose help is plain text in panels; rich's columns cut words on narrow screens."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.rich_markup_mode = None

    def format_options(self, ctx: Any, formatter: Any) -> None:
        records = [(one, one.get_help_record(ctx)) for one in self.get_params(ctx)]
        shown = {one: record for one, record in records if record is not None}
        arguments = [one for one in shown if one.param_type_name == "argument"]
        options = [one for one in shown if one.param_type_name == "option"]
        if arguments:
            with formatter.section("Arguments"):
                # Without the type: a name in capitals says it, and "<list[str]>" says less.
                formatter.write_dl([(one.metavar, shown[one][1]) for one in arguments])
        for title, members in in_panels(options):
            with formatter.section(title):
                formatter.write_dl([shown[one] for one in members])

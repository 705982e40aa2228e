"""A run's metrics as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

LOSSES = ("total", "mask", "edge", "contrastive", "dice", "image")
SCORES = {
    "pixel_f1": "pixel F1",
    "pixel_iou": "pixel IoU",
    "pixel_auc": "pixel AUC",
    "false_alarm_large_share": "authentic images with > 1 % marked",
}


# Scores may coincide: the wide solid line shows beneath the narrow dashed ones.
_LINES = (("-", 3.0), ("--", 1.5), ("-.", 1.5), (":", 1.5))


def draw_curves(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Losses and scores over steps, as PNG; `lines` are those of metrics.jsonl."""
    # Without pyplot: nothing global is touched and no display is asked for.
    from matplotlib.figure import Figure

    validated = [line for line in lines if line.get("validation")]
    panels = 2 if validated else 1
    figure = Figure(figsize=(9, 4 * panels), dpi=110, layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    steps = [line["step"] for line in lines]
    for name in LOSSES:
        values = [line["losses"][name] for line in lines]
        if any(values):  # one that is 0 has no place on a logarithmic axis
            shown = [value if value > 0 else math.nan for value in values]
            axes[0].plot(steps, shown, label=name, linewidth=2 if name == "total" else 1)
    axes[0].set(ylabel="loss", yscale="log")
    if validated:
        for (name, label), (style, width) in zip(SCORES.items(), _LINES, strict=True):
            points = [
                (line["step"], line["validation"][name])
                for line in validated
                if line["validation"].get(name) is not None
            ]
            if points:
                axes[1].plot(
                    *zip(*points, strict=True),
                    label=label,
                    marker="o",
                    markersize=3,
                    linestyle=style,
                    linewidth=width,
                )
        axes[1].set(ylabel="validation", ylim=(-0.02, 1.02))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(LOSSES), frameon=False)
    axes[-1].set(xlabel="step")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

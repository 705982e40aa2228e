"""Curves of a metric over the severity of a degradation, in the form of the paper's Figure 5."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which differ without red-green vision, from dark to light; line styles
# and markers distinguish lines in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*", "<", ">")
_BANDS = 4  # more lines than that, and their intervals would hide each other
_PANEL = (3.9, 3.1)  # inches


@dataclass(frozen=True)
class Line:
    """One method's values, one per tick of its panel; None leaves a gap."""

    name: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]


@dataclass(frozen=True)
class Panel:
    """One degradation: `ticks` from clean to the most severe, evenly spaced."""

    title: str
    axis: str
    ticks: tuple[str, ...]
    lines: tuple[Line, ...]


def draw_curves(
    panels: Sequence[Panel], title: str, metric: str, *, formats: Sequence[str] = ("png", "svg")
) -> dict[str, bytes]:
    """Two panels a row, one line per method, 95 % intervals shaded for a few; bytes by format.

    The same numbers give the same bytes with the same version of Matplotlib.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows, columns = math.ceil(len(panels) / 2), min(len(panels), 2)
    size = (_PANEL[0] * max(columns, 1.3), _PANEL[1] * rows + 0.9)
    settings: dict[Any, Any] = {"svg.hashsalt": "fasa", "svg.fonttype": "none"}
    settings |= {"font.size": 9, "text.parse_math": False}  # a name may hold a dollar sign
    with matplotlib.rc_context(settings):
        figure = Figure(size, layout="constrained")
        has_bands = len(panels[0].lines) <= _BANDS
        figure.suptitle(title + ("; shaded: 95 % intervals" if has_bands else ""), fontsize=9)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for panel, axis in zip(panels, axes, strict=False):
            _draw(panel, axis)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for axis in axes[::columns]:
            axis.set_ylabel(metric)
        axes[0].set_ylim(0, min(1.02, max(0.1, axes[0].get_ylim()[1])))
        # A label that begins with _ would be left out.
        names = [f" {line.name}" if line.name[:1] == "_" else line.name for line in panels[0].lines]
        figure.legend(
            axes[0].lines,
            names,
            loc="outside lower center",
            ncols=min(len(names), max(3, 2 * columns)),
            frameon=False,
            handlelength=3.5,  # long enough to distinguish line styles
        )
        return {kind: _encoded(figure, kind) for kind in formats}


def _draw(panel: Panel, axis: Axes) -> None:
    places = list(range(len(panel.ticks)))
    for number, line in enumerate(panel.lines):
        colour = _COLOURS[number % len(_COLOURS)]
        values = [float("nan") if value is None else value for value in line.values]
        axis.plot(
            places,
            values,
            color=colour,
            linestyle=_LINES[number % len(_LINES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            linewidth=1.6,
            markeredgecolor="white",
            markeredgewidth=0.6,
        )
        if len(panel.lines) <= _BANDS:
            known = [each or (float("nan"),) * 2 for each in line.intervals]
            low, high = zip(*known, strict=True)
            axis.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set_title(panel.title, fontsize=10)
    axis.set_xlabel(panel.axis)
    axis.set_xticks(places, panel.ticks)
    axis.grid(color="0.88", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _encoded(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()

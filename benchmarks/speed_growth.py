"""How time and peak memory of `fasa scan` grow with a photo's size and with the number of files."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from measuring import Part, Table, exponent
from memory import make_photo, scan_files, scan_photo, weights

from fasa_cli.files import write_atomically


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--sizes", default="0.25,1,4", help="of one photo, in megapixels; empty: none"
    )
    parser.add_argument(
        "--files", default="10,100", help="numbers of files of 16 x 16 pixels; empty: none"
    )
    parser.add_argument("--picture", type=Path, help="PNG to draw both into")


def measure(options: argparse.Namespace) -> Part:
    """One `fasa scan` in a process of its own for every point.

    Time is the CPU's, from the beginning of the scan to its end: start-up and loading do not grow.
    """
    with tempfile.TemporaryDirectory(prefix="fasa-growth-") as text:
        folder = Path(text)
        photo_model = options.weights or weights(folder, "compact")
        sizes = map(float, filter(None, options.sizes.split(",")))
        photos = [scan_photo(make_photo(folder, size), "masks", photo_model) for size in sizes]
        counts = map(int, filter(None, options.files.split(",")))
        files = [scan_files(folder, count) for count in counts]
    before = measured_before(options.out)
    figures: dict[str, Any] = {
        "photos": photos or before.get("photos", []),
        "files": files or before.get("files", []),
    }
    tables = []
    for kind, axis, unit in (("photos", "megapixels", "MP"), ("files", "files", "file")):
        if rows := figures[kind]:
            figures[f"{kind}_exponents"] = exponents(rows, axis)
            tables.append(table_of(rows, axis, unit, figures[f"{kind}_exponents"]))
    if options.picture:
        write_atomically(options.picture, draw(figures))
    return Part(figures, tables)


def measured_before(path: Path | None) -> dict[str, Any]:
    """What --out holds already: photos and files can be measured one after the other."""
    if path is None or not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get("growth", {})


def exponents(rows: list[dict[str, Any]], axis: str) -> dict[str, float | None]:
    """The fitted powers of time and memory; None of fewer than two points.

    Over all, and over the upper half, where what every scan costs once no longer counts.
    """
    return {
        f"{name}{ending}": round(
            exponent([row[axis] for row in part], [row[name] for row in part]), 3
        )
        if len(part) > 1
        else None
        for name in ("scan_cpu_seconds", "peak_mb")
        for ending, part in (("", rows), ("_upper_half", rows[len(rows) // 2 :]))
    }


def table_of(
    rows: list[dict[str, Any]], axis: str, unit: str, powers: dict[str, float | None]
) -> Table:
    fits = {name: "?" if power is None else f"{power:.2f}" for name, power in powers.items()}
    table = Table(
        f"Growth with {axis}",
        (axis, "CPU s, whole command", "CPU s, scan", f"ms / {unit}", "peak MB", "warnings"),
        note=f"Fitted powers of {axis}, over all and over the upper half: time "
        f"{fits['scan_cpu_seconds']} and {fits['scan_cpu_seconds_upper_half']}, peak memory "
        f"{fits['peak_mb']} and {fits['peak_mb_upper_half']}; 1 is linear.",
    )
    for row in rows:
        per = 1000 * row["scan_cpu_seconds"] / row[axis]
        seconds = (row["cpu_seconds"], row["scan_cpu_seconds"], per)
        warnings = "; ".join(row.get("warnings", ()))
        table.rows.append((f"{row[axis]:g}", *seconds, row["peak_mb"], warnings))
    return table


def draw(figures: dict[str, Any]) -> bytes:
    """Time, beside a line that shows linear growth, and memory over size and number."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    kinds = (("photos", "megapixels", "megapixels of one photo"), ("files", "files", "files"))
    for (kind, key, label), (time, memory) in zip(kinds, axes.T, strict=True):
        rows = figures[kind]
        sizes = [row[key] for row in rows]
        seconds = [row["scan_cpu_seconds"] for row in rows]
        for plot in (time, memory):
            plot.set(xlabel=label, xscale="log")
            plot.grid(True, color="0.88")
            plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            plot.xaxis.set_minor_formatter(NullFormatter())
        time.set(yscale="log", ylabel="CPU seconds of the scan")
        time.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        time.yaxis.set_minor_formatter(NullFormatter())
        memory.set(ylabel="peak memory, MB")
        if not rows:
            continue
        linear = [seconds[-1] * size / sizes[-1] for size in sizes]
        time.plot(sizes, seconds, "o-", color="black", label="measured")
        time.plot(sizes, linear, "--", color="0.55", label="linear, through the last")
        time.legend(frameon=False)
        memory.plot(sizes, [row["peak_mb"] for row in rows], "o-", color="black")
        memory.set_ylim(0, 1.15 * max(row["peak_mb"] for row in rows))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()

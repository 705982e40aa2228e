"""How time and peak memory of `fasa scan` grow with a photo's size and with the number of files."""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import Part, Table, exponent
from memory import scan_files, scan_photo, weights

from fasa_cli.images import write_atomically


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
        photos = [scan_photo(folder, size, photo_model) for size in sizes]
        counts = map(int, filter(None, options.files.split(",")))
        files = [scan_files(folder, count) for count in counts]
    before = measured_before(options.out)
    figures: dict[str, Any] = {
        "photos": photos or before.get("photos", []),
        "files": files or before.get("files", []),
    }
    tables = []
    for kind, axis, unit in (("photos", "megapixels", "MP"), ("files", "files", "file")):
        if not (rows := figures[kind]):
            continue
        grown = {
            name: growth([row[axis] for row in rows], [row[name] for row in rows])
            for name in ("scan_cpu_seconds", "peak_mb")
        }
        upper = rows[len(rows) // 2 :]  # where what every scan costs once no longer counts
        grown |= {
            f"{name}_upper_half": growth([row[axis] for row in upper], [row[name] for row in upper])
            for name in ("scan_cpu_seconds", "peak_mb")
        }
        figures[f"{kind}_exponents"] = grown
        table = Table(
            f"Growth with {'the size of one photo' if kind == 'photos' else 'the number of files'}",
            (axis, "CPU s, whole command", "CPU s, scan", f"ms / {unit}", "peak MB", "warnings"),
            note=f"Fitted powers of {axis}, over all and over the upper half: time "
            f"{said(grown['scan_cpu_seconds'])} and {said(grown['scan_cpu_seconds_upper_half'])}, "
            f"peak memory {said(grown['peak_mb'])} and {said(grown['peak_mb_upper_half'])}; "
            "1 is linear.",
        )
        for row in rows:
            per = 1000 * row["scan_cpu_seconds"] / row[axis]
            seconds = (row["cpu_seconds"], row["scan_cpu_seconds"], per)
            warnings = "; ".join(row.get("warnings", ()))
            table.rows.append((f"{row[axis]:g}", *seconds, row["peak_mb"], warnings))
        tables.append(table)
    if options.picture:
        write_atomically(options.picture, draw(figures))
    return Part(figures, tables)


def measured_before(path: Path | None) -> dict[str, Any]:
    """What --out holds already: photos and files can be measured one after the other."""
    if path is None or not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get("growth", {})


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float | None:
    """The fitted exponent; None of fewer than two points."""
    return round(exponent(sizes, costs), 3) if len(sizes) > 1 else None


def said(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def draw(figures: dict[str, Any]) -> bytes:
    """Time and memory over size and number, on log scales, with lines that show linear growth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    kinds = (("photos", "megapixels", "megapixels of one photo"), ("files", "files", "files"))
    costs = (("scan_cpu_seconds", "CPU seconds of the scan"), ("peak_mb", "peak memory, MB"))
    for column, (kind, key, label) in enumerate(kinds):
        if not figures[kind]:
            continue
        sizes = [row[key] for row in figures[kind]]
        for row, (name, title) in enumerate(costs):
            values = [one[name] for one in figures[kind]]
            plot = axes[row][column]
            plot.loglog(sizes, values, "o-", color="black", label="measured")
            linear = [values[-1] * size / sizes[-1] for size in sizes]
            plot.loglog(sizes, linear, "--", color="0.55", label="linear, through the last")
            powers = figures[f"{kind}_exponents"]
            power = f"{said(powers[name])}; upper half {said(powers[f'{name}_upper_half'])}"
            plot.set(xlabel=label, ylabel=title, title=f"power {power}")
            plot.grid(True, which="major", color="0.88")
            plot.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()

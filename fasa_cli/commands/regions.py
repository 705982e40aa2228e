"""fasa regions: the regions of a saved scan, for other tools."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands.display import say

if TYPE_CHECKING:
    from fasa_cli.results import ScanRecord


class Format(str, Enum):
    """File formats of regions."""

    coco = "coco"
    geojson = "geojson"
    csv = "csv"


_BY_SUFFIX = {".json": Format.coco, ".geojson": Format.geojson, ".csv": Format.csv}


def regions(
    run: Annotated[Path, typer.Argument(metavar="SCAN_RUN", help="The folder of a scan.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="A .json, .geojson or .csv file.")
    ],
    format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            metavar="coco|geojson|csv",
            show_default="by the suffix; .json is coco",
            help="Format.",
        ),
    ] = None,
) -> None:
    """Write the regions of a scan as COCO JSON (compressed RLE), GeoJSON-style polygons, or CSV.

    All have each region's area, box, mean and peak score; COCO and GeoJSON its shape, with holes.
    """
    from fasa_cli.files import write_lines
    from fasa_cli.report.region_export import coco_lines, geojson_lines, region_csv_lines
    from fasa_cli.scanning.saved_run import SavedRun

    chosen = format or _BY_SUFFIX.get(out.suffix.lower())
    if chosen is None:
        raise typer.BadParameter(
            f"{out}: ends in none of {', '.join(_BY_SUFFIX)}; rename it, or say the --format"
        )
    saved = SavedRun(run)
    lines = {
        Format.coco: coco_lines,
        Format.geojson: geojson_lines,
        Format.csv: region_csv_lines,
    }[chosen]
    listed = total = 0

    def counted() -> Iterator[ScanRecord]:
        nonlocal listed, total
        for record in saved.records():
            listed += len(record.regions)
            total += record.region_count
            yield record

    write_lines(out, lines(counted(), saved.threshold))
    left_out = f"; {total - listed} small ones, which records only count, left out"
    say(f"{listed} regions in {out}" + (left_out if total > listed else ""))

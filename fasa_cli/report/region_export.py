"""Regions of a saved scan in formats that other tools read: COCO, GeoJSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from fasa_cli import __version__
from fasa_cli.errors import OutputError
from fasa_cli.files import csv_table
from fasa_cli.imaging.regions import decode_rle, polygons
from fasa_cli.results import Region, Rle, ScanRecord

_NOTE = (
    "Marked regions are what the model reacts to, not a verdict on a photo. Coordinates are pixels "
    "of the upright image, from its upper left corner."
)


def coco_lines(records: Iterable[ScanRecord], threshold: float) -> Iterator[str]:
    """A COCO data set as text, piece by piece: an image per record, an annotation per region.

    `segmentation` is compressed RLE, which pycocotools reads; `score` is the peak score.

    Raises:
        OutputError: a region was recorded without its shape.
    """
    info = {"description": _NOTE, "version": __version__, "threshold": threshold}
    categories = [{"id": 1, "name": "marked", "supercategory": "marked"}]
    images: list[dict[str, Any]] = []
    yield f'{{"info": {_json(info)},\n"categories": {_json(categories)},\n"annotations": [\n'
    number = 0
    for image_id, record in enumerate(records, start=1):
        width, height = record.display_size
        images.append(
            {
                "id": image_id,
                "file_name": record.name,
                "width": width,
                "height": height,
                "sha256": record.sha256,
                "score": record.score_max,
                "regions": record.region_count,
            }
        )
        for region in record.regions:
            number += 1
            annotation = {
                "id": number,
                "image_id": image_id,
                "category_id": 1,
                "bbox": region.box,
                "area": region.area,
                "segmentation": asdict(_shape(record, region)),
                "iscrowd": 0,
                "score": region.peak_score,
                "mean_score": region.mean_score,
            }
            yield (",\n" if number > 1 else "") + _json(annotation)
    yield '\n],\n"images": [\n' + ",\n".join(map(_json, images)) + "\n]}\n"


def geojson_lines(records: Iterable[ScanRecord], threshold: float) -> Iterator[str]:
    """A GeoJSON feature collection as text, piece by piece: a feature per region.

    Polygons run along the edges of pixels, holes are kept; a region whose parts touch only at
    corners of pixels is a MultiPolygon. Coordinates are pixels, not degrees; y grows downwards.

    Raises:
        OutputError: a region was recorded without its shape.
    """
    head = {"description": _NOTE, "version": __version__, "threshold": threshold}
    yield f'{{"type": "FeatureCollection",\n"properties": {_json(head)},\n"features": [\n'
    separator = ""
    for record in records:
        for number, region in enumerate(record.regions, start=1):
            feature = {
                "type": "Feature",
                "geometry": _geometry(region_mask(record, region), region.box),
                "properties": {
                    "image": record.name,
                    "sha256": record.sha256,
                    "size": record.display_size,
                    "region": number,
                    "box": region.box,
                    "area": region.area,
                    "mean_score": region.mean_score,
                    "peak_score": region.peak_score,
                },
            }
            yield separator + _json(feature)
            separator = ",\n"
    yield "\n]}\n"


def region_csv_lines(records: Iterable[ScanRecord], threshold: float) -> Iterator[str]:
    """A header and a line per region: its photo, box and area in pixels, and scores; no shape."""
    columns = ("image", "sha256", "region", "x", "y", "width", "height", "area")
    yield ",".join((*columns, "mean_score", "peak_score", "threshold")) + "\n"
    for record in records:
        rows = (
            {
                **dict(
                    zip(columns, (record.name, record.sha256, number, *region.box), strict=False)
                ),
                "area": region.area,
                "mean_score": region.mean_score,
                "peak_score": region.peak_score,
                "threshold": threshold,
            }
            for number, region in enumerate(record.regions, start=1)
        )
        yield from islice(csv_table(rows), 1, None)  # without its header


def region_mask(record: ScanRecord, region: Region) -> np.ndarray:
    """The pixels of a region within its box: h x w bool.

    Raises:
        OutputError: the region was recorded without its shape, or with a damaged one.
    """
    x, y, width, height = region.box
    try:
        return decode_rle(_shape(record, region))[y : y + height, x : x + width]
    except ValueError as error:
        raise OutputError(f"{record.path}: a region's shape is damaged ({error})") from error


def _shape(record: ScanRecord, region: Region) -> Rle:
    if region.rle is None:
        raise OutputError(
            f"{record.path}: was scanned by a fasa that recorded no shapes of regions; "
            "scan again with --overwrite"
        )
    return region.rle


def _geometry(mask: np.ndarray, box: tuple[int, int, int, int]) -> dict[str, Any]:
    x, y = box[:2]
    parts = [
        [[[left + x, top + y] for left, top in ring] for ring in polygon]
        for polygon in polygons(mask)
    ]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)

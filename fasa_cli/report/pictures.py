"""What a report draws: small copies of photos, and the outlines of regions as SVG paths."""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli.imaging.profiles import for_display
from fasa_cli.imaging.rendering import heat_map
from fasa_cli.report.region_export import region_mask
from fasa_cli.results import DecodedImage, ScanRecord

LISTED_REGIONS = 30  # per photo


def shown(photo: DecodedImage, side: int) -> np.ndarray:
    """A photo at `side` pixels at most, with the colours that its profile gives it."""
    return for_display(scaled_down(photo.pixels, side), photo.icc_profile)


def scaled_down(pixels: np.ndarray, side: int) -> np.ndarray:
    """Scale down to `side` pixels at most."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def outlines_of(record: ScanRecord, side: int, most: int) -> list[str]:
    """The listed regions as SVG paths in pixels of the photo, for a view of `side` pixels.

    They get coarser until they have `most` characters at most.
    """
    regions = [region for region in record.regions[:LISTED_REGIONS] if region.rle]
    shapes = [_rings(region_mask(record, region)) for region in regions]
    coarse = max(1.0, max(record.display_size) / side)
    while True:
        paths = [
            _svg_path(rings, region.box, coarse)
            for rings, region in zip(shapes, regions, strict=True)
        ]
        if sum(map(len, paths)) <= most or coarse > max(record.display_size):
            return paths
        coarse *= 2


def _rings(mask: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """(area, points) of the outer and inner contours of a region, largest first."""
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return sorted(((cv2.contourArea(ring), ring) for ring in rings), key=lambda r: -r[0])


def _svg_path(
    rings: list[tuple[float, np.ndarray]], box: tuple[int, int, int, int], coarse: float
) -> str:
    """The outline of a region and of its holes, to within about `coarse` pixels.

    OpenCV's contours run through the centres of pixels, hence the halves.
    """
    pieces = []
    for number, (area, ring) in enumerate(rings):
        if number and area < coarse**2:
            break
        points = cv2.approxPolyDP(ring, 0.5 * coarse, True)[:, 0] + (box[0] + 0.5, box[1] + 0.5)
        places = [f"{x:g} {y:g}" for x, y in points.tolist()]
        pieces.append(f"M{'L'.join(places)}Z")
    return "".join(pieces)


def heat_map_colours() -> list[str]:
    """CSS colours of the heat map, from 0 to 1."""
    colours = heat_map(np.linspace(0, 1, 11, dtype=np.float32)[None])[0]
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours.tolist()]

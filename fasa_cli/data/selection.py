"""A part of a data set: one of its two halves, images up to a size, the first of each kind.

Weights, thresholds and designs are chosen on the half `tune`, and so are calibrations; what is
quoted is measured on `report`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from fasa_cli.data.samples import FolderDataset
from fasa_cli.imaging.decode import declared_pixels

HALVES = ("all", "tune", "report")


def half_of(path: Path) -> str:
    """The half that an image belongs to, by its name alone: "tune" or "report"."""
    return "tune" if hashlib.sha256(path.name.encode()).digest()[0] % 2 == 0 else "report"


def selected(
    dataset: FolderDataset,
    *,
    half: str = "all",
    limit: int | None = None,
    largest: float | None = None,
) -> FolderDataset:
    """The images of one of HALVES that declare at most `largest` megapixels; of these the first
    `limit` manipulated and the first `limit` authentic ones."""
    entries = [
        entry
        for entry in dataset.entries
        if half in ("all", half_of(entry.image))
        and (largest is None or declared_pixels(entry.image.read_bytes()) <= largest * 1e6)
    ]
    manipulated = [entry for entry in entries if entry.mask]
    authentic = [entry for entry in entries if not entry.mask]
    return replace(dataset, entries=(*manipulated[:limit], *authentic[:limit]))

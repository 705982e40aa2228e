"""The outputs and the record of one analysed photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fasa_cli.errors import ImageError
from fasa_cli.imaging.encode import encode_jpeg, encode_mask, encode_probabilities
from fasa_cli.imaging.profiles import for_display
from fasa_cli.imaging.regions import find_regions, with_shapes
from fasa_cli.imaging.rendering import hatched, hatched_cells, overlay
from fasa_cli.postprocess.copy_move import at_full_size
from fasa_cli.results import Region, ScanRecord
from fasa_cli.scanning.assessment import assessed, examine
from fasa_cli.scanning.cautions import cautions
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES
from fasa_cli.scanning.options import ScanOptions
from fasa_cli.scanning.records import SCHEMA_VERSION
from fasa_cli.scanning.run_folder import RunFolder
from fasa_cli.scanning.stages import Analysed
from fasa_cli.text import rounded_score

LISTED_REGIONS = 100  # the largest; noise can make thousands, and a line is for reading


def write_outputs(item: Analysed, options: ScanOptions, run: RunFolder) -> ScanRecord:
    """Encode and write what was asked for of one analysed photo; returns its record.

    Raises:
        OutputError: an output cannot be written.
        ImageError: its mask cannot be encoded.
    """
    threshold = options.threshold
    probabilities = item.prediction.probabilities
    mask = item.prediction.mask(threshold)

    regions = find_regions(probabilities, threshold)
    frame = item.prediction.frame
    shaped = with_shapes(map(_rounded, regions[:LISTED_REGIONS]), mask)
    examined = examine(item, shaped, mask, threshold, options.calibration)

    def copy_move_map() -> np.ndarray:
        return at_full_size(item.prediction.copy_move, probabilities.shape)

    def shown() -> np.ndarray:
        return for_display(item.image.pixels, item.image.icc_profile)

    encoders: dict[str, Callable[[], bytes]] = {
        "mask": lambda: encode_mask(mask),
        "probabilities": lambda: encode_probabilities(probabilities),
        "network": lambda: encode_probabilities(item.prediction.network_map),
        "copy_move": lambda: encode_probabilities(copy_move_map()),
        "network_mask": lambda: encode_mask(item.prediction.network_map > threshold),
        "copy_move_mask": lambda: encode_mask(copy_move_map() > threshold),
        "overlay": lambda: encode_jpeg(
            hatched(
                hatched_cells(overlay(shown(), probabilities, threshold), examined.unjudgeable),
                item.prediction.damaged,
            )
        ),
    }
    kinds = options.outputs
    outputs = {kind: item.source.name + OUTPUT_SUFFIXES[kind] for kind in kinds}
    encoded, not_made = {}, {}
    # All of them before any is written; the overlay, which takes most memory, comes first.
    for kind in reversed(kinds):
        try:
            encoded[kind] = encoders[kind]()
        except ImageError as error:  # an overlay wider than JPEG allows, say
            if kind == "mask":
                raise
            not_made[kind] = str(error)
            del outputs[kind]
    hashes = {kind: run.write_output(outputs[kind], encoded[kind]) for kind in outputs}
    record = ScanRecord(
        schema_version=SCHEMA_VERSION,
        path=item.source.path,
        name=item.source.name,
        sha256=item.image.sha256,
        bytes=item.image.bytes,
        format=item.image.format,
        stored_size=item.image.stored_size,
        display_size=item.image.display_size,
        orientation=item.image.orientation,
        effective_size=item.prediction.effective_size,
        score_max=rounded_score(float(item.prediction.score)),
        area_fraction=round(float(mask.mean()), 6),
        region_count=len(regions),
        regions=examined.regions,
        warnings=cautions(item.image, item.metadata, item.prediction),
        jpeg_quality=item.metadata.jpeg_quality,
        outputs=outputs,
        outputs_sha256=hashes,
        seconds=round(item.seconds, 4),
        score_network=rounded_score(item.prediction.network_score),
        score_copy_move=rounded_score(item.prediction.copy_move_score),
        size_offset=round(item.prediction.size_offset, 4),
        lowered_fraction=round(item.prediction.lowered(threshold), 6),
        damaged=item.prediction.damaged,
        damaged_marked=round(item.prediction.marked_in_damage(threshold), 6),
        frame=None if frame is None else frame.box,
        jpeg_grid=None if frame is None or frame.grid is None else frame.grid[::-1],
        copy_move=item.prediction.pairs,
        not_made=not_made,
        page=None if item.source.page is None else item.source.page + 1,
        inspection=item.inspection,
    )
    return assessed(record, item, examined.unjudgeable, options.calibration)


def _rounded(region: Region) -> Region:
    mean, peak = rounded_score(region.mean_score), rounded_score(region.peak_score)
    return replace(region, mean_score=mean, peak_score=peak)

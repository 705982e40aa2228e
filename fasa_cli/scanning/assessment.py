"""What a scan says beside its marks: what the score means, why regions are marked, and where
nothing can be determined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fasa_cli.calibration import LoadedCalibration, area_score, as_logit
from fasa_cli.imaging.cells import measure_cells, shares_of_reasons, unjudgeable_cells
from fasa_cli.imaging.findings import Place, find_reasons, pathways
from fasa_cli.imaging.regions import own_pixels
from fasa_cli.results import Region, ScanRecord
from fasa_cli.scanning.stability import stability
from fasa_cli.scanning.stages import Analysed
from fasa_cli.text import rounded_score

REGIONS_WITH_FINDINGS = 10  # the largest; more reasons than that nobody reads


@dataclass(frozen=True)
class Examined:
    """A photo's regions with what is found in each, and where nothing can be determined:
    `unjudgeable` numbers the reasons of imaging.cells for each 8 x 8 pixels."""

    regions: tuple[Region, ...]
    unjudgeable: np.ndarray


def examine(
    item: Analysed,
    regions: Iterable[Region],
    mask: np.ndarray,
    threshold: float,
    calibration: LoadedCalibration | None,
) -> Examined:
    """Find reasons for and against the marks of `mask` (H x W bool), in which `regions` lie."""
    listed = list(regions)
    cells = measure_cells(item.image.pixels)
    unjudgeable = unjudgeable_cells(cells, item.prediction.frame)
    explained = listed[:REGIONS_WITH_FINDINGS]
    if explained:
        places = (Place(region.box[:2], own_pixels(region, mask)) for region in explained)
        found = find_reasons(item.image.pixels, places, mask, cells, unjudgeable)
        for number, (measured, region) in enumerate(zip(found, explained, strict=True)):
            ways = pathways(
                Place(region.box[:2], own_pixels(region, mask)),
                item.prediction.network_map,
                item.prediction.copy_move,
                item.prediction.pairs,
                threshold,
            )
            again = stability(region, own_pixels(region, mask), item.redelivered)
            findings = (*measured, *ways, *([again] if again else []))
            listed[number] = replace(region, findings=findings)
    if calibration is not None and calibration.calibration.threshold == threshold:
        listed = list(_with_rates(listed, item, calibration))
    return Examined(tuple(listed), unjudgeable)


def _with_rates(
    regions: Iterable[Region], item: Analysed, calibration: LoadedCalibration
) -> Iterator[Region]:
    ours = calibration.calibration
    size, quality = item.image.display_size, item.metadata.jpeg_quality
    _, reference = ours.reference_for(size, quality)
    for region in regions:
        share = region.area / (size[0] * size[1])
        rate = reference.regions.rate(share, as_logit(region.mean_score))
        yield replace(region, false_alarm_rate=round(rate, 6))


def assessed(
    record: ScanRecord,
    item: Analysed,
    unjudgeable: np.ndarray,
    calibration: LoadedCalibration | None,
) -> ScanRecord:
    """The record with what its score means; without a calibration, with the score alone."""
    score = area_score(item.prediction.probabilities)
    record = replace(
        record, score_area=rounded_score(score), unjudgeable=shares_of_reasons(unjudgeable)
    )
    if calibration is None:
        return record
    meaning = calibration.calibration.assess(
        score, record.display_size, record.jpeg_quality, float((unjudgeable > 0).mean())
    )
    return replace(
        record,
        false_alarm_rate=meaning.false_alarm_rate,
        false_alarm_interval=meaning.false_alarm_interval,
        log10_lr=meaning.log10_lr,
        log10_lr_bounds=meaning.log10_lr_bounds,
        band=meaning.band,
        population=meaning.population,
        log10_lr_population=meaning.log10_lr_population,
        inconclusive=meaning.inconclusive,
    )

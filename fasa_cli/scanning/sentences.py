"""What a record's score means, in plain sentences for the terminal and the report."""

from __future__ import annotations

from collections import Counter

from fasa_cli.calibration import band_of
from fasa_cli.results import Finding, Region, ScanRecord
from fasa_cli.text import BANDS, one_in

_KINDS = {
    "small": "under half a megapixel",
    "large": "of half a megapixel or more",
    "recompressed": "of a JPEG quality below 75",
    "all": "of all kinds",
}
_LITTLE = 0.05  # of log10: a ratio between 0.9 and 1.1 says nothing


def meaning(record: ScanRecord) -> tuple[str, ...]:
    """One to three sentences; without a calibration one that says so."""
    rate, interval = record.false_alarm_rate, record.false_alarm_interval
    if rate is None or interval is None:
        return ("What this score means is not known: the scan had no calibration.",)
    kind = _KINDS.get(record.population or "", record.population or "")
    low, high = interval
    between = f"between {low:.1%} and {high:.1%} with 95 % confidence"
    sentences = [
        f"Of untouched photos {kind}, {one_in(rate)} {'scores' if rate <= 0.5 else 'score'} at "
        f"least as high ({between})."
    ]
    if record.log10_lr is not None:
        sentences.append(_ratio(record.log10_lr, record.log10_lr_bounds))
    if record.inconclusive:
        sentences.insert(0, f"Inconclusive: {'; '.join(record.inconclusive)}.")
    return tuple(sentences)


def _ratio(log10_lr: float, bounds: tuple[float, float] | None) -> str:
    reached = bounds is not None and log10_lr in bounds
    least = "at least " if reached and abs(log10_lr) > _LITTLE else ""
    if abs(log10_lr) <= _LITTLE:
        text = "Manipulated photos of the calibration score so as often as untouched ones"
    elif log10_lr > 0:
        text = (
            f"Manipulated photos of the calibration score so {least}{10**log10_lr:.1f} times as "
            "often as untouched ones"
        )
    else:
        text = (
            f"Untouched photos of the calibration score so {least}{10**-log10_lr:.1f} times as "
            "often as manipulated ones"
        )
    return f"{text} (log10 LR {log10_lr:+.2f})."


def region_meaning(region: Region) -> str:
    """How often untouched photos hold such a region; "" where that is not known."""
    if region.false_alarm_rate is None:
        return ""
    return f"{one_in(region.false_alarm_rate)} untouched photos holds one as large and strong"


def sorted_findings(region: Region) -> tuple[tuple[str, Finding], ...]:
    """("for", "against" or "neither", finding) in that order."""
    order = ("for", "against", "neither")
    kept = [(one.speaks, one) for one in region.findings]
    return tuple(sorted(kept, key=lambda pair: order.index(pair[0])))


def unjudgeable_sentence(record: ScanRecord) -> str:
    """Where nothing can be determined; "" where that is nowhere."""
    if not record.unjudgeable:
        return ""
    total = sum(record.unjudgeable.values())
    parts = sorted(record.unjudgeable.items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{name} {share:.0%}" for name, share in parts if share >= 0.005)
    if not shown:
        return ""
    return f"Noise and sharpness cannot be measured on {total:.0%} of the photo ({shown})."


class BandCounts:
    """How many photos of a scan reach each band, and how many would if none had been changed."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, record: ScanRecord) -> None:
        """Count one more, by its rate: an inconclusive photo has one as well."""
        if record.false_alarm_rate is not None:
            self._counts[band_of(record.false_alarm_rate)] += 1

    def rows(self) -> list[tuple[str, int, str]]:
        """(band, photos that reach it or a stronger one, expected of as many untouched photos);
        none without a calibration."""
        photos, reached = self._counts.total(), 0
        rows = []
        for band, rate in BANDS.items() if photos else ():
            reached += self._counts[band]
            expected = rate * photos
            rows.append((band, reached, f"{expected:.0f}" if expected >= 1 else "fewer than 1"))
        return rows

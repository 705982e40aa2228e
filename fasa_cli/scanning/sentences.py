"""What a record's score means, in plain sentences for the terminal and the report."""

from __future__ import annotations

from fasa_cli.results import Finding, Region, ScanRecord
from fasa_cli.text import counted, one_in

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


def expected_false_alarms(rates: int, band_rate: float) -> str:
    """How many of so many untouched photos reach a false alarm rate."""
    expected = rates * band_rate
    amount = f"about {expected:.0f}" if expected >= 1 else "fewer than 1"
    return f"{amount} of {counted(rates, 'photo')}"

"""What a scan is asked for, and how it ended."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from fasa_cli.calibration import LoadedCalibration
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES


@dataclass(frozen=True)
class ScanOptions:
    """Where to write and what; `threshold` is a probability, `batch` a number of images.

    `network` and `copy_move` are the maps of the network and of copy-move pairs, `masks_apart` the
    masks of both. `add` keeps what the folder holds of other files. `inspect` adds to each record
    what the file says of its own history. `calibration` says what scores mean.
    `stability` looks again after small re-deliveries (stability.py).
    """

    out: Path
    _: KW_ONLY
    threshold: float = 0.5
    probabilities: bool = False
    network: bool = False
    copy_move: bool = False
    masks_apart: bool = False
    overlay: bool = False
    batch: int = 1
    overwrite: bool = False
    deterministic: bool = False
    add: bool = False
    inspect: bool = False
    calibration: LoadedCalibration | None = None
    stability: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The kinds of output that every image gets."""
        wanted = {
            "mask": True,
            "probabilities": self.probabilities,
            "network": self.network,
            "copy_move": self.copy_move,
            "network_mask": self.masks_apart,
            "copy_move_mask": self.masks_apart,
            "overlay": self.overlay,
        }
        return tuple(kind for kind in OUTPUT_SUFFIXES if wanted[kind])


@dataclass(frozen=True)
class ScanSummary:
    """How a scan ended: found = analysed + failed + skipped + remaining.

    `reused` of the analysed had been analysed before; `remaining` is 0 unless interrupted; `kept`
    are records of earlier scans into the folder that this one did not touch. `not_made` outputs
    are missing from records, which say why. `seconds` is wall clock time.
    """

    status: str
    found: int
    analysed: int
    reused: int
    failed: int
    skipped: int
    remaining: int
    kept: int
    failed_by_kind: dict[str, int]
    skipped_by_kind: dict[str, int]
    highest_score: float | None
    not_made: int
    seconds: float

"""Custody of a scan: check integrity, and reproduce results.

Nothing in a scan's folder is taken on trust: every claim is checked against bytes, and what was
not checked is not claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fasa_cli.errors import CheckpointError, ImageError
from fasa_cli.files import sha256_of
from fasa_cli.results import ScanRecord
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.saved_run import SavedRun
from fasa_cli.scanning.signing import SUFFIX, is_signed_by

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from fasa_cli.predictor import Predictor


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was: which, and how (`missing`, `changed`, `unreadable` ...)."""

    check: str
    path: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was checked, how many of each, and what was found wrong."""

    checked: dict[str, int]
    findings: tuple[Finding, ...]

    def bad(self, check: str) -> int:
        """How many findings one check has."""
        return sum(finding.check == check for finding in self.findings)


def verify(
    run: SavedRun,
    *,
    weights: Path | None = None,
    advance: Callable[[], None] = lambda: None,
    key: Ed25519PublicKey | None = None,
) -> Verification:
    """Hash a scan's inputs, outputs and weights again, and its records by the run's digest.

    `weights` is where the weights file lies, by default where the scan found it. `advance` is
    called once per record. With `key` the signature of `run.json` is checked.

    Raises:
        OutputError: the scan's own records are missing or damaged.
    """
    checked = {"inputs": 0, "outputs": 0, "weights": 1, "records": 1}
    findings = [*check_records(run), *_check_weights(run, weights)]
    if key is not None:
        checked["signatures"] = 1
        findings += _check_signature(run, key)
    for record in run.records():
        checked["inputs"] += 1
        findings += compare("inputs", record.path, run.photo_path(record), record.sha256)
        for kind in record.outputs:
            checked["outputs"] += 1
            expected = record.outputs_sha256.get(kind, "")
            try:
                path = run.output_path(record, kind)
            except ImageError as error:
                findings.append(Finding("outputs", record.outputs[kind], "outside", str(error)))
            else:
                findings += compare("outputs", record.outputs[kind], path, expected)
        advance()
    return Verification(checked, tuple(findings))


def check_records(run: SavedRun, folder: str = RUN_FOLDER) -> Iterator[Finding]:
    """What is wrong with a scan's records, which lie in `folder` for whoever reads of it.

    Raises:
        OutputError: they are missing or damaged.
    """
    name = f"{folder}/run.json"
    status = run.description.get("status")
    if status != "complete":
        reason = f"the scan is {status}; run its command again to resume"
        yield Finding("records", name, "unfinished", reason)
    elif problem := run.broken_chain():
        yield Finding("records", f"{folder}/results.jsonl", "changed", problem)
    elif run.digest() != run.description.get("digest"):
        reason = "the records do not give the digest that the scan ended with"
        yield Finding("records", name, "changed", reason)


def _check_signature(run: SavedRun, key: Ed25519PublicKey) -> Iterator[Finding]:
    name, signed = f"{RUN_FOLDER}/run.json", run.signed_description()
    if signed is None:
        yield Finding("signatures", name + SUFFIX, "missing", "the scan is not signed")
    elif not is_signed_by(key, *signed):
        yield Finding("signatures", name + SUFFIX, "foreign", "not a signature with this key")


def _check_weights(run: SavedRun, weights: Path | None) -> Iterator[Finding]:
    path = weights or run.weights_path
    if path is None:
        yield Finding("weights", "", "missing", "the scan does not say where they lay")
    else:
        yield from compare("weights", str(path), path, run.weights_sha256)


def compare(check: str, shown: str, path: Path, expected: str) -> Iterator[Finding]:
    """What is wrong with a file that is to have the sha256 `expected`."""
    try:
        if not path.is_file():  # neither a FIFO nor a device is ever opened
            yield Finding(check, shown, "missing", "no such file")
        elif (found := sha256_of(path)) != expected:
            reason = f"sha256 is {found[:12]}..., was {expected[:12]}..."
            yield Finding(check, shown, "changed", reason)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        yield Finding(check, shown, "unreadable", reason)


# --- Once more ------------------------------------------------------------------------------


def rerun(
    run: SavedRun,
    predictor: Predictor,
    count: int,
    tolerance: float,
    *,
    advance: Callable[[], None] = lambda: None,
) -> Verification:
    """Analyse `count` photos of a scan again, spread evenly over it, and compare.

    Scores, and probabilities where the scan kept them, must agree within `tolerance`. A pixel of
    the mask may differ only where its probability lies within `tolerance` of the threshold.

    Raises:
        CheckpointError: the predictor has other weights than the scan.
        OutputError: the scan's records are damaged.
    """
    if predictor.weights.sha256 != run.weights_sha256:
        raise CheckpointError(
            f"{predictor.weights.path}: other weights than the scan's (sha256 "
            f"{run.weights_sha256[:12]}...); name those with --weights"
        )
    total = run.count_records()
    chosen = {index * total // count for index in range(count)} if count < total else range(total)
    findings = []
    for index, record in enumerate(run.records()):
        if index not in chosen:
            continue
        try:
            reason = _difference(run, predictor, record, tolerance)
        except ImageError as error:
            findings.append(Finding("rerun", record.path, "unreadable", str(error)))
        else:
            if reason:
                findings.append(Finding("rerun", record.path, "different", reason))
        advance()
    return Verification({"rerun": len(chosen)}, tuple(findings))


def _difference(
    run: SavedRun, predictor: Predictor, record: ScanRecord, tolerance: float
) -> str | None:
    photo, _ = run.read_photo(record)
    prediction = predictor.predict(photo)
    if abs(prediction.score - record.score_max) > tolerance:
        return f"score {prediction.score:.6f}, was {record.score_max:.6f}"
    unsure = np.abs(prediction.probabilities - run.threshold) <= tolerance
    moved = int(((prediction.mask(run.threshold) != run.read_mask(record)) & ~unsure).sum())
    if moved:
        return f"{moved} pixels of the mask differ"
    stored = run.read_probabilities(record)
    if stored is not None:
        apart = float(np.abs(prediction.probabilities - stored).max())
        if apart > tolerance + 1 / 65535:  # the file's own rounding
            return f"probabilities differ by up to {apart:.6f}"
    return None

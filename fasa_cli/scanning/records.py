"""Scan results as JSON Lines and CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fasa_cli.errors import OutputError
from fasa_cli.files import canonical_json, csv_line, json_line
from fasa_cli.results import CopyMovePair, Failure, Finding, Region, Rle, ScanRecord, Skipped

# Of results.jsonl and run.json; raised when a field changes its meaning. 2: `copies` is
# `copy_move`, and the scores of the network and of copy-move pairs stand apart.
SCHEMA_VERSION = 2
READABLE_SCHEMAS = (1, SCHEMA_VERSION)

_T = TypeVar("_T")


CHAIN_START = "0" * 64  # what stands in for the line before the first


def chained_line(record: ScanRecord, before: str) -> tuple[str, str]:
    """A record's line for `results.jsonl`, and its `chain`: a sha256 over `chain` of the line
    before it and the record. So no line can be changed, removed or put in unseen."""
    values = asdict(record)
    chain = _chain(values, before)
    return json_line({**values, "chain": chain}), chain


def check_chain(lines: Iterable[bytes], ends: Iterable[str] = ()) -> str | None:
    """What is wrong with the lines of a `results.jsonl`; None: nothing.

    One of `ends`, where there are any, must be the chain of one of the lines, or of none yet.
    """
    before = CHAIN_START
    missing = set(ends)
    wanted = bool(missing)
    met = before in missing
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            chain = values.pop("chain", None)
        except (ValueError, AttributeError):
            return f"line {number} is damaged"
        if chain != _chain(values, before):
            return f"line {number} is not as the scan wrote it, or a line before it is gone"
        before = chain
        met = met or chain in missing
    return "lines at its end are gone, or were written anew" if wanted and not met else None


def _chain(values: Mapping[str, Any], before: str) -> str:
    return hashlib.sha256(before.encode("ascii") + canonical_json(values)).hexdigest()


def parse_record(line: str | bytes) -> ScanRecord:
    """Read one line of `results.jsonl` back.

    Raises:
        ValueError: the line is cut short, or of another schema.
    """
    values = json.loads(line)
    try:
        if values["schema_version"] not in READABLE_SCHEMAS:
            raise ValueError(f"schema {values['schema_version']}, not {SCHEMA_VERSION}")
        values.pop("chain", None)
        if "copies" in values:
            values["copy_move"] = values.pop("copies")
        for key in ("stored_size", "display_size", "effective_size", "warnings"):
            values[key] = tuple(values[key])
        values["regions"] = tuple(map(_parse_region, values["regions"]))
        for key in ("frame", "jpeg_grid"):
            values[key] = tuple(values[key]) if values.get(key) else None
        values["copy_move"] = tuple(map(_parse_pair, values.get("copy_move", ())))
        values["damaged"] = tuple(map(tuple, values.get("damaged", ())))
        for key in ("false_alarm_interval", "log10_lr_bounds"):
            values[key] = tuple(values[key]) if values.get(key) else None
        values["inconclusive"] = tuple(values.get("inconclusive", ()))
        return ScanRecord(**values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a scan record: {error}") from error


def _parse_region(values: dict[str, Any]) -> Region:
    rle = values.get("rle")
    shape = Rle(tuple(rle["size"]), rle["counts"]) if rle else None
    findings = tuple(Finding(**finding) for finding in values.get("findings", ()))
    known = {"box": tuple(values["box"]), "rle": shape, "findings": findings}
    return Region(**{**values, **known})


def _parse_pair(values: dict[str, Any]) -> CopyMovePair:
    first, second = (tuple(box) for box in values["boxes"])
    upper, lower = (tuple(row) for row in values["matrix"])
    marks = values.get("marks") and tuple(values["marks"])
    known = {"boxes": (first, second), "matrix": (upper, lower), "marks": marks}
    return CopyMovePair(**{**values, **known})


def read_results(path: Path) -> Iterator[ScanRecord]:
    """The records of a `results.jsonl`, in its order.

    Raises:
        OutputError: the file cannot be read, or a line is damaged.
    """
    return _read_lines(path, parse_record)


def read_failures(path: Path) -> Iterator[Failure]:
    """The lines of an `errors.jsonl`, in its order.

    Raises:
        OutputError: the file cannot be read, or a line is damaged.
    """
    return _read_lines(path, lambda line: _from_json(Failure, line))


def read_skipped(path: Path) -> Iterator[Skipped]:
    """The lines of a `skipped.jsonl`, in its order.

    Raises:
        OutputError: the file cannot be read, or a line is damaged.
    """
    return _read_lines(path, lambda line: _from_json(Skipped, line))


def _from_json(kind: Callable[..., _T], line: bytes) -> _T:
    try:
        return kind(**json.loads(line))
    except TypeError as error:
        raise ValueError(str(error)) from error


def _read_lines(path: Path, parse: Callable[[bytes], _T]) -> Iterator[_T]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield parse(line)
                except ValueError as error:
                    raise OutputError(f"{path}: line {number} is damaged ({error})") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from error


def _optional(value: float | None) -> float | str:
    return "" if value is None else value


_CSV_COLUMNS: dict[str, Callable[[ScanRecord], str | int | float]] = {
    "path": lambda record: record.path,
    "status": lambda record: record.status,
    "score_max": lambda record: record.score_max,
    "band": lambda record: record.band or "",
    "false_alarm_rate": lambda record: _optional(record.false_alarm_rate),
    "false_alarm_low": lambda record: _optional((record.false_alarm_interval or (None, None))[0]),
    "false_alarm_high": lambda record: _optional((record.false_alarm_interval or (None, None))[1]),
    "log10_lr": lambda record: _optional(record.log10_lr),
    "population": lambda record: record.population or "",
    "inconclusive": lambda record: "; ".join(record.inconclusive),
    "score_area": lambda record: _optional(record.score_area),
    "area_fraction": lambda record: record.area_fraction,
    "regions": lambda record: record.region_count,
    "copy_move_pairs": lambda record: len(record.copy_move),
    "score_network": lambda record: _optional(record.score_network),
    "score_copy_move": lambda record: _optional(record.score_copy_move),
    "size_offset": lambda record: _optional(record.size_offset),
    "lowered_fraction": lambda record: _optional(record.lowered_fraction),
    "damaged_marked": lambda record: record.damaged_marked,
    "format": lambda record: record.format,
    "bytes": lambda record: record.bytes,
    "sha256": lambda record: record.sha256,
    "stored_width": lambda record: record.stored_size[0],
    "stored_height": lambda record: record.stored_size[1],
    "display_width": lambda record: record.display_size[0],
    "display_height": lambda record: record.display_size[1],
    "orientation": lambda record: record.orientation,
    "effective_width": lambda record: record.effective_size[0],
    "effective_height": lambda record: record.effective_size[1],
    "unjudgeable": lambda record: round(sum(record.unjudgeable.values()), 4),
    "warnings": lambda record: "; ".join(record.warnings),
    "mask": lambda record: record.outputs.get("mask", ""),
    "probabilities": lambda record: record.outputs.get("probabilities", ""),
    "overlay": lambda record: record.outputs.get("overlay", ""),
    "network": lambda record: record.outputs.get("network", ""),
    "copy_move": lambda record: record.outputs.get("copy_move", ""),
    "seconds": lambda record: record.seconds,
    "schema_version": lambda record: record.schema_version,
}


def csv_lines(records: Iterable[ScanRecord]) -> Iterator[str]:
    """A header and one line per record, newlines included; regions are counted, not listed."""
    yield csv_line(_CSV_COLUMNS)
    for record in records:
        yield csv_line(read(record) for read in _CSV_COLUMNS.values())


# --- The run's digest -----------------------------------------------------------------------


def run_digest(description: Mapping[str, Any], folder: Path) -> str:
    """sha256 over what a run found and with what, in canonical JSON without clock or paths.

    Of `description` (run.json) the schema, the weights' hash and the configuration count; of a
    record in `folder` all but its path and time; of what failed or was skipped the kind. The order
    does not count: the same photos, weights and settings give the same digest wherever they lie.
    Lines count as they are written, so that another version of fasa has the same digest of them.

    Raises:
        OutputError: a file of records is missing or damaged.
    """
    lines = [
        {"schema_version": description["schema_version"], "config": description["config"]},
        {"weights": description["weights"]["sha256"]},
    ]
    hashes = [hashlib.sha256(canonical_json(line)).hexdigest() for line in lines]
    for name, without in _NOT_IN_DIGEST.items():
        hashes += _read_lines(folder / name, partial(_content_hash, without=without))
    return hashlib.sha256("\n".join(sorted(hashes)).encode("ascii")).hexdigest()


_NOT_IN_DIGEST = {
    "results.jsonl": ("path", "seconds", "chain"),
    "errors.jsonl": ("path", "reason"),
    "skipped.jsonl": ("path", "reason"),
}


def _content_hash(line: bytes, without: Iterable[str]) -> str:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("not a record")
    for key in without:
        values.pop(key, None)
    return hashlib.sha256(canonical_json(values)).hexdigest()

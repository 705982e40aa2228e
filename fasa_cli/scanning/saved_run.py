"""A scan's folder, read again: its records, its maps, and the photos it is about.

Nothing is taken on trust: a photo or map counts only while its bytes have the recorded hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fasa_cli.errors import ImageError, OutputError
from fasa_cli.imaging.decode import declared_size, decode_image
from fasa_cli.results import DecodedImage, Failure, ScanRecord, Skipped
from fasa_cli.scanning.discovery import RUN_FOLDER
from fasa_cli.scanning.records import (
    READABLE_SCHEMAS,
    SCHEMA_VERSION,
    check_chain,
    read_failures,
    read_results,
    read_skipped,
    run_digest,
)
from fasa_cli.scanning.signing import signature_path

REPORT_FILE = "report.json"  # in the run's folder: where its report was written last


def is_saved_run(folder: Path) -> bool:
    """Whether a folder holds the results of a scan."""
    return (folder / RUN_FOLDER / "run.json").is_file()


def folders_of(description: Mapping[str, Any]) -> list[str]:
    """Where the commands that filled a scan's folder were started, the last one first."""
    commands = reversed(description.get("commands") or ())
    folders = [description.get("folder"), *(one.get("folder") for one in commands)]
    return list(dict.fromkeys(str(folder) for folder in folders if folder)) or ["."]


class SavedRun:
    """The results of `fasa scan --out OUT`.

    `description` is `run.json`; `threshold` and `weights_sha256` are the scan's.
    """

    def __init__(self, out: Path, originals_at: Path | None = None) -> None:
        """`originals_at` is a folder below which the photos lie now, as they lay below another.

        Raises:
            OutputError: the folder holds no scan, or one of another version.
        """
        path = out / RUN_FOLDER / "run.json"
        try:
            self.description: dict[str, Any] = json.loads(path.read_bytes())
            self.threshold = float(self.description["config"]["threshold"])
            schema = self.description["schema_version"]
        except FileNotFoundError as error:
            raise OutputError(
                f"{out}: holds no scan; name the folder that fasa scan --out wrote"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); scan again") from error
        if schema not in READABLE_SCHEMAS:
            raise OutputError(
                f"{path}: is of schema {schema}, not {SCHEMA_VERSION}; use the fasa that wrote it"
            )
        self.weights_sha256 = str(self.description.get("weights", {}).get("sha256"))
        self.out = out
        self._originals_at = originals_at
        self._folder = out / RUN_FOLDER

    def count_records(self) -> int:
        """How many photos were analysed.

        Raises:
            OutputError: `results.jsonl` is missing.
        """
        return sum(1 for _ in self.records())

    def records(self) -> Iterator[ScanRecord]:
        """One record per analysed photo, in the scan's order.

        Raises:
            OutputError: `results.jsonl` is missing or damaged.
        """
        return read_results(self._folder / "results.jsonl")

    def failures(self) -> Iterator[Failure]:
        """What could not be analysed.

        Raises:
            OutputError: `errors.jsonl` is missing or damaged.
        """
        return read_failures(self._folder / "errors.jsonl")

    def skipped(self) -> Iterator[Skipped]:
        """What the scan left out.

        Raises:
            OutputError: `skipped.jsonl` is missing or damaged.
        """
        return read_skipped(self._folder / "skipped.jsonl")

    def read_photo(self, record: ScanRecord) -> tuple[DecodedImage, bytes]:
        """The photo of a record, decoded as it was scanned, and its file's bytes.

        Relative paths are looked up from where the scan was started, then from here.

        Raises:
            ImageError: it is gone, has changed, or cannot be read.
        """
        data = self._photo_bytes(record)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise ImageError(f"{record.path}: has changed since the scan; scan it again")
        page = None if record.page is None else record.page - 1
        return decode_image(data, record.path, page=page), data

    def _photo_bytes(self, record: ScanRecord) -> bytes:
        try:
            return self.photo_path(record).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError(
                f"{record.path}: the scanned photo cannot be read ({reason}); put it back where it "
                "was, or name the folder of the photos with --originals-at"
            ) from error

    def digest(self) -> str:
        """The run's digest (see reporting.run_digest), from what its files say now.

        Raises:
            OutputError: one of them is missing or damaged.
        """
        return run_digest(self.description, self._folder)

    def broken_chain(self) -> str | None:
        """Where the records are not as the scan wrote them; None: nowhere, or it kept no chain.

        Raises:
            OutputError: the records cannot be read.
        """
        ends = self.description.get("chain")
        if ends is None:  # written before records were chained
            return None
        path = self._folder / "results.jsonl"
        try:
            with path.open("rb") as lines:
                return check_chain(lines, ends)
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from error

    @property
    def weights_path(self) -> Path | None:
        """Where the weights lay when the scan ran; None where it does not say."""
        path = self.description.get("weights", {}).get("path")
        return Path(str(self.description.get("folder") or "."), path) if path else None

    def photo_path(self, record: ScanRecord) -> Path:
        """Where a record's photo lies: as seen from where the scan was started, else from here.

        Below `originals_at`, if given, under the end of its path that a file of its size has.
        """
        if self._originals_at is not None:
            return self._moved_path(self._originals_at, record)
        for folder in folders_of(self.description):
            if os.path.lexists(there := Path(folder, record.path)):
                return there
        return Path(record.path)

    @staticmethod
    def _moved_path(top: Path, record: ScanRecord) -> Path:
        parts = [part for part in Path(record.path).parts if part != os.pardir]
        tails = [Path(*parts[start:]) for start in range(len(parts))]
        places = [top / tail for tail in (Path(record.name), *tails) if not tail.is_absolute()]
        there = [place for place in places if place.is_file()]
        same = (place for place in there if place.stat().st_size == record.bytes)
        return next(same, there[0] if there else places[0])

    def signed_description(self) -> tuple[bytes, bytes] | None:
        """The bytes of `run.json` and of their signature; None where the scan is not signed.

        Raises:
            OutputError: one of them cannot be read.
        """
        path = self._folder / "run.json"
        try:
            return path.read_bytes(), signature_path(path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise OutputError(f"{path}: cannot be read ({error.strerror})") from error

    def output_path(self, record: ScanRecord, kind: str) -> Path:
        """Where an output lies.

        Raises:
            ImageError: outside of the scan's folder; records are a file that anyone can edit.
        """
        path = Path(record.outputs[kind])
        if path.is_absolute() or ".." in path.parts:
            raise ImageError(f"{self.out / path}: lies outside the scan's folder; scan again")
        return self.out / path

    def read_probabilities(self, record: ScanRecord) -> np.ndarray | None:
        """H x W float32 in [0, 1], as the scan wrote it; None when it wrote masks only.

        Raises:
            ImageError: the map is gone, or is not what the scan wrote.
        """
        if "probabilities" not in record.outputs:
            return None
        probabilities = self._read_output(record, "probabilities").astype(np.float32)
        probabilities /= np.float32(65535)
        return probabilities

    def read_mask(self, record: ScanRecord) -> np.ndarray:
        """H x W bool, as the scan wrote it.

        Raises:
            ImageError: the mask is gone, or is not what the scan wrote.
        """
        return self._read_output(record, "mask") > 127

    def _output_bytes(self, record: ScanRecord, kind: str) -> bytes:
        target = self.output_path(record, kind)
        try:
            return target.read_bytes()
        except OSError as error:
            raise ImageError(f"{target}: cannot be read ({error.strerror}); scan again") from error

    def _read_output(self, record: ScanRecord, kind: str) -> np.ndarray:
        target = self.output_path(record, kind)
        data = self._output_bytes(record, kind)
        if hashlib.sha256(data).hexdigest() != record.outputs_sha256.get(kind):
            raise ImageError(f"{target}: is not what the scan wrote; scan again")
        width, height = record.display_size
        pixels = None
        if declared_size(data) == (width, height):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.shape != (height, width):
            raise ImageError(f"{target}: is no map of {width} x {height} pixels; scan again")
        return pixels

"""A scan: images in, masks and records out; resumable, and complete or says that it is not.

Worker threads read and decode ahead, the main thread runs the model, further threads encode and
write. Results are settled in the order of the inputs. One image's failure is one line in
`errors.jsonl`; only an output folder that cannot be written stops a scan. What is large is not
read ahead but decoded, analysed and written alone, so that memory holds one such photo at a time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fasa_cli import __version__
from fasa_cli.environment import environment
from fasa_cli.errors import FasaError, ImageError, OutputError
from fasa_cli.files import utc_now
from fasa_cli.imaging.decode import declared_pixels, decode_image
from fasa_cli.imaging.metadata import read_metadata
from fasa_cli.inspection.inspecting import inspect_bytes, section
from fasa_cli.postprocess.damage import set_aside
from fasa_cli.results import Failure, Prediction
from fasa_cli.scanning.discovery import Discovery, Source
from fasa_cli.scanning.interruption import Interruption, Stopped
from fasa_cli.scanning.options import ScanOptions, ScanSummary
from fasa_cli.scanning.outputs import write_outputs
from fasa_cli.scanning.records import SCHEMA_VERSION
from fasa_cli.scanning.run_folder import RunFolder, open_run
from fasa_cli.scanning.stability import masks_after
from fasa_cli.scanning.stages import (
    Analysed,
    Large,
    Loaded,
    Outcome,
    ScanPredictor,
    Settled,
    batches,
    failure_of,
    in_order,
    open_regular,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


_LARGEST_FILE = 4 << 30  # bytes; a file is read whole, and one that large is hardly a photo
_LARGE_FILE = 64 << 20  # bytes, and
_LARGE_PIXELS = 12_600_000  # pixels; above these a photo is not read ahead
_THREADS = min(4, os.cpu_count() or 1)  # per stage; the model needs the other cores
# What is wrong with one output's name or place, not with the whole folder.
_NAME_ERRORS = {
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
}


def scan(
    predictor: ScanPredictor,
    discovery: Discovery,
    options: ScanOptions,
    *,
    argv: Sequence[str] = (),
    report: Callable[[Outcome], None] = lambda outcome: None,
    key: Ed25519PrivateKey | None = None,
) -> ScanSummary:
    """Analyse what was discovered, write outputs and records, and resume a scan that stopped.

    `report` is called in the order of the inputs, once for each that was analysed (or had been)
    and each that failed. The first SIGINT or SIGTERM breaks the model off and lets what is analysed
    be written; the summary's status is then "interrupted". `key` signs what is complete.

    Raises:
        OutputError: the output folder cannot be used, or no longer be written.
    """
    identity = {
        "schema_version": SCHEMA_VERSION,
        "weights": {"sha256": predictor.weights.sha256},
        "config": {
            "threshold": options.threshold,
            "deterministic": options.deterministic,
            "precision": predictor.precision,
            "model": predictor.config.model_dump(mode="json"),
            "postprocess": predictor.postprocess.model_dump(mode="json"),
            "calibration": options.calibration and options.calibration.sha256,
            "stability": options.stability or None,
        },
    }
    with (
        open_run(
            options.out,
            identity,
            discovery,
            options.outputs,
            overwrite=options.overwrite,
            add=options.add,
            key=key,
        ) as run,
        Interruption().handling_signals() as interruption,
    ):
        description = _describe(predictor, identity, options, argv)
        return _Scan(predictor, discovery, options, run, description, report, interruption).run()


class _Scan:
    """One scan in progress, and what it has counted so far."""

    def __init__(
        self,
        predictor: ScanPredictor,
        discovery: Discovery,
        options: ScanOptions,
        run: RunFolder,
        description: Mapping[str, Any],
        report: Callable[[Outcome], None],
        interruption: Interruption,
    ) -> None:
        self._predictor = predictor
        self._discovery = discovery
        self._options = options
        self._run = run
        self._description = description
        self._report = report
        self._interruption = interruption
        self._started = time.perf_counter()
        self._analysed = self._reused = 0
        self._failed: Counter[str] = Counter()
        self._not_made = 0
        self._highest: float | None = None
        self._names: dict[str, str] = {}  # of sources that the folder calls something else

    def run(self) -> ScanSummary:
        self._run.write_run({**self._description, "status": "running", "ended": None})
        self._run.write_skipped(self._discovery.skipped)
        try:
            for failure in self._discovery.failures:
                self._fail(failure)
            self._analyse_all()
        except BaseException:
            # Whatever it was, the folder shall say what is in it; when it cannot even be written,
            # the first error is the one to report.
            with suppress(OutputError):
                self._finish("interrupted")
            raise
        return self._finish("interrupted" if self._remaining else "complete")

    def _analyse_all(self) -> None:
        ahead = max(self._options.batch, _THREADS)  # decoded images fill the memory
        with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as writers:
            loaded = in_order(readers, self._load, self._discovery.sources, ahead)
            writing: deque[Future[Settled]] = deque()
            with suppress(Stopped):
                for batch in batches(loaded, self._options.batch):
                    with self._interruption.at_once():
                        predicted = self._predict(batch)
                    writing.extend(writers.submit(self._write, item) for item in predicted)
                    large = isinstance(batch[0], Large)
                    while writing and (large or len(writing) > ahead or writing[0].done()):
                        self._settle(writing.popleft().result())
            for done in writing:
                self._settle(done.result())

    def _load(self, source: Source, ahead: bool = True) -> Loaded | Settled | Large:
        """Read the bytes once, hash them, and decode those bytes unless they are on record."""
        start = time.perf_counter()
        try:
            with open_regular(source.path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > _LARGEST_FILE:
                    return failure_of(
                        source, "too large", "more than 4 GiB; convert it first", "read"
                    )
                if ahead and size > _LARGE_FILE:
                    return Large(source)
                data = file.read(size)  # no more, should it be growing
            sha256 = hashlib.sha256(data).hexdigest()
            source = self._named(source, sha256)
            if settled := self._on_record(source, sha256):
                return settled
            if ahead and declared_pixels(data) > _LARGE_PIXELS:
                return Large(source)
            image = decode_image(data, source.path, sha256=sha256, page=source.page)
            inspection = None
            if self._options.inspect:
                inspection = section(inspect_bytes(data, source.path, sha256=sha256))
        except ImageError as error:
            return failure_of(source, "undecodable", error, "decode")
        except OSError as error:
            return failure_of(source, "unreadable", error.strerror or error, "read")
        except Exception as error:  # a bug met in one image is no reason to lose the others
            return failure_of(source, "internal", error, "decode")
        seconds = time.perf_counter() - start
        return Loaded(source, image, read_metadata(data), inspection, seconds)

    def _named(self, source: Source, sha256: str) -> Source:
        name = self._run.name_of(source, sha256)
        if name == source.name:
            return source
        self._names[source.name] = name
        return replace(source, name=name)

    def _on_record(self, source: Source, sha256: str) -> Settled | None:
        record = self._run.previous(source.name)
        if record is None:
            return None
        if record.sha256 == sha256:
            complete = set(self._options.outputs) <= {*record.outputs, *record.not_made}
            complete &= record.inspection is not None or not self._options.inspect
            complete &= record.page == (None if source.page is None else source.page + 1)
            if complete and self._run.is_intact(record):
                return Settled(source, replace(record, path=source.path), reused=True)
        elif not _is_same_file(record.path, source.path):
            reason = f"{source.name} in the output folder belongs to {record.path}, whose bytes "
            cure = "differ; choose another --out, or --add to keep both"
            return failure_of(source, "collision", reason + cure, "read")
        return None

    def _predict(self, batch: Sequence[Loaded | Settled | Large]) -> list[Analysed | Settled]:
        batch = [
            self._load(item.source, ahead=False) if isinstance(item, Large) else item
            for item in batch
        ]
        loaded = [item for item in batch if isinstance(item, Loaded)]
        analysed = iter(self._predict_loaded(loaded))
        return [item if isinstance(item, Settled) else next(analysed) for item in batch]

    def _predict_loaded(self, batch: list[Loaded]) -> list[Analysed | Settled]:
        if not batch:
            return []
        start = time.perf_counter()
        try:
            predictions = self._predictor.predict_batch([item.image.pixels for item in batch])
        except FasaError:  # the weights or the device, not an image
            raise
        except Exception as error:
            failed = failure_of(batch[0].source, "internal", error, "model")
        else:
            analysed = self._analysed_batch(batch, predictions, time.perf_counter() - start)
            return list(map(self._looked_again, analysed))
        if len(batch) == 1:
            return [failed]
        # One of them, or all of them together, are too much: each gets its own chance. Not within
        # `except`, where the error would keep the tensors of the first attempt alive.
        return [item for one in batch for item in self._predict_loaded([one])]

    def _looked_again(self, item: Analysed | Settled) -> Analysed | Settled:
        """With what is marked after re-deliveries, where that is wanted and anything is marked."""
        if not self._options.stability or isinstance(item, Settled):
            return item
        threshold = self._options.threshold
        if not item.prediction.mask(threshold).any():
            return item
        start = time.perf_counter()

        def predict(photo: np.ndarray) -> np.ndarray:
            return self._predictor.predict_batch([photo])[0].probabilities

        try:
            masks = masks_after(predict, item.image.pixels, threshold)
        except FasaError:
            raise
        except Exception as error:  # as in _predict_loaded
            return failure_of(item.source, "internal", error, "model")
        seconds = item.seconds + time.perf_counter() - start
        return replace(item, redelivered=masks, seconds=seconds)

    def _analysed_batch(
        self, batch: list[Loaded], predictions: list[Prediction], seconds: float
    ) -> list[Analysed | Settled]:
        share = seconds / len(batch)
        return [
            Analysed(
                item.source,
                item.image,
                item.metadata,
                item.inspection,
                set_aside(prediction, item.image.damaged),
                item.seconds + share,
            )
            if np.isfinite(prediction.probabilities).all()
            else failure_of(item.source, "internal", "the answer has undefined values", "model")
            for item, prediction in zip(batch, predictions, strict=True)
        ]

    def _write(self, item: Analysed | Settled) -> Settled:
        if isinstance(item, Settled):
            return item
        try:
            return Settled(item.source, write_outputs(item, self._options, self._run))
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in _NAME_ERRORS:
                raise
            return failure_of(item.source, "unwritable", error, "write")
        except ImageError as error:
            return failure_of(item.source, "unwritable", error, "write")
        except Exception as error:  # as in _load
            return failure_of(item.source, "internal", error, "write")

    # --- Counting ---

    def _settle(self, settled: Settled) -> None:
        if isinstance(settled.outcome, Failure):
            self._forget_stale(settled.source)
            self._fail(settled.outcome)
            return
        record = settled.outcome
        if not settled.reused or record != self._run.previous(record.name):
            self._run.add(record)
        self._analysed += 1
        self._reused += settled.reused
        self._not_made += sum(kind in record.not_made for kind in self._options.outputs)
        self._highest = max(self._highest or 0.0, record.score_max)
        self._report(record)

    def _forget_stale(self, source: Source) -> None:
        """An image that now fails must not be left with the mask of what it used to be."""
        record = self._run.previous(source.name)
        if record and _is_same_file(record.path, source.path):
            self._run.forget(source.name)

    def _fail(self, failure: Failure) -> None:
        self._run.add_failure(failure)
        self._failed[failure.kind] += 1
        self._report(failure)

    @property
    def _remaining(self) -> int:
        done = self._analysed + self._failed.total() + len(self._discovery.skipped)
        return self._discovery.found - done

    def _finish(self, status: str) -> ScanSummary:
        names = (self._names.get(one.name, one.name) for one in self._discovery.sources)
        kept = self._run.put_in_order(names)
        summary = ScanSummary(
            status=status,
            found=self._discovery.found,
            analysed=self._analysed,
            reused=self._reused,
            failed=self._failed.total(),
            skipped=len(self._discovery.skipped),
            remaining=self._remaining,
            kept=kept,
            failed_by_kind=dict(self._failed),
            skipped_by_kind=dict(Counter(skipped.kind for skipped in self._discovery.skipped)),
            highest_score=self._highest,
            not_made=self._not_made,
            seconds=round(time.perf_counter() - self._started, 3),
        )
        self._run.write_run(
            {
                **self._description,
                "device": str(self._predictor.device),
                "status": status,
                "ended": utc_now(),
                "counts": self._counts(summary),
                "digest": self._run.digest(self._description),
            }
        )
        return summary

    def _counts(self, summary: ScanSummary) -> dict[str, Any]:
        """What `run.json` says of the folder: the summary, and what is kept of earlier scans."""
        counts = {key: value for key, value in asdict(summary).items() if key != "status"}
        failures, skipped = self._run.kept_failures, self._run.kept_skipped
        for kind, kept in (("failed", failures), ("skipped", skipped)):
            counts[kind] += len(kept)
            by_kind = Counter(counts[f"{kind}_by_kind"]) + Counter(each.kind for each in kept)
            counts[f"{kind}_by_kind"] = dict(by_kind)
        counts["analysed"] += summary.kept
        counts["found"] += summary.kept + len(failures) + len(skipped)
        return counts


def _is_same_file(recorded: str, path: str) -> bool:
    return os.path.abspath(recorded) == os.path.abspath(path)


# --- What run.json says ---------------------------------------------------------------------


def _describe(
    predictor: ScanPredictor,
    identity: Mapping[str, Any],
    options: ScanOptions,
    argv: Sequence[str],
) -> dict[str, Any]:
    weights = predictor.weights
    config = json.dumps(identity["config"], sort_keys=True)
    return {
        **identity,
        "tool": "fasa",
        "version": __version__,
        "argv": list(argv),
        "folder": os.getcwd(),
        "started": utc_now(),
        "device": str(predictor.device),
        "weights": {**asdict(weights), "path": weights.path and str(weights.path)},
        "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        "calibration": options.calibration and options.calibration.about(),
        "outputs": list(options.outputs),
        "batch": options.batch,
        **environment(),
    }

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
import signal
import stat
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from fasa_cli import __version__
from fasa_cli.environment import environment
from fasa_cli.errors import FasaError, ImageError, OutputError
from fasa_cli.files import utc_now
from fasa_cli.imaging.decode import declared_pixels, decode_image
from fasa_cli.imaging.encode import encode_jpeg, encode_mask, encode_probabilities
from fasa_cli.imaging.metadata import PhotoMetadata, read_metadata
from fasa_cli.imaging.regions import find_regions, with_shapes
from fasa_cli.imaging.rendering import overlay
from fasa_cli.postprocess.copy_move import at_full_size
from fasa_cli.results import DecodedImage, Failure, Prediction, Region, ScanRecord
from fasa_cli.scanning.cautions import cautions
from fasa_cli.scanning.discovery import OUTPUT_SUFFIXES, Discovery, Source
from fasa_cli.scanning.records import SCHEMA_VERSION
from fasa_cli.scanning.run_folder import RunFolder, open_run
from fasa_cli.text import rounded_score

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fasa_cli.predictor import Predictor
    from fasa_cli.scanning.resuming import DeferredPredictor

Outcome = ScanRecord | Failure

LISTED_REGIONS = 100  # the largest; noise can make thousands, and a line is for reading
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

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class ScanOptions:
    """Where to write and what; `threshold` is a probability, `batch` a number of images.

    `network` and `copy_move` are the maps of the network and of copy-move pairs, `masks_apart` the
    masks of both. `add` keeps what the folder holds of other files.
    """

    out: Path
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


def scan(
    predictor: Predictor | DeferredPredictor,
    discovery: Discovery,
    options: ScanOptions,
    argv: Sequence[str] = (),
    report: Callable[[Outcome], None] = lambda outcome: None,
    key: Ed25519PrivateKey | None = None,
) -> ScanSummary:
    """Analyse what was discovered, write outputs and the run folder, and go on where one stopped.

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
        },
    }
    with (
        open_run(
            options.out, identity, discovery, options.outputs, options.overwrite, options.add, key
        ) as run,
        _Interruption().handling_signals() as interruption,
    ):
        description = _describe(predictor, identity, options, argv)
        return _Scan(predictor, discovery, options, run, description, report, interruption).run()


# --- The pipeline ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Loaded:
    source: Source
    image: DecodedImage
    metadata: PhotoMetadata
    seconds: float


@dataclass(frozen=True)
class _Large:
    """Not read ahead: it waits for its turn."""

    source: Source


@dataclass(frozen=True)
class _Analysed:
    source: Source
    image: DecodedImage
    metadata: PhotoMetadata
    prediction: Prediction
    seconds: float


@dataclass(frozen=True)
class _Settled:
    source: Source
    outcome: Outcome
    reused: bool = False


class _Scan:
    """One scan in progress, and what it has counted so far."""

    def __init__(
        self,
        predictor: Predictor | DeferredPredictor,
        discovery: Discovery,
        options: ScanOptions,
        run: RunFolder,
        description: Mapping[str, Any],
        report: Callable[[Outcome], None],
        interruption: _Interruption,
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
            # the first error is the one to tell.
            with suppress(OutputError):
                self._finish("interrupted")
            raise
        return self._finish("interrupted" if self._remaining else "complete")

    def _analyse_all(self) -> None:
        ahead = max(self._options.batch, _THREADS)  # decoded images fill the memory
        with ThreadPoolExecutor(_THREADS) as readers, ThreadPoolExecutor(_THREADS) as writers:
            loaded = _in_order(readers, self._load, self._discovery.sources, ahead)
            writing: deque[Future[_Settled]] = deque()
            with suppress(_Stopped):
                for batch in _batches(loaded, self._options.batch):
                    with self._interruption.at_once():
                        predicted = self._predict(batch)
                    writing.extend(writers.submit(self._write, item) for item in predicted)
                    large = isinstance(batch[0], _Large)
                    while writing and (large or len(writing) > ahead or writing[0].done()):
                        self._settle(writing.popleft().result())
            for done in writing:
                self._settle(done.result())

    def _load(self, source: Source, ahead: bool = True) -> _Loaded | _Settled | _Large:
        """Read the bytes once, hash them, and decode those bytes unless they are on record."""
        start = time.perf_counter()
        try:
            with _open_regular(source.path) as file:
                size = os.fstat(file.fileno()).st_size
                if size > _LARGEST_FILE:
                    return _failed(source, "too large", "more than 4 GiB; convert it first", "read")
                if ahead and size > _LARGE_FILE:
                    return _Large(source)
                data = file.read(size)  # no more, should it be growing
            sha256 = hashlib.sha256(data).hexdigest()
            source = self._named(source, sha256)
            if settled := self._on_record(source, sha256):
                return settled
            if ahead and declared_pixels(data) > _LARGE_PIXELS:
                return _Large(source)
            image = decode_image(data, source.path, sha256=sha256)
        except ImageError as error:
            return _failed(source, "undecodable", error, "decode")
        except OSError as error:
            return _failed(source, "unreadable", error.strerror or error, "read")
        except Exception as error:  # a bug met in one image is no reason to lose the others
            return _failed(source, "internal", error, "decode")
        return _Loaded(source, image, read_metadata(data), time.perf_counter() - start)

    def _named(self, source: Source, sha256: str) -> Source:
        name = self._run.name_of(source, sha256)
        if name == source.name:
            return source
        self._names[source.name] = name
        return replace(source, name=name)

    def _on_record(self, source: Source, sha256: str) -> _Settled | None:
        record = self._run.previous(source.name)
        if record is None:
            return None
        if record.sha256 == sha256:
            complete = set(self._options.outputs) <= {*record.outputs, *record.not_made}
            if complete and self._run.is_intact(record):
                return _Settled(source, replace(record, path=source.path), reused=True)
        elif not _is_same_file(record.path, source.path):
            reason = f"{source.name} in the output folder belongs to {record.path}, whose bytes "
            cure = "differ; choose another --out, or --add to keep both"
            return _failed(source, "collision", reason + cure, "read")
        return None

    def _predict(self, batch: Sequence[_Loaded | _Settled | _Large]) -> list[_Analysed | _Settled]:
        batch = [
            self._load(item.source, ahead=False) if isinstance(item, _Large) else item
            for item in batch
        ]
        loaded = [item for item in batch if isinstance(item, _Loaded)]
        analysed = iter(self._predict_loaded(loaded))
        return [item if isinstance(item, _Settled) else next(analysed) for item in batch]

    def _predict_loaded(self, batch: list[_Loaded]) -> list[_Analysed | _Settled]:
        if not batch:
            return []
        start = time.perf_counter()
        try:
            predictions = self._predictor.predict_batch([item.image.pixels for item in batch])
        except FasaError:  # the weights or the device, not an image
            raise
        except Exception as error:
            failed = _failed(batch[0].source, "internal", error, "model")
        else:
            return self._analysed_batch(batch, predictions, time.perf_counter() - start)
        if len(batch) == 1:
            return [failed]
        # One of them, or all of them together, are too much: each gets its own chance. Not within
        # `except`, where the error would keep the tensors of the first attempt alive.
        return [item for one in batch for item in self._predict_loaded([one])]

    def _analysed_batch(
        self, batch: list[_Loaded], predictions: list[Prediction], seconds: float
    ) -> list[_Analysed | _Settled]:
        share = seconds / len(batch)
        return [
            _Analysed(item.source, item.image, item.metadata, prediction, item.seconds + share)
            if np.isfinite(prediction.probabilities).all()
            else _failed(item.source, "internal", "the answer has undefined values", "model")
            for item, prediction in zip(batch, predictions, strict=True)
        ]

    def _write(self, item: _Analysed | _Settled) -> _Settled:
        if isinstance(item, _Settled):
            return item
        try:
            return _Settled(item.source, self._write_outputs(item))
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in _NAME_ERRORS:
                raise
            return _failed(item.source, "unwritable", error, "write")
        except ImageError as error:
            return _failed(item.source, "unwritable", error, "write")
        except Exception as error:  # as in _load
            return _failed(item.source, "internal", error, "write")

    def _write_outputs(self, item: _Analysed) -> ScanRecord:
        threshold = self._options.threshold
        probabilities = item.prediction.probabilities
        mask = item.prediction.mask(threshold)

        def copy_move_map() -> np.ndarray:
            return at_full_size(item.prediction.copy_move, probabilities.shape)

        encoders: dict[str, Callable[[], bytes]] = {
            "mask": lambda: encode_mask(mask),
            "probabilities": lambda: encode_probabilities(probabilities),
            "network": lambda: encode_probabilities(item.prediction.network_map),
            "copy_move": lambda: encode_probabilities(copy_move_map()),
            "network_mask": lambda: encode_mask(item.prediction.network_map > threshold),
            "copy_move_mask": lambda: encode_mask(copy_move_map() > threshold),
            "overlay": lambda: encode_jpeg(overlay(item.image.pixels, probabilities, threshold)),
        }
        regions = find_regions(probabilities, threshold)
        frame = item.prediction.frame
        listed = with_shapes(map(_rounded, regions[:LISTED_REGIONS]), mask)
        kinds = self._options.outputs
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
        hashes = {kind: self._run.write_output(outputs[kind], encoded[kind]) for kind in outputs}
        return ScanRecord(
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
            regions=listed,
            warnings=cautions(item.image, item.metadata, item.prediction),
            jpeg_quality=item.metadata.jpeg_quality,
            outputs=outputs,
            outputs_sha256=hashes,
            seconds=round(item.seconds, 4),
            score_network=rounded_score(item.prediction.network_score),
            score_copy_move=rounded_score(item.prediction.copy_move_score),
            lowered_fraction=round(item.prediction.lowered(threshold), 6),
            frame=None if frame is None else frame.box,
            jpeg_grid=None if frame is None or frame.grid is None else frame.grid[::-1],
            copy_move=item.prediction.pairs,
            not_made=not_made,
        )

    # --- Counting ---

    def _settle(self, settled: _Settled) -> None:
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


def _open_regular(path: str) -> BinaryIO:
    """Open a file, but no FIFO or device, which one may have become since it was found.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    without_waiting = getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda path, flags: os.open(path, flags | without_waiting))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no longer a regular file")
    return file


def _failed(source: Source, kind: str, why: Exception | str, stage: str) -> _Settled:
    reason = str(why).removeprefix(f"{source.path}: ")
    if kind == "internal" and isinstance(why, Exception):
        reason = f"{type(why).__name__}: {reason}"
    return _Settled(source, Failure(source.path, kind, reason, stage))


def _rounded(region: Region) -> Region:
    mean, peak = rounded_score(region.mean_score), rounded_score(region.peak_score)
    return replace(region, mean_score=mean, peak_score=peak)


def _is_same_file(recorded: str, path: str) -> bool:
    return os.path.abspath(recorded) == os.path.abspath(path)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[_T], _R], items: Iterable[_T], ahead: int
) -> Iterator[_R]:
    """Map in threads, in order, at most `ahead` items before the consumer."""
    futures: deque[Future[_R]] = deque()
    for item in items:
        futures.append(pool.submit(function, item))
        if len(futures) > ahead:
            yield futures.popleft().result()
    while futures:
        yield futures.popleft().result()


def _batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    """At most `size` at a time, and each large photo alone."""
    while batch := list(islice(items, size)):
        start = 0
        for index, item in enumerate(batch):
            if isinstance(item, _Large):
                yield from filter(None, (batch[start:index], [item]))
                start = index + 1
        yield from filter(None, (batch[start:],))


class _Stopped(BaseException):
    """Work in hand is given up: nobody who handles errors shall take it for one."""


class _Interruption:
    """The first SIGINT or SIGTERM asks to stop, the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._at_once = False

    @contextmanager
    def handling_signals(self) -> Iterator[_Interruption]:
        if threading.current_thread() is not threading.main_thread():  # only that one gets signals
            yield self
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._handle) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What the main thread does within writes nothing, and may take a minute: break it off.

        Raises:
            _Stopped: a signal came, before or meanwhile.
        """
        self._at_once = True
        try:
            if self._asked.is_set():
                raise _Stopped
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: Any) -> None:
        if self._asked.is_set():
            raise KeyboardInterrupt
        self._asked.set()
        if self._at_once:
            raise _Stopped


# --- What run.json says ---------------------------------------------------------------------


def _describe(
    predictor: Predictor | DeferredPredictor,
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
        "outputs": list(options.outputs),
        "batch": options.batch,
        **environment(),
    }

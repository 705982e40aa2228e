"""What passes through a scan: a photo read, analysed, settled; in order, a few ahead."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np

from fasa_cli.config import ModelConfig, PostprocessConfig
from fasa_cli.imaging.metadata import PhotoMetadata
from fasa_cli.results import DecodedImage, Failure, Prediction, ScanRecord, WeightsInfo
from fasa_cli.scanning.discovery import Source

Outcome = ScanRecord | Failure
_T = TypeVar("_T")
_R = TypeVar("_R")


class ScanPredictor(Protocol):
    """What a scan needs of a predictor: the model, or what stands in for it until it is needed."""

    @property
    def weights(self) -> WeightsInfo: ...

    @property
    def device(self) -> object: ...

    @property
    def precision(self) -> str: ...

    @property
    def config(self) -> ModelConfig: ...

    @property
    def postprocess(self) -> PostprocessConfig: ...

    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]: ...


@dataclass(frozen=True)
class Loaded:
    """Read and decoded, in that many `seconds`."""

    source: Source
    image: DecodedImage
    metadata: PhotoMetadata
    inspection: dict[str, Any] | None
    seconds: float


@dataclass(frozen=True)
class Large:
    """Not read ahead: it waits for its turn."""

    source: Source


@dataclass(frozen=True)
class Analysed:
    """Answered by the model; `seconds` are those of reading and of its share of the batch."""

    source: Source
    image: DecodedImage
    metadata: PhotoMetadata
    inspection: dict[str, Any] | None
    prediction: Prediction
    seconds: float
    redelivered: dict[str, np.ndarray] = field(default_factory=dict)  # stability.masks_after


@dataclass(frozen=True)
class Settled:
    """Recorded, failed, or on record already (`reused`)."""

    source: Source
    outcome: Outcome
    reused: bool = False


def open_regular(path: str) -> BinaryIO:
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


def failure_of(source: Source, kind: str, why: Exception | str, stage: str) -> Settled:
    """A source that failed at a stage; its own path does not lead the reason."""
    reason = str(why).removeprefix(f"{source.path}: ")
    if kind == "internal" and isinstance(why, Exception):
        reason = f"{type(why).__name__}: {reason}"
    return Settled(source, Failure(source.path, kind, reason, stage))


def in_order(
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


def batches(items: Iterator[_T], size: int) -> Iterator[list[_T]]:
    """At most `size` at a time, and each large photo alone."""
    while batch := list(islice(items, size)):
        start = 0
        for index, item in enumerate(batch):
            if isinstance(item, Large):
                yield from filter(None, (batch[start:index], [item]))
                start = index + 1
        yield from filter(None, (batch[start:],))

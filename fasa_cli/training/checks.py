"""Checking the data of a run before it trains: every sample decoded once, what was found kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from fasa_cli.data.checking import fingerprint
from fasa_cli.data.datasets import Dataset
from fasa_cli.data.lists import BalancedDataset
from fasa_cli.data.parquet import ParquetDataset
from fasa_cli.data.samples import FolderDataset, Problem, SampleError, refuse
from fasa_cli.errors import DatasetError, OutputError
from fasa_cli.files import write_atomically
from fasa_cli.training.samples import single_threaded, usable_workers
from fasa_cli.training.sources import Sources, SourceStats


def check_photos(sources: Sources) -> list[str]:
    """Decode the photos once, filling their cache; what cannot be read is dropped and returned."""
    return sources.pool.check() if sources.pool is not None else []


def check_sets(
    sources: Sources,
    cache: Path,
    *,
    workers: int = 0,
    lenient: bool = False,
    decode: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Sources:
    """Decode every sample of the sets and the validation once, and say what they hold.

    What was found is kept in the file `cache`, and files that have not changed since are not
    decoded again; without `decode` only the cache is asked. `advance` is called after each sample.
    `lenient` leaves out what cannot be used instead of stopping.

    Raises:
        DatasetError: files cannot be used, by their names; or nothing is manipulated, or nothing
            is left.
        OutputError: the cache cannot be written.
    """
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)  # known before hours are spent
    except OSError as error:
        raise OutputError(f"{cache.parent}: cannot be made ({error.strerror})") from error
    known = _read_cache(cache)
    found: list[SourceStats] = []
    for number, read in enumerate(sources.read):
        role = "set" if number < len(sources.sets) else "validation"
        key = _listing(read.dataset)
        if key in known:
            stats = replace(known[key], role=role)
        elif decode:
            stats = _inspect(role, read.dataset, workers, advance)
            known[key] = stats
            text = json.dumps({key: asdict(fact) for key, fact in known.items()}, indent=1)
            write_atomically(cache, text.encode())
        else:
            return sources
        if not lenient:
            refuse(Problem(*problem.split(": ", 1)) for problem in stats.problems)
        if not stats.images:
            raise DatasetError(f"{stats.name}: no image in it can be used")
        found.append(stats)
    trained = found[: len(sources.sets)]
    if trained and sources.pool is None and not any(stats.manipulated for stats in trained):
        names = ", ".join(stats.name for stats in trained)
        raise DatasetError(
            f"{names}: nothing is manipulated, so nothing can be learned; give forged pictures "
            "with --data, or these as PHOTOS to make forgeries from"
        )
    return sources.with_checks(tuple(found))


class _Inspection(TorchDataset[tuple[bytes, bool, bool, str]]):
    """Item i: a hash of sample i, whether it is manipulated, whether marked, or what is wrong."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[bytes, bool, bool, str]:
        try:
            sample = self.dataset[index]
        except SampleError as error:
            return b"", False, False, f"{error.kind}: {error}"
        content = sample.name.encode() + fingerprint(sample.image)
        if sample.target_mask is None:
            return content, False, False, ""
        content += fingerprint(sample.target_mask)
        return content, True, bool(sample.target_mask.any()), ""


def _inspect(role: str, dataset: Dataset, workers: int, advance: Callable[[], None]) -> SourceStats:
    digest = hashlib.sha256()
    manipulated = unmarked = seen = 0
    left_out, problems = [], []
    loader = DataLoader(
        _Inspection(dataset),
        batch_size=8,
        num_workers=usable_workers(workers),
        collate_fn=list,
        worker_init_fn=single_threaded,
    )
    for batch in loader:
        for content, has_mask, marks, problem in batch:
            digest.update(content)
            manipulated += has_mask
            unmarked += has_mask and not marks
            if problem:
                left_out.append(seen)
                problems.append(problem)
            seen += 1
            advance()
    return SourceStats(
        role=role,
        name=dataset.name,
        images=seen - len(left_out),
        manipulated=manipulated,
        unmarked=unmarked,
        sha256=digest.hexdigest(),
        left_out=tuple(left_out),
        problems=tuple(problems),
    )


def _listing(dataset: Dataset) -> str:
    """A hash of a data set's file names, sizes and times: equal ones need no second check."""
    digest = hashlib.sha256(f"{len(dataset)}".encode())
    for path in _files(dataset):
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode(errors="replace"))
    return digest.hexdigest()


def _files(dataset: Dataset) -> Iterator[Path]:
    if isinstance(dataset, BalancedDataset):
        for member in dataset.members:
            yield from _files(member)
    elif isinstance(dataset, FolderDataset):
        for entry in dataset.entries:
            yield from (entry.image, entry.mask) if entry.mask else (entry.image,)
    elif isinstance(dataset, ParquetDataset):
        yield from dataset.files


def _read_cache(path: Path) -> dict[str, SourceStats]:
    """What an earlier check found; nothing where the file is missing or of another version."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: SourceStats(
                **{
                    **stats,
                    "left_out": tuple(stats["left_out"]),
                    "problems": tuple(stats["problems"]),
                }
            )
            for key, stats in values.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}

"""Check a whole data set before anything is trained or measured on it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import numpy as np

from fasa_cli.data.lists import BalancedDataset
from fasa_cli.data.samples import Dataset, Problem, Sample, SampleError, readable


@dataclass(frozen=True)
class Report:
    """What a data set holds and what is wrong with it.

    `images` could be read; `shares` are the smallest, median and largest share of a manipulated
    image that its mask marks, None without one; `fully_marked` counts masks that mark everything.
    `notes` say what reading put right.
    """

    name: str
    images: int
    manipulated: int
    authentic: int
    fully_marked: int
    shares: tuple[float, float, float] | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def kinds(self) -> dict[str, int]:
        """How many problems there are of each kind."""
        counts: dict[str, int] = {}
        for problem in self.problems:
            counts[problem.kind] = counts.get(problem.kind, 0) + 1
        return counts


def check(
    dataset: Dataset,
    against: Dataset | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Read every sample once; `advance` is called after each, those of `against` first.

    Pictures are the same when their pixels are, whatever file they are in. A picture that is also
    in `against` (a training set, say, for a test set) is a problem, as is a duplicate.
    """
    problems = list(dataset.problems)
    notes: list[str] = []
    others = _fingerprints(against, advance) if against else {}
    seen: dict[bytes, str] = {}
    shares: list[float] = []
    authentic = 0
    for sample in _samples(dataset, problems, advance):
        notes += sample.notes
        if sample.target_mask is None:
            authentic += 1
        else:
            shares.append(float(sample.target_mask.mean()))
            if not shares[-1]:
                problems.append(Problem("masks that mark nothing", sample.name))
        key = fingerprint(sample.image)
        if key in others:
            where = f"{sample.name} is {others[key]}"
            problems.append(Problem("pictures that the other data set holds too", where))
        if key in seen:
            problems.append(Problem("duplicate pictures", f"{sample.name} is {seen[key]}"))
        seen.setdefault(key, sample.name)
    return Report(
        name=dataset.name,
        images=len(shares) + authentic,
        manipulated=len(shares),
        authentic=authentic,
        fully_marked=shares.count(1.0),
        shares=(min(shares), median(shares), max(shares)) if shares else None,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def count(dataset: Dataset | None) -> int:
    """How many samples `check` will read."""
    return sum(len(member) for member in _members(dataset)) if dataset else 0


def fingerprint(image: np.ndarray) -> bytes:
    """A hash of an image's or mask's pixels and size."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


def _members(dataset: Dataset) -> tuple[Dataset, ...]:
    """What a balanced data set draws from; any other is its own only member."""
    return dataset.members if isinstance(dataset, BalancedDataset) else (dataset,)


def _samples(
    dataset: Dataset, problems: list[Problem], advance: Callable[[], None]
) -> Iterator[Sample]:
    for member in _members(dataset):
        for sample in readable(member):
            if isinstance(sample, SampleError):
                problems.append(Problem(sample.kind, str(sample)))
            else:
                yield sample
            advance()


def _fingerprints(dataset: Dataset, advance: Callable[[], None]) -> dict[bytes, str]:
    """Of every picture that can be read; the other data set's own problems are not ours."""
    samples = _samples(dataset, [], advance)
    return {fingerprint(sample.image): f"{dataset.name}: {sample.name}" for sample in samples}

"""What a run learns from: photos that forgeries are made of, data sets that are read, or both.

`checks.py` decodes all of it once before training starts; `samples.py` says which comes n-th.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fasa_cli.config import FasaConfig
from fasa_cli.data.autoencoder import Autoencoder, read_autoencoder
from fasa_cli.data.datasets import Dataset, read_dataset
from fasa_cli.data.layouts import recognise
from fasa_cli.data.lists import BalancedDataset
from fasa_cli.data.parquet import ParquetDataset
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.samples import Sample
from fasa_cli.errors import DatasetError
from fasa_cli.training.optimisation import resolve_precision


@dataclass(frozen=True)
class ReadSet:
    """A data set without the samples in `left_out`; `draws` of them per epoch, None: each once."""

    dataset: Dataset
    draws: int | None = None
    left_out: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.dataset) - len(self.left_out)

    @property
    def per_epoch(self) -> int:
        """How many of an epoch's samples are from this set."""
        return len(self) if self.draws is None else self.draws

    def epoch(self, rng: np.random.Generator) -> np.ndarray:
        """The indices of an epoch: all in random order, or `draws` of them with replacement."""
        if isinstance(self.dataset, ParquetDataset):
            order = self.dataset.shuffled(rng)
        else:
            order = rng.permutation(len(self.dataset))
        if self.left_out:
            order = order[~np.isin(order, list(self.left_out))]
        if self.draws is None:
            return order
        places = rng.integers(len(order), size=self.draws)
        # Rows of one row group stay near each other; of files, any order is as good.
        return order[np.sort(places) if isinstance(self.dataset, ParquetDataset) else places]

    def share(self, rank: int, count: int) -> Iterator[Sample]:
        """Every `count`-th sample from the `rank`-th on: the shares are disjoint and complete."""
        kept = [index for index in range(len(self.dataset)) if index not in self.left_out]
        return (self.dataset[index] for index in kept[rank::count])


@dataclass(frozen=True)
class SourceStats:
    """What is known of one source. `role` is photos, set or validation; `images` can be used.

    `sha256` is over names and pixels, "" where it was not checked, as then `manipulated` is None;
    `unmarked` of the manipulated have a mask that marks nothing; `left_out` are the indices of
    samples that cannot be used, `problems` say why.
    """

    role: str
    name: str
    images: int
    manipulated: int | None = None
    unmarked: int = 0
    sha256: str = ""
    left_out: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sources:
    """Photos to forge from, sets to read, a set to be scored on, and what is known of them all."""

    pool: PhotoPool | None = None
    sets: tuple[ReadSet, ...] = ()
    validation: ReadSet | None = None
    autoencoder: Autoencoder | None = None
    checked: tuple[SourceStats, ...] = ()  # of the sets and the validation, in this order

    @property
    def stats(self) -> tuple[SourceStats, ...]:
        """What is known of every source, checked or not."""
        found = list(self.checked) or [
            SourceStats(
                "set" if number < len(self.sets) else "validation", read.dataset.name, len(read)
            )
            for number, read in enumerate(self.read)
        ]
        if self.pool is not None:
            name = self.pool.folder.resolve().name
            found.insert(0, SourceStats("photos", name, len(self.pool), sha256=self.pool.sha256))
        return tuple(found)

    def _role(self, number: int) -> str:
        return "set" if number < len(self.sets) else "validation"

    @property
    def read(self) -> tuple[ReadSet, ...]:
        """Everything that is read from data sets, the validation last."""
        return (*self.sets, self.validation) if self.validation else self.sets

    def scored_on_what_is_learned(self) -> list[str]:
        """Names of sets with the very pictures and masks of the validation set."""
        *learned, scored = self.checked or (None,)
        if scored is None or scored.role != "validation":
            return []
        return [stats.name for stats in learned if stats and stats.sha256 == scored.sha256]

    def with_checks(self, checked: tuple[SourceStats, ...]) -> Sources:
        """The same sources, without what was found to be of no use; nothing changes without checks.

        `checked` is as the field of this name.
        """
        if not checked:
            return self
        reads = tuple(
            replace(read, left_out=frozenset(stats.left_out))
            for read, stats in zip(self.read, checked, strict=True)
        )
        count = len(self.sets)
        validation = reads[count] if self.validation else None
        return replace(self, sets=reads[:count], validation=validation, checked=checked)


def open_sources(
    config: FasaConfig,
    *,
    photos: Path | None = None,
    masks: Path | None = None,
    sets: Sequence[Path] = (),
    validation: Path | None = None,
    root: Path | None = None,
    autoencoder: Path | None = None,
    lenient: bool = False,
) -> Sources:
    """List everything, without decoding an image yet.

    `masks` are the photos' object masks; `root` is what the paths of lists are relative to;
    `autoencoder` is the file that the kinds `rerender` and `regenerate` need. Members of a balanced
    list become sets of their own, each with the list's number of draws. `lenient` leaves out what
    has no partner.

    Raises:
        DatasetError: something is missing, empty, of no known layout, or cannot be paired; or
            `photos` is a data set, whose forged pictures would be taken for authentic ones.
        CheckpointError: the autoencoder cannot be read.
    """
    pool = None
    if photos is not None:
        layout = recognise(photos) if photos.is_dir() else None
        if layout is not None:
            raise DatasetError(
                f"{photos}: a data set (layout {layout}), not a folder of authentic photos; read "
                f"it with --data {photos}, or name the folder in it that holds authentic photos"
            )
        pool = PhotoPool(photos, masks, cache_bytes=int(config.data.cache_gigabytes * 2**30))
    drawn: list[ReadSet] = []
    for path in sets:
        dataset = read_dataset(path, root=root, lenient=lenient)
        if isinstance(dataset, BalancedDataset):
            draws = config.data.draws_per_set or dataset.draws
            drawn += [ReadSet(member, draws) for member in dataset.members]
        else:
            drawn.append(ReadSet(dataset, config.data.draws_per_set))
    scored = ReadSet(read_dataset(validation, root=root, lenient=lenient)) if validation else None
    renderer = None
    if autoencoder is not None:
        precision = resolve_precision(config.training.precision, torch.device("cpu"))
        renderer = read_autoencoder(autoencoder, precision)
    return Sources(pool, tuple(drawn), scored, renderer)

"""The samples of a run: which one comes n-th, read or forged, augmented, stacked into batches."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from fasa_cli.config import FasaConfig
from fasa_cli.data.augmentation import augment
from fasa_cli.data.samples import Sample
from fasa_cli.data.synthesis import Forger, Forgery
from fasa_cli.errors import DatasetError, FasaError
from fasa_cli.training.sources import ReadSet, Sources

READ = "read"  # the kind of a sample that was not forged here


class SampleSchedule:
    """Which sample comes n-th in a run: an epoch mixes all sets and `made` forgeries.

    What does not fill an epoch's last batch is left out of that epoch; it is drawn anew in each.
    """

    def __init__(self, sets: Sequence[ReadSet], made: int, batch: int, seed: int) -> None:
        self._sets = sets
        self._counts = [*(read.per_epoch for read in sets), made]
        self._seed = seed
        self.per_epoch = sum(self._counts)
        self.steps_per_epoch = max(1, self.per_epoch // batch)
        self._length = self.steps_per_epoch * batch
        self._epoch: tuple[int, np.ndarray, np.ndarray] | None = None

    def place(self, number: int) -> tuple[int | None, int]:
        """The set that sample `number` is read from and its index there; None: it is forged."""
        epoch, position = divmod(number, self._length)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, *self._drawn(epoch))
        _, parts, indices = self._epoch
        position %= self.per_epoch  # a batch that is larger than an epoch goes round
        part = int(parts[position])
        return (None if part == len(self._sets) else part), int(indices[position])

    def _drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self._seed, epoch, 1])  # samples have (seed, n)
        parts = np.repeat(np.arange(len(self._counts)), self._counts)
        parts = rng.permutation(parts)
        indices = np.zeros(len(parts), np.int64)
        for part, read in enumerate(self._sets):
            indices[parts == part] = read.epoch(rng)
        return parts, indices


class TrainingSamples(TorchDataset["tuple[Tensor, Tensor] | DatasetError"]):
    """Sample n of a run: H x W x 3 uint8 image, H x W uint8 mask; or why it cannot be had.

    An error is an item of its own, since one that is raised in a worker process loses its message.
    """

    def __init__(self, sources: Sources, config: FasaConfig) -> None:
        """
        Raises:
            ConfigError: a kind of forgery is not known, or needs an autoencoder.
        """
        training = config.training
        self.sources = sources
        self.config = config
        self.forger = (
            Forger(sources.pool, config.data, sources.autoencoder) if sources.pool else None
        )
        made = training.samples_per_epoch if self.forger else 0
        self.order = SampleSchedule(sources.sets, made, training.batch, training.seed)

    def __len__(self) -> int:
        training = self.config.training
        return training.epochs * self.order.steps_per_epoch * training.batch

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | DatasetError:
        try:
            sample = self.make(number)
        except FasaError as error:
            return DatasetError(str(error))  # one that can be pickled
        assert sample.target_mask is not None
        mask = torch.from_numpy(sample.target_mask.astype(np.uint8))
        return torch.from_numpy(sample.image), mask

    def make(self, number: int) -> Sample:
        """Read or forge sample `number` and augment it; an authentic one's mask is all False.

        Raises:
            ImageError, DatasetError: a file cannot be used any more.
        """
        rng = np.random.default_rng([self.config.training.seed, number])
        part, index = self.order.place(number)
        if part is None:
            assert self.forger is not None
            forgery = self.forger.forge(rng)
            source, name = self.forger.pool.folder.name, forgery.kind
        else:
            sample = self.sources.sets[part].dataset[index]
            mask = sample.target_mask
            mask = np.zeros(sample.image.shape[:2], bool) if mask is None else mask
            forgery = Forgery(sample.image, mask, READ)
            source, name = sample.source, sample.name
        augmented = augment(forgery, self.config.data, rng)
        return Sample(augmented.image, augmented.target_mask, source, name)


def stack(
    items: Sequence[tuple[Tensor, Tensor] | DatasetError],
) -> tuple[Tensor, Tensor] | DatasetError:
    """A batch of samples, B x H x W x 3 and B x H x W; or the first error among them."""
    for item in items:
        if isinstance(item, DatasetError):
            return item
    images, masks = zip(*items, strict=True)
    return torch.stack(images), torch.stack(masks)


def usable_workers(wanted: int) -> int:
    """As many worker processes as this process has cores; more only take each other's time."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(wanted, cores)


def single_threaded(_: int) -> None:
    """For worker processes: there is one per CPU core to be used."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

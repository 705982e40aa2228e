"""What a run learns from: photos that forgeries are made of, data sets that are read, or both.

Everything is looked through before training starts, and `Order` says which sample comes n-th.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from fasa_cli.config import FasaConfig
from fasa_cli.data.augmentation import augment
from fasa_cli.data.autoencoder import Autoencoder, read_autoencoder
from fasa_cli.data.checking import fingerprint
from fasa_cli.data.datasets import Dataset, read_dataset
from fasa_cli.data.layouts import recognise
from fasa_cli.data.lists import BalancedDataset
from fasa_cli.data.parquet import ParquetDataset
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.samples import FolderDataset, Problem, Sample, SampleError, refuse
from fasa_cli.data.synthesis import Forger, Forgery
from fasa_cli.errors import DatasetError, FasaError, OutputError
from fasa_cli.files import write_atomically
from fasa_cli.training.optimisation import resolve_precision

READ = "read"  # the kind of a sample that was not forged here


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
class Facts:
    """What is known of one source. `role` is photos, set or validation; `images` can be used.

    `sha256` is over names and pixels, "" where nobody looked, as then `manipulated` is None;
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
    checked: tuple[Facts, ...] = ()  # of the sets and the validation, in this order

    @property
    def facts(self) -> tuple[Facts, ...]:
        """What is known of every source, looked through or not."""
        found = list(self.checked) or [
            Facts("set" if number < len(self.sets) else "validation", read.dataset.name, len(read))
            for number, read in enumerate(self.read)
        ]
        if self.pool is not None:
            name = self.pool.folder.resolve().name
            found.insert(0, Facts("photos", name, len(self.pool), sha256=self.pool.sha256))
        return tuple(found)

    @property
    def read(self) -> tuple[ReadSet, ...]:
        """Everything that is read from data sets, the validation last."""
        return (*self.sets, self.validation) if self.validation else self.sets

    def scored_on_what_is_learned(self) -> list[str]:
        """Names of sets with the very pictures and masks of the validation set."""
        *learned, scored = self.checked or (None,)
        if scored is None or scored.role != "validation":
            return []
        return [facts.name for facts in learned if facts and facts.sha256 == scored.sha256]

    def with_checks(self, checked: tuple[Facts, ...]) -> Sources:
        """The same sources, without what was found to be of no use; nothing changes without facts.

        `checked` is as the field of this name.
        """
        if not checked:
            return self
        reads = tuple(
            replace(read, left_out=frozenset(facts.left_out))
            for read, facts in zip(self.read, checked, strict=True)
        )
        count = len(self.sets)
        validation = reads[count] if self.validation else None
        return replace(self, sets=reads[:count], validation=validation, checked=checked)


# --- Opening and looking through -----------------------------------------------------------------


def open_sources(
    config: FasaConfig,
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


def check_photos(sources: Sources) -> list[str]:
    """Decode the photos once, filling their cache; what cannot be read is dropped and returned."""
    return sources.pool.check() if sources.pool is not None else []


def check_sets(
    sources: Sources,
    cache: Path,
    workers: int = 0,
    lenient: bool = False,
    look: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Sources:
    """Decode every sample of the sets and the validation once, and say what they hold.

    What was found is kept in the file `cache`, and files that have not changed since are not looked
    through again; without `look` only the cache is asked. `advance` is called after each sample.
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
    found: list[Facts] = []
    for number, read in enumerate(sources.read):
        role = "set" if number < len(sources.sets) else "validation"
        key = _listing(read.dataset)
        if key in known:
            facts = replace(known[key], role=role)
        elif look:
            facts = _look_through(role, read.dataset, workers, advance)
            known[key] = facts
            text = json.dumps({key: asdict(fact) for key, fact in known.items()}, indent=1)
            write_atomically(cache, text.encode())
        else:
            return sources
        if not lenient:
            refuse(Problem(*problem.split(": ", 1)) for problem in facts.problems)
        if not facts.images:
            raise DatasetError(f"{facts.name}: no image in it can be used")
        found.append(facts)
    trained = found[: len(sources.sets)]
    if trained and sources.pool is None and not any(facts.manipulated for facts in trained):
        names = ", ".join(facts.name for facts in trained)
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


def _look_through(role: str, dataset: Dataset, workers: int, advance: Callable[[], None]) -> Facts:
    digest = hashlib.sha256()
    manipulated = unmarked = seen = 0
    left_out, problems = [], []
    loader = DataLoader(
        _Inspection(dataset),
        batch_size=8,
        num_workers=workers,
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
    return Facts(
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
    """A hash of a data set's file names, sizes and times: equal ones need no second look."""
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


def _read_cache(path: Path) -> dict[str, Facts]:
    """What an earlier look found; nothing where the file is missing or of another version."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: Facts(
                **{
                    **facts,
                    "left_out": tuple(facts["left_out"]),
                    "problems": tuple(facts["problems"]),
                }
            )
            for key, facts in values.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


# --- The samples of a run ------------------------------------------------------------------------


class Order:
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
        self.order = Order(sources.sets, made, training.batch, training.seed)

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


def single_threaded(_: int) -> None:
    """For worker processes: there are as many of them as cores are to be used."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

"""OpenSDI's parquet files: rows of key, image, mask and label, read one row group at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fasa_cli.data.masks import mark
from fasa_cli.data.samples import Problem, Sample, SampleError
from fasa_cli.errors import DatasetError, ImageError
from fasa_cli.imaging.decode import decode_image

if TYPE_CHECKING:
    import pyarrow.parquet

COLUMNS = ("key", "image", "mask", "label")
HELD_BYTES = 256 << 20  # of row groups at hand: enough to mix the rows of several


class ParquetDataset:
    """Samples in parquet files, in the files' order.

    Row groups are read whole; the latest are at hand while they have `HELD_BYTES` together.

    `label` 1 (or "fake") is manipulated, 0 (or "real") authentic; without a label a row with a
    mask is manipulated. A fake without a mask was made up as a whole: all of it is manipulated.
    """

    problems: tuple[Problem, ...] = ()

    def __init__(self, root: Path, files: list[Path]) -> None:
        """
        Raises:
            DatasetError: pyarrow is missing, a file is damaged, or it has no column `image`.
        """
        self.root = root
        self._groups: list[tuple[Path, int, int]] = []  # file, row group, rows
        self._sizes: list[int] = []  # of the groups, in bytes
        for path in files:
            metadata = _open(path).metadata
            names = metadata.schema.to_arrow_schema().names
            if "image" not in names:
                raise DatasetError(f"{path}: no column `image`; it has {', '.join(names)}")
            self._groups += [
                (path, group, metadata.row_group(group).num_rows)
                for group in range(metadata.num_row_groups)
            ]
            self._sizes += [
                metadata.row_group(group).total_byte_size
                for group in range(metadata.num_row_groups)
            ]
        self.files = tuple(files)
        self._ends = list(accumulate(rows for _, _, rows in self._groups))
        self._held: dict[int, Any] = {}  # the latest last

    @property
    def name(self) -> str:
        """The name of the folder or file."""
        return self.root.resolve().stem

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": {}}  # a spawned worker reads its own

    def __getitem__(self, index: int) -> Sample:
        """Read one row, and keep its row group at hand: neighbours come soon.

        Raises:
            SampleError: the image or mask cannot be decoded, or they differ in size.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self._ends, index)
        if group not in self._held:
            self._let_go(HELD_BYTES - self._sizes[group])  # before more is read
            self._held[group] = self._read(group)
        path, _, rows = self._groups[group]
        row = index - (self._ends[group] - rows)
        values = self._held[group].slice(row, 1).to_pylist()[0]
        return _sample(values, self.name, f"{path.name}:{index}")

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """All indices in a random order that mixes the rows of as many groups as are held."""
        pools: list[list[int]] = [[]]
        size = 0
        for group in rng.permutation(len(self._groups)):
            if size and size + self._sizes[group] > HELD_BYTES:
                pools.append([])
                size = 0
            size += self._sizes[group]
            end, rows = self._ends[group], self._groups[group][2]
            pools[-1] += range(end - rows, end)
        return np.concatenate([rng.permutation(np.array(pool, np.int64)) for pool in pools])

    def _let_go(self, most: int) -> None:
        """Drop the groups that were read first until `most` bytes are held at most."""
        while self._held and sum(self._sizes[group] for group in self._held) > most:
            del self._held[next(iter(self._held))]

    def _read(self, group: int) -> Any:
        path, number, _ = self._groups[group]
        file = _open(path)
        wanted = [name for name in file.schema_arrow.names if name in COLUMNS]
        try:
            return file.read_row_group(number, columns=wanted, use_threads=False)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path}: row group {number} is damaged ({error})") from error


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{path}: parquet files need pyarrow; install fasa-cli[parquet]"
        ) from error
    try:
        return ParquetFile(path)
    except (OSError, ArrowInvalid) as error:
        raise DatasetError(f"{path}: not a parquet file, or a damaged one ({error})") from error


def _sample(row: dict[str, Any], source: str, place: str) -> Sample:
    name = str(row.get("key") or place)
    where = f"{place} ({name})"
    image = _decode(row["image"], where)
    if image is None:
        raise SampleError("unreadable", f"{where}: the row has no image")
    if not _is_manipulated(row, where):
        return Sample(image, None, source, name)
    pixels = _decode(row.get("mask"), where)
    if pixels is None:
        return Sample(image, np.ones(image.shape[:2], bool), source, name)
    if pixels.shape != image.shape:
        sizes = [f"{array.shape[1]} x {array.shape[0]}" for array in (image, pixels)]
        raise SampleError("size mismatch", f"{where} is {sizes[0]} pixels but its mask {sizes[1]}")
    try:
        return Sample(image, mark(pixels, "bright", where), source, name)
    except DatasetError as error:
        raise SampleError("mask values", str(error)) from error


def _is_manipulated(row: dict[str, Any], where: str) -> bool:
    label = row.get("label")
    if label is None:
        return row.get("mask") is not None
    known = {0: False, 1: True, "real": False, "fake": True}
    if label not in known:
        raise SampleError("label", f"{where}: label {label!r}; expected 0 or 1, real or fake")
    return known[label]


def _decode(cell: Any, where: str) -> np.ndarray | None:
    """A cell is an image file's bytes, or a mapping with them under `bytes`; None holds nothing."""
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not data:
        return None
    try:
        return decode_image(data, where).pixels
    except ImageError as error:
        raise SampleError("unreadable", str(error)) from error

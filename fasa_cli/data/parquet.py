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
from fasa_cli.images import decode_image

if TYPE_CHECKING:
    import pyarrow.parquet

COLUMNS = ("key", "image", "mask", "label")


class ParquetDataset:
    """Samples in parquet files, in the files' order; at most one row group is in memory.

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
        for path in files:
            metadata = _open(path).metadata
            names = metadata.schema.to_arrow_schema().names
            if "image" not in names:
                raise DatasetError(f"{path}: no column `image`; it has {', '.join(names)}")
            self._groups += [
                (path, group, metadata.row_group(group).num_rows)
                for group in range(metadata.num_row_groups)
            ]
        self.files = tuple(files)
        self._ends = list(accumulate(rows for _, _, rows in self._groups))
        self._held: tuple[int, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the folder or file."""
        return self.root.resolve().stem

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": None}  # a spawned worker reads its own

    def __getitem__(self, index: int) -> Sample:
        """Read one row, and keep its row group at hand: neighbours come next.

        Raises:
            SampleError: the image or mask cannot be decoded, or they differ in size.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self._ends, index)
        if self._held is None or self._held[0] != group:
            self._held = None  # let go of one group before the next is read
            self._held = (group, self._read(group))
        path, _, rows = self._groups[group]
        row = index - (self._ends[group] - rows)
        values = self._held[1].slice(row, 1).to_pylist()[0]
        return _sample(values, self.name, f"{path.name}:{index}")

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def _read(self, group: int) -> Any:
        path, number, _ = self._groups[group]
        file = _open(path)
        wanted = [name for name in file.schema_arrow.names if name in COLUMNS]
        try:
            return file.read_row_group(number, columns=wanted)
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

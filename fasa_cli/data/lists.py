"""Data sets that are lists of files: IMDL-BenCo's JSON, and the text lists of CAT-Net and MVSS.

Paths are relative to a root, which is the list's folder unless another is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fasa_cli.data.masks import Convention
from fasa_cli.data.samples import Dataset, Entry, Listing, Problem, Sample
from fasa_cli.errors import DatasetError
from fasa_cli.text import without_byte_order_mark

NO_MASK = frozenset({"none", "negative", ""})  # how lists write that a photo is authentic
DRAWS = 1840  # CAT-Net's protocol: as many from each data set per epoch


@dataclass(frozen=True)
class BalancedDataset:
    """As many samples from each member, drawn with replacement, the same ones every time.

    Sample i comes from member i // draws, so that each member's samples lie together.
    """

    name: str
    members: tuple[Dataset, ...]
    draws: int = DRAWS
    seed: int = 0
    problems: tuple[Problem, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of all members."""
        return tuple(path for member in self.members for path in member.files)

    def __len__(self) -> int:
        return self.draws * len(self.members)

    def __getitem__(self, index: int) -> Sample:
        """Read the sample that is drawn for `index`; it is named after the member it is from."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        member = self.members[index // self.draws]
        return member[int(np.random.default_rng([self.seed, index]).integers(len(member)))]

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))


def read_json(path: Path) -> list[list[str]]:
    """The pairs of a JSON list, whatever they mean.

    Raises:
        DatasetError: the file cannot be read, or is no list of pairs of texts.
    """
    try:
        rows: Any = json.loads(without_byte_order_mark(path.read_bytes()).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f'{path}: expected [["image", "mask" or "Negative"], ...]')
    for number, row in enumerate(rows, start=1):
        texts = isinstance(row, list) and all(isinstance(part, str) for part in row)
        if not texts or len(row) != 2:
            raise DatasetError(f"{path}: item {number} is no pair of texts")
    return rows


def list_json(path: Path, root: Path) -> Listing:
    """`[[image, mask | "Negative"], ...]` of IMDL-BenCo."""
    return _listing(((row[0], row[1]) for row in read_json(path)), root, "bright")


def list_text(path: Path, root: Path) -> Listing:
    """`image,mask` (CAT-Net) or `image mask ...` (MVSS) per line; `None` instead of a mask.

    Fields end at tabs where a line has some, else at commas, else at blanks; what follows the
    mask is not read. In lists with commas any mask value above 0 counts, as in CAT-Net's code.

    Raises:
        DatasetError: the file cannot be read, or a line has no mask and no `None`.
    """
    try:
        lines = without_byte_order_mark(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as a list ({error})") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        fields = _fields(line)
        if len(fields) == 1 and fields != [""]:
            raise DatasetError(f"{path}: line {number} has no mask; write `image mask` or None")
        if len(fields) > 1:
            rows.append((fields[0], fields[1]))
    convention: Convention = "nonzero" if any("," in line for line in lines) else "bright"
    return _listing(rows, root, convention)


def _fields(line: str) -> list[str]:
    line = line.strip()
    for separator in ("\t", ","):
        if separator in line:
            return [field.strip() for field in line.split(separator)]
    return line.split() or [""]


def _listing(rows: Iterable[tuple[str, str]], root: Path, convention: Convention) -> Listing:
    entries, problems = [], []
    for image, mask in rows:
        has_mask = mask.lower() not in NO_MASK
        entry = Entry(root / image, root / mask if has_mask else None, convention)
        paths = [entry.image, entry.mask] if entry.mask else [entry.image]
        missing = [Problem("listed but missing", str(p)) for p in paths if not p.is_file()]
        problems += missing
        if not missing:
            entries.append(entry)
    return Listing(tuple(entries), tuple(problems))

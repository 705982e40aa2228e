"""Write a forged data set whose every byte follows from the photos, the settings and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fasa_cli.data.augmentation import publish
from fasa_cli.data.synthesis import AUTHENTIC, Forger, Forgery
from fasa_cli.errors import OutputError
from fasa_cli.files import csv_table, write_atomically, write_lines
from fasa_cli.imaging.encode import encode_mask, encode_png

MANIFEST = "manifest.csv"
IMAGES, MASKS, UNTOUCHED = "images", "masks", "authentic"


def write_forged_set(
    forger: Forger,
    out: Path,
    count: int,
    *,
    seed: int = 0,
    longest: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Write `count` pictures; returns how many there are of each kind.

    Forgeries go to images/ with their masks in masks/, untouched photos to authentic/. Picture n is
    made with a generator seeded by (seed, n), as in training: a longer set starts with a shorter
    one's pictures. They are PNG files; the JPEG artefacts of their history are in the pixels.
    `manifest.csv` has file, kind, photo (of a forgery, the host), seed, number and sha256.

    `longest` is as in `Forger.forge_photo`; `advance` is called after each picture.

    Raises:
        OutputError: `out` holds something already, or cannot be written.
        ImageError, DatasetError: a photo or its mask cannot be read.
    """
    _make_folders(out)
    rows: list[dict[str, Any]] = []
    kinds: dict[str, int] = {}
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        forgery, index = forger.forge_photo(rng, longest)
        forgery = publish(forgery, forger.config, rng)
        photo = forger.pool.photos[index].relative_to(forger.pool.folder).as_posix()
        file, sha256 = _write(forgery, out, number)
        kind = forgery.kind
        made = {"file": file, "kind": kind, "photo": photo, "seed": seed, "number": number}
        rows.append(made | {"sha256": sha256})
        kinds[kind] = kinds.get(kind, 0) + 1
        advance()
    write_lines(out / MANIFEST, csv_table(rows))
    return kinds


def _make_folders(out: Path) -> None:
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out}: holds something already; give a new or empty folder")
        for name in (IMAGES, MASKS, UNTOUCHED):
            (out / name).mkdir(parents=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); check the path") from error


def _write(forgery: Forgery, out: Path, number: int) -> tuple[str, str]:
    """Write one picture, and its mask if it has one; returns the picture's name and hash."""
    stem = f"{number:06d}_{forgery.kind}"
    file = f"{UNTOUCHED if forgery.kind == AUTHENTIC else IMAGES}/{stem}.png"
    data = encode_png(forgery.image)
    if forgery.kind != AUTHENTIC:
        write_atomically(out / MASKS / f"{stem}.png", encode_mask(forgery.target_mask))
    write_atomically(out / file, data)
    return file, hashlib.sha256(data).hexdigest()

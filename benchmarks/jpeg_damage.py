"""Flip bits and overwrite sectors in the coded data of JPEG photos: how many are warned of?

    python benchmarks/jpeg_damage.py examples/ PHOTOS --count 40 --out damage.json

Of the damages that change more than 1 % of a photo's pixels visibly: the share with a warning, the
share whose place is known, and the share where that place holds all but 0.1 % of what changed. Of
the whole photos: the share with a warning. Only JPEG files that show none whole are damaged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fasa_cli.errors import ImageError
from fasa_cli.imaging.decode import decode_image
from fasa_cli.results import DecodedImage, within

SECTOR = 512  # bytes
VISIBLE = 8  # levels by which a pixel differs
SHOWN, MISSED = 0.01, 0.001  # shares of the pixels
WAYS = ("bit", "sector")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path, help="folders of JPEG photos")
    parser.add_argument("--count", type=int, default=40, help="damages of each kind per photo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    whole: Counter[str] = Counter()
    damaged = {way: Counter[str]() for way in WAYS}
    for path in sorted(path for folder in options.photos for path in folder.rglob("*.jp*g")):
        data = path.read_bytes()
        try:
            photo = decode_image(data, str(path))
        except ImageError:
            continue
        whole["photos"] += 1
        if is_told(photo):
            whole["warned"] += 1
            continue
        for way, changed in damages(data, options.count, generator):
            damaged[way].update(outcome(photo, changed))
    figures = {"whole": dict(whole), **{way: dict(counts) for way, counts in damaged.items()}}
    print(f"{whole['photos']} whole photos, {whole['warned']} with a warning of damage")
    for way, counts in damaged.items():
        shown = max(1, counts["shown"])
        shares = ", ".join(
            f"{counts[key] / shown:.1%} {key}" for key in ("warned", "located", "covered")
        )
        made = f"{counts['made']} made, {counts['refused']} refused, {counts['shown']} shown"
        print(f"{way}: {made}: {shares}")
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def is_told(photo: DecodedImage) -> bool:
    """Whether a photo leaves a warning of damage."""
    return any("damaged" in warning for warning in photo.warnings)


def damages(data: bytes, count: int, generator: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """`count` damages of each way to the coded data."""
    start = data.rindex(b"\xff\xda") + 14
    for _ in range(count if len(data) > start + 2 * SECTOR else 0):
        flipped, overwritten = bytearray(data), bytearray(data)
        flipped[generator.integers(start, len(data) - 2)] ^= 1 << int(generator.integers(8))
        place = int(generator.integers(start, len(data) - SECTOR - 2))
        overwritten[place : place + SECTOR] = bytes(SECTOR)
        yield "bit", bytes(flipped)
        yield "sector", bytes(overwritten)


def outcome(whole: DecodedImage, data: bytes) -> Counter[str]:
    """What becomes of a damaged file, as counts of 1."""
    try:
        photo = decode_image(data, "damaged")
    except ImageError:
        return Counter(made=1, refused=1)
    if photo.pixels.shape != whole.pixels.shape:
        return Counter(made=1)
    differs = np.abs(photo.pixels.astype(int) - whole.pixels).max(axis=2) > VISIBLE
    if differs.mean() <= SHOWN:
        return Counter(made=1)
    for box in photo.damaged:
        within(differs, box)[:] = False
    return Counter(
        made=1,
        shown=1,
        warned=int(is_told(photo)),
        located=int(bool(photo.damaged)),
        covered=int(bool(photo.damaged) and differs.mean() <= MISSED),
    )


if __name__ == "__main__":
    main()

"""Photographs to measure speed on: made from the examples, the same ones for the same seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SHAPES = ((3, 4), (4, 3), (2, 3), (9, 16))  # height to width, as cameras have them


def make_photos(
    folder: Path, count: int, megapixels: tuple[float, float] = (1, 12), seed: int = 0
) -> list[Path]:
    """Write `count` JPEGs whose sizes spread evenly, on a log scale, over a range of megapixels.

    A longer set begins with the photos of a shorter one only in its contents: the sizes of each
    set cover the whole range.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    low, high = np.log(megapixels)
    sizes = np.exp(low + (high - low) * (np.arange(count) + 0.5) / count)
    paths = []
    for number, size in enumerate(rng.permutation(sizes)):
        path = folder / f"{number:05}.jpg"
        write_photo(path, float(size), np.random.default_rng([seed, number]))
        paths.append(path)
    return paths


def write_photo(path: Path, megapixels: float, rng: np.random.Generator) -> None:
    """One JPEG: a cut-out of an example, enlarged, with detail and sensor noise of its own."""
    rows, columns = SHAPES[rng.integers(len(SHAPES))]
    scale = (megapixels * 1e6 / (rows * columns)) ** 0.5
    height, width = round(rows * scale), round(columns * scale)
    sources = sorted(EXAMPLES.glob("authentic/*.*"))
    source = cv2.imread(str(sources[rng.integers(len(sources))]))
    image = cv2.resize(_cut(source, height / width, rng), (width, height), cv2.INTER_CUBIC)
    # What enlarging leaves out: detail at each scale down to the pixel, and noise.
    for cell, strength in ((8, 4.0), (3, 4.0), (1, 3.0)):
        patch = rng.normal(0, strength, (512, 512)).astype(np.float32)
        grain = cv2.resize(patch, None, fx=cell, fy=cell, interpolation=cv2.INTER_LINEAR)
        for top in range(0, height, len(grain)):
            for left in range(0, width, len(grain)):
                part = image[top : top + len(grain), left : left + len(grain)]
                added = grain[: part.shape[0], : part.shape[1], None].repeat(3, axis=2)
                part[:] = cv2.add(part, added, dtype=cv2.CV_8U)
    quality = int(rng.integers(80, 96))
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _cut(source: np.ndarray, aspect: float, rng: np.random.Generator) -> np.ndarray:
    """The largest part of `source` with this height to width, somewhere in it."""
    height = min(source.shape[0], int(source.shape[1] * aspect))
    width = min(source.shape[1], int(source.shape[0] / aspect))
    top = rng.integers(source.shape[0] - height + 1)
    left = rng.integers(source.shape[1] - width + 1)
    return source[top : top + height, left : left + width]

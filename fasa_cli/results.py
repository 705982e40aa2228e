"""Frozen records that travel between the floors. No computing here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DecodedImage:
    """One image file, decoded strictly.

    `pixels` is the upright H x W x 3 uint8 RGB array; every other field describes the file.
    `stored_size` and `display_size` are (width, height) before and after the EXIF rotation.
    """

    pixels: np.ndarray
    format: str
    mode: str
    stored_size: tuple[int, int]
    orientation: int = 1
    frames: int = 1
    bytes: int = 0
    sha256: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) of `pixels`."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True)
class Copy:
    """Two parts of a photo that show the same, so that one is a copy of the other (copies.py).

    `boxes` are theirs as (x, y, width, height), and `matrix` (2 x 3, by rows) maps the first part
    onto the second, in pixels of the upright image. Which of the two came first, this cannot say.
    `probability` is that of a copy against a look-alike; `matches` counts matching key points.
    """

    boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    probability: float
    matches: int


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image, at the image's own size.

    `probabilities` is H x W float32 in [0, 1]. `score` is its maximum (Eq. 9), kept for parity
    with the paper; `effective_size` is the (width, height) at which the model saw the image, whole
    or in that many `tiles`. `copies` are parts found to be there twice, the most probable first.
    """

    probabilities: np.ndarray
    score: float
    effective_size: tuple[int, int]
    tiles: int = 1
    copies: tuple[Copy, ...] = ()

    def mask(self, threshold: float) -> np.ndarray:
        """H x W bool: the pixels whose probability is above `threshold`."""
        return self.probabilities > threshold


@dataclass(frozen=True)
class Rle:
    """The pixels of a region as COCO's compressed run lengths, column by column.

    `size` is (height, width) of the upright image, as COCO has it. Written as JSON it is what
    `pycocotools.mask.decode` reads.
    """

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True)
class Region:
    """A connected region (8-neighbourhood) of marked pixels.

    `box` is (x, y, width, height) in pixels of the upright image; `mean_score` and `peak_score`
    are over the region's pixels. `rle` is its exact shape, holes included, where it was asked for.
    """

    box: tuple[int, int, int, int]
    area: int
    mean_score: float
    peak_score: float
    rle: Rle | None = None


@dataclass(frozen=True)
class ImageScores:
    """Metrics of one image; a value is None where it is not defined.

    `score` is the image-level score, `area` the share of pixels above the threshold. The pixel
    metrics are None for an authentic image, and `pixel_auc` is None also for an all-white mask.
    `pixel_f1_best` is the image's F1 at the best threshold of its set, known once the set is.
    """

    name: str
    manipulated: bool
    score: float
    area: float
    pixel_f1: float | None = None
    pixel_f1_best: float | None = None
    pixel_f1_reversed: float | None = None
    pixel_f1_permuted: float | None = None
    pixel_iou: float | None = None
    pixel_auc: float | None = None


@dataclass(frozen=True)
class Scores:
    """Metrics over a set of images, with everything needed to quote them.

    A value is None where it is not defined (AUC with one class, F1 without manipulated images).
    `images` were counted, `manipulated` of them; `skipped` were left out. Pixel metrics are means
    over `pixel_images` manipulated images. `false_alarm_share` is the share of authentic images
    with any pixel marked, `false_alarm_large_share` that with more than 1 % of their area marked,
    and `false_alarm_area` the mean share of their area that is marked.
    """

    protocol: str
    threshold: float
    images: int
    manipulated: int
    skipped: int
    pixel_images: int = 0
    pixel_f1: float | None = None
    pixel_f1_best: float | None = None
    best_threshold: float | None = None
    pixel_f1_reversed: float | None = None
    pixel_f1_permuted: float | None = None
    pixel_iou: float | None = None
    pixel_auc: float | None = None
    image_f1: float | None = None
    image_accuracy: float | None = None
    image_auc: float | None = None
    false_alarm_share: float | None = None
    false_alarm_large_share: float | None = None
    false_alarm_area: float | None = None


@dataclass(frozen=True)
class ScanRecord:
    """One line of `results.jsonl`: everything said of one analysed image.

    `path` is the input as it was found; `name` is unique in its run and heads the image's outputs.
    Sizes are (width, height) in pixels. `score_max` is Eq. 9, `area_fraction` the share of pixels
    above the threshold, in [0, 1]. `regions` are the largest ones; `region_count` counts them all.
    `copies` are parts that are there twice. `outputs` gives per kind (mask, probabilities, overlay)
    a file's path in the output folder, `outputs_sha256` its hash. `seconds` is decoding plus the
    image's share of its batch.
    """

    schema_version: int
    path: str
    name: str
    sha256: str
    bytes: int
    format: str
    stored_size: tuple[int, int]
    display_size: tuple[int, int]
    orientation: int
    effective_size: tuple[int, int]
    score_max: float
    area_fraction: float
    region_count: int
    regions: tuple[Region, ...]
    warnings: tuple[str, ...]
    outputs: dict[str, str]
    outputs_sha256: dict[str, str]
    seconds: float
    copies: tuple[Copy, ...] = ()
    status: str = "analysed"


@dataclass(frozen=True)
class Failure:
    """One line of `errors.jsonl`: an input that was not analysed, at which stage, and why."""

    path: str
    kind: str
    reason: str
    stage: str
    status: str = "failed"


@dataclass(frozen=True)
class Skipped:
    """One line of `skipped.jsonl`: something met in a folder that is no input, and why."""

    path: str
    kind: str
    reason: str
    status: str = "skipped"

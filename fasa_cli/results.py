"""Frozen records that travel between the rooms. No computing here."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GRID = 8  # JPEG's block size in pixels
FALSE_ALARM_AREA = 0.01  # Ours: fewer marked pixels than 1 % of a photo are a speck

Box = tuple[int, int, int, int]  # x, y, width, height in pixels of the upright image


@dataclass(frozen=True)
class DecodedImage:
    """One image file, decoded strictly.

    `pixels` is the upright H x W x 3 uint8 RGB array; every other field describes the file.
    `stored_size` and `display_size` are (width, height) before and after the EXIF rotation.
    `icc_profile` is the profile with which `pixels` are to be shown, b"" where they are sRGB.
    `damaged` are boxes of `pixels` that do not show what was encoded, as far as that can be seen.
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
    icc_profile: builtins.bytes = b""
    damaged: tuple[Box, ...] = ()

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) of `pixels`."""
        return self.pixels.shape[1], self.pixels.shape[0]


def within(array: np.ndarray, box: Box) -> np.ndarray:
    """The part of an H x W (x C) array that lies in a box: a view."""
    x, y, width, height = box
    return array[y : y + height, x : x + width]


@dataclass(frozen=True)
class Frame:
    """The photo within a picture: rows top..bottom and columns left..right, in pixels.

    `grid` is (down, right): how far inside that box the first full JPEG block begins, 0 to 7 each,
    or None where no grid shows.
    """

    top: int
    bottom: int
    left: int
    right: int
    grid: tuple[int, int] | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the photo in the picture, in pixels."""
        return (self.left, self.top, self.right - self.left, self.bottom - self.top)

    @property
    def margin(self) -> tuple[int, int]:
        """(above, left): pixels to add, so that the grid starts at the corner."""
        return (0, 0) if self.grid is None else (-self.grid[0] % GRID, -self.grid[1] % GRID)

    def crop(self, picture: np.ndarray) -> np.ndarray:
        """The part of an H x W (x C) array that is the photo."""
        return picture[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class CopyMovePair:
    """Two regions of a photo that show the same, so that one is a copy of the other
    (postprocess/copy_move.py).

    `boxes` are theirs as (x, y, width, height), and `matrix` (2 x 3, by rows) maps the first part
    onto the second, in pixels of the upright image. Which of the two came first, this cannot say.
    `probability` is that of a copy against a look-alike; `matches` counts matching key points.
    `marks` are the probabilities with which the two regions are marked: the pair's, or less where
    the network's map sets the other region apart.
    """

    boxes: tuple[tuple[int, int, int, int], tuple[int, int, int, int]]
    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]
    probability: float
    matches: int
    marks: tuple[float, float] | None = None


@dataclass(frozen=True)
class Prediction:
    """What fasa says of one image, at the image's own size.

    `probabilities` is H x W float32 in [0, 1], after hysteresis and copy-move marks. `score` is
    its maximum (Eq. 9), kept for parity with the paper; `effective_size` is the (width, height) at
    which the model saw the image, whole or in that many `tiles`. `network` is the network's own
    map where postprocessing may have changed it (see `network_map`), and `size_offset` what was
    added to its logits for the photo's size. `pairs` are the copy-move
    pairs found, the most probable first, `copy_move` is the map of their marks at the size at which
    they were searched for (None without a pair), and `copy_move_score` its maximum. `frame` is
    where the photo lies in the picture, if that was looked for. In the `damaged` boxes of the file
    nothing is marked: `probabilities` are 0 there, `network_map` says what the network gave.
    """

    probabilities: np.ndarray
    score: float
    effective_size: tuple[int, int]
    tiles: int = 1
    network: np.ndarray | None = None
    size_offset: float = 0.0
    copy_move_score: float = 0.0
    pairs: tuple[CopyMovePair, ...] = ()
    frame: Frame | None = None
    copy_move: np.ndarray | None = None
    damaged: tuple[Box, ...] = ()

    @property
    def network_map(self) -> np.ndarray:
        """H x W float32: the probabilities as the network gave them."""
        return self.probabilities if self.network is None else self.network

    @property
    def network_score(self) -> float:
        """The highest probability that the network gave."""
        return float(self.network_map.max())

    def lowered(self, threshold: float) -> float:
        """The share of pixels that the network marks at `threshold` and the final map does not."""
        if self.network is None:
            return 0.0
        lowered = (self.network > threshold) & (self.probabilities <= threshold)
        for box in self.damaged:
            within(lowered, box)[:] = False
        return float(lowered.mean())

    def marked_in_damage(self, threshold: float) -> float:
        """The share of pixels that the network marks in what is damaged."""
        marked = sum(int((within(self.network_map, box) > threshold).sum()) for box in self.damaged)
        return marked / self.probabilities.size

    def mask(self, threshold: float) -> np.ndarray:
        """H x W bool: the pixels whose probability is above `threshold`."""
        return self.probabilities > threshold


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights answer: the file, its sha256, the preset and the number of parameters."""

    path: Path | None
    sha256: str
    preset: str
    parameters: int


@dataclass(frozen=True)
class Rle:
    """The pixels of a region as COCO's compressed run lengths, column by column.

    `size` is (height, width) of the upright image, as COCO has it. Written as JSON it is what
    `pycocotools.mask.decode` reads.
    """

    size: tuple[int, int]
    counts: str


@dataclass(frozen=True)
class Finding:
    """One thing measured in a region that speaks for or against its mark (imaging/findings.py).

    `kind` is one of `noise`, `colour noise`, `sharpness`, `jpeg grid`, `clipped`, `unjudgeable`,
    `copy-move`, `pathway` and `stability`; `speaks` is "for", "against" or "neither". `value` is
    the number that `text` says in words.
    """

    kind: str
    speaks: str
    value: float
    text: str


@dataclass(frozen=True)
class Region:
    """A connected region (8-neighbourhood) of marked pixels.

    `box` is (x, y, width, height) in pixels of the upright image; `mean_score` and `peak_score`
    are over the region's pixels. `rle` is its exact shape, holes included, where it was asked for.
    `findings` say why it may be marked and what speaks against that; the largest regions have
    them. `false_alarm_rate` is the share of untouched photos that hold a region at least as large
    and of at least that mean, where the scan has a calibration for its threshold.
    """

    box: tuple[int, int, int, int]
    area: int
    mean_score: float
    peak_score: float
    rle: Rle | None = None
    findings: tuple[Finding, ...] = ()
    false_alarm_rate: float | None = None


@dataclass(frozen=True)
class ImageScores:
    """Metrics of one image; a value is None where it is not defined.

    `score` is the image-level score, `area` the share of pixels above the threshold. The pixel
    metrics are None for an authentic image, and `pixel_auc` is None also for an all-white mask.
    `score_area` is the probability that 1 % of the pixels reach; `false_alarm_rate` and `log10_lr`
    are what it means by the weights' calibration, where there is one.
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
    score_area: float | None = None
    false_alarm_rate: float | None = None
    log10_lr: float | None = None


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
    `warnings` say what makes the result weaker than its score. `jpeg_quality` is estimated from the
    file's tables (1-100), None where it has none. `score_network` is the network's highest
    probability and `score_copy_move` that of the marks of `copy_move` pairs; `size_offset` is what
    was added to the network's logits for the photo's size, and `lowered_fraction` the share of
    pixels that the network marks and hysteresis took away. `damaged` are boxes in which the file's
    data are damaged and nothing is marked, and `damaged_marked` is the share of pixels that the
    network marks in them. `frame` is (x, y, width, height) of the photo within the picture, bars
    left out, and `jpeg_grid` (x, y) where its first full JPEG block starts in that frame; None
    where that was not looked for, or no grid shows. `page` counts from 1 where every page of a file
    was asked for and it has several. `inspection` is what the file says of its own history
    (inspection/records.py), where that was asked for. `outputs` gives per kind (mask,
    probabilities, network, overlay) a file's path in the output folder, `outputs_sha256` its hash;
    `not_made` per kind why one is missing. `seconds` is decoding plus the image's share of its
    batch.

    `score_area` is the probability that 1 % of the photo's pixels reach. What it means, where the
    scan had a calibration (calibration.py): `false_alarm_rate` with its 95 % interval, `log10_lr`
    with the bounds that the data support, and `band`, on photos of kind `population`, the ratio on
    those of kind `log10_lr_population`;
    `inconclusive` are reasons why that cannot be determined. `unjudgeable` gives per reason the
    share of the photo where noise and sharpness cannot be measured.
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
    jpeg_quality: int | None = None
    score_network: float | None = None
    score_copy_move: float | None = None
    size_offset: float | None = None
    lowered_fraction: float | None = None
    frame: tuple[int, int, int, int] | None = None
    jpeg_grid: tuple[int, int] | None = None
    copy_move: tuple[CopyMovePair, ...] = ()
    not_made: dict[str, str] = field(default_factory=dict)
    damaged: tuple[Box, ...] = ()
    damaged_marked: float = 0.0
    page: int | None = None
    inspection: dict[str, Any] | None = None
    score_area: float | None = None
    false_alarm_rate: float | None = None
    false_alarm_interval: tuple[float, float] | None = None
    log10_lr: float | None = None
    log10_lr_bounds: tuple[float, float] | None = None
    band: str | None = None
    population: str | None = None
    log10_lr_population: str | None = None
    inconclusive: tuple[str, ...] = ()
    unjudgeable: dict[str, float] = field(default_factory=dict)
    status: str = "analysed"

    @property
    def rank(self) -> tuple[float, ...]:
        """Higher for photos to look at first: by false alarm rate, or by highest score where there
        is no calibration, then by marked area."""
        if self.false_alarm_rate is None:
            return (0.0, self.score_max, self.area_fraction)
        return (1.0, -self.false_alarm_rate, self.area_fraction)

    @property
    def damaged_fraction(self) -> float:
        """The share of pixels that are damaged."""
        width, height = self.display_size
        return sum(box[2] * box[3] for box in self.damaged) / (width * height)


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

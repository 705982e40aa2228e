"""Maps of earlier compressions, at the photo's own size: see `make_maps`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fasa_cli.errors import OutputError
from fasa_cli.files import write_atomically
from fasa_cli.imaging.decode import decode_image, upright
from fasa_cli.imaging.encode import encode_png
from fasa_cli.inspection.blocks import decoded_brightness
from fasa_cli.inspection.double_compression import DoubleCompression, find_double_compression
from fasa_cli.inspection.ghosts import QUALITIES, Ghosts, find_ghosts
from fasa_cli.inspection.grids import Grids, find_grids
from fasa_cli.inspection.records import Finding, JpegStructure
from fasa_cli.results import GRID

_GAIN = 0.15  # nats per block; single compressions gave 0.07 at most, double ones 0.8 and more
_SURE = 0.95  # probability of a block that counts as one or the other
_SEPARATION = 0.85  # of ghosts; pictures without any gave 0.79 at most
_LEAST_SHARE = 0.005  # of the picture that a finding's region takes
_NOTHING_SEEN = (
    "Recompression at a lower quality, scaling and strong blur hide an earlier compression, so its "
    "absence shows nothing."
)
_ORDINARY = "Saving, sharing and editing without a forgery compress again, too."


@dataclass(frozen=True)
class EvidenceMap:
    """`values` is H x W float32 in [0, 1] at the upright photo's size; `caption` says what they
    mean, in a sentence with its numbers."""

    kind: str
    caption: str
    values: np.ndarray


def make_maps(
    data: bytes, name: str, structure: JpegStructure | None
) -> tuple[list[EvidenceMap], list[Finding]]:
    """Maps of double compression (JPEG only), JPEG ghosts and block grids, with findings.

    `structure` is that of a JPEG, None for other formats. Seconds for a large photo.

    Raises:
        ImageError: it cannot be decoded.
    """
    decoded = decode_image(data, name)
    brightness = cv2.cvtColor(decoded.pixels, cv2.COLOR_RGB2GRAY)
    orientation = 1
    if structure is not None and decoded.format == "JPEG":
        try:
            brightness, orientation = decoded_brightness(data), decoded.orientation
        except ValueError:  # CMYK, say: what it looks like must do
            structure = None
    shape = brightness.shape
    maps: list[EvidenceMap] = []
    findings: list[Finding] = []

    def add(kind: str, caption: str, blocks: np.ndarray, offset: int = 0) -> None:
        values = _at_size(blocks, shape, offset)
        maps.append(EvidenceMap(kind, caption, upright(values, orientation)))

    steps = None if structure is None else _luma_steps(structure)
    double = None if steps is None else find_double_compression(brightness, steps)
    if double is not None:
        add("double-compression", _double_caption(double), double.probability)
        findings += _about_double(double)
    ghosts = find_ghosts(brightness)
    if ghosts is not None:
        add("ghosts", _ghost_caption(ghosts), ghosts.map)
        findings += _about_ghosts(ghosts)
    grids = find_grids(brightness)
    if grids is not None:
        add("grids", _grid_caption(grids), grids.map.astype(np.float32), GRID // 2)
        findings += _about_grids(grids, structure is not None)
    return maps, findings


def write_map(
    folder: Path, name: str, kind: str, levels: np.ndarray, caption: str
) -> dict[str, str]:
    """Write H x W levels (0-255) as FOLDER/NAME.KIND.png; returns its `path` and `caption`.

    Raises:
        OutputError: it cannot be written.
    """
    target = folder.joinpath(*f"{name}.{kind}.png".split("/"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OutputError(
            f"{target.parent}: cannot be made ({reason}); choose another --maps"
        ) from error
    write_atomically(target, encode_png(np.rint(levels).astype(np.uint8)))
    return {"path": str(target), "caption": caption}


def _luma_steps(structure: JpegStructure) -> tuple[int, ...] | None:
    return structure.tables.get(structure.components[0].table) if structure.components else None


def _at_size(blocks: np.ndarray, shape: tuple[int, ...], offset: int) -> np.ndarray:
    """Per-block values at pixels: each fills 8 x 8 from `offset` on; borders repeat the last."""
    large = np.repeat(np.repeat(blocks, GRID, axis=0), GRID, axis=1)
    below, right = (
        max(0, side - had - offset) for side, had in zip(shape, large.shape, strict=True)
    )
    padded = np.pad(large, ((offset, below), (offset, right)), mode="edge")
    return np.ascontiguousarray(padded[: shape[0], : shape[1]], np.float32)


# --- Double compression ---------------------------------------------------------------------


def _double_caption(double: DoubleCompression) -> str:
    if double.gain < _GAIN:
        return (
            f"Probability (white: 1) of an earlier compression on the same grid at quality "
            f"{double.quality}, which fits best; it explains the coefficients hardly better than "
            f"none ({double.gain:.2f} nats per block), so the map shows nothing."
        )
    return (
        f"Probability (white: 1) that a block was compressed before on the same grid, at quality "
        f"{double.quality} ({double.gain:.2f} nats per block better than once)."
    )


def _about_double(double: DoubleCompression) -> Iterator[Finding]:
    if double.gain < _GAIN:
        return
    before, once = double.probability > _SURE, double.probability < 1 - _SURE
    is_mostly = before.mean() > once.mean()
    region = _largest(once if is_mostly else before)
    if region is None:
        if not is_mostly:  # a few scattered blocks are no region, and the rest no sign
            return
        yield Finding(
            "compressed twice",
            "low",
            f"The picture was compressed before at about quality {double.quality}: "
            f"{before.mean():.0%} of its blocks show that, {once.mean():.1%} do not.",
            _ORDINARY,
        )
        return
    what = "does not show" if is_mostly else "shows"
    yield Finding(
        "compressed twice in part",
        "medium",
        f"{region[4]:.1%} of the picture {what} an earlier compression at about quality "
        f"{double.quality}, unlike the rest; most of it lies within {region[2]:.0%} x "
        f"{region[3]:.0%} at ({region[0]:.0%}, {region[1]:.0%}) from the upper left as stored.",
        "Texts, logos and frames that were added differ in the same way, and so can shades that "
        "one compression leaves nearly flat.",
    )


def _largest(marked: np.ndarray) -> tuple[float, float, float, float, float] | None:
    """(x, y, width, height, area) as shares of the picture, of the largest region; None: small."""
    solid = cv2.morphologyEx(marked.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return None
    left, top, width, height, area = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    if area < max(9, _LEAST_SHARE * marked.size):
        return None
    rows, columns = marked.shape
    return left / columns, top / rows, width / columns, height / rows, float(marked.mean())


# --- Ghosts ---------------------------------------------------------------------------------


def _ghost_caption(ghosts: Ghosts) -> str:
    return (
        f"JPEG ghosts: white where saving again at quality {ghosts.quality} changes least, of "
        f"{QUALITIES[0]} to {QUALITIES[-1]} by 5. Blocks fall into two kinds by "
        f"{ghosts.separation:.2f} of 1; below {_SEPARATION} that is usual. Smooth places are white "
        "in any picture."
    )


def _about_ghosts(ghosts: Ghosts) -> Iterator[Finding]:
    if ghosts.separation >= _SEPARATION and _LEAST_SHARE <= ghosts.share <= 0.5:
        yield Finding(
            "JPEG ghost",
            "low",
            f"{ghosts.share:.1%} of the picture changes least when it is saved at quality "
            f"{ghosts.quality}, unlike the rest (separation {ghosts.separation:.2f}).",
            "Smooth and overexposed places do so without an earlier compression; look at the map.",
        )


# --- Grids ----------------------------------------------------------------------------------


def _grid_caption(grids: Grids) -> str:
    main = "no grid" if grids.main is None else f"the grid that starts at {grids.main}"
    return (
        f"White where pixels show a JPEG grid other than the picture's; that shows {main} "
        f"(x, y in pixels). Other grids: {len(grids.foreign)}."
    )


def _about_grids(grids: Grids, is_jpeg: bool) -> Iterator[Finding]:
    if grids.main is not None and (grids.main != (0, 0) or not is_jpeg):
        cropped = grids.main != (0, 0)
        yield Finding(
            "earlier JPEG grid",
            "medium" if cropped and is_jpeg else "low",
            f"Its pixels show a JPEG grid that starts at {grids.main}: it was a JPEG before"
            + (", and was cropped or moved since." if cropped else "."),
            _ORDINARY,
        )
    for offset, share in grids.foreign[:3]:
        if share >= _LEAST_SHARE:
            rest = "no grid" if grids.main is None else f"the one at {grids.main}"
            yield Finding(
                "foreign JPEG grid",
                "medium",
                f"{share:.1%} of the picture shows a JPEG grid that starts at {offset}, the rest "
                f"{rest}: parts that are pasted keep their grid.",
                f"Regular textures can imitate a grid. {_NOTHING_SEEN}",
            )

"""Option types that commands share, and the parser of ranges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?::(\d+))?")
_LIST = re.compile(r"-?\d+(,-?\d+)*")
_MOST_VALUES = 10_000  # a slip such as 0..100000000 must not fill the memory

# Named here too, because reading them from where they live would load heavy libraries for --help.
LAYOUTS = (
    "folder, casia, columbia, coverage, nist16, imd2020, fantastic-reality, tampcoco, "
    "json, balanced, list, parquet"
)
PROTOCOLS = ("native", "benco", "opensdi")
PRECISIONS = ("float32", "bfloat16")


def parse_range(text: str, default: int | Sequence[int]) -> tuple[int, ...]:
    """Read `50..100`, `50..100:5` (by 5) or `0,3,7`; both ends belong to it.

    A range without a step goes by `default`, or takes those of several defaults that lie in it.

    Raises:
        typer.BadParameter: the text has none of these forms, or the range is empty.
    """
    text = text.replace(" ", "")
    if _LIST.fullmatch(text):
        return tuple(int(part) for part in text.split(","))
    match = _RANGE.fullmatch(text)
    if not match:
        raise typer.BadParameter(
            f"{text!r} is no range; write 50..100, 50..100:5 (first..last:step) or 0,3,7"
        )
    first, last = int(match[1]), int(match[2])
    if not isinstance(default, int) and not match[3]:
        if not (chosen := tuple(value for value in default if first <= value <= last)):
            raise typer.BadParameter(f"{text!r} holds no usual value; write them out, as in 0,3,7")
        return chosen
    step = int(match[3]) if match[3] else default
    assert isinstance(step, int)
    if step < 1 or first > last:
        raise typer.BadParameter(f"{text!r} is empty; write first..last:step with first <= last")
    values = range(first, last + 1, step)
    if len(values) > _MOST_VALUES:
        raise typer.BadParameter(f"{text!r} has {len(values)} values; take a larger step")
    return tuple(values)


def _check_protocol(name: str) -> str:
    if name not in PROTOCOLS:
        raise typer.BadParameter(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return name


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise typer.BadParameter(f"{name!r} is no device; write auto, cuda, cuda:N, mps or cpu")
    return name


def _check_precision(name: str) -> str:
    if name not in PRECISIONS:
        raise typer.BadParameter(f"no precision {name!r}; there are {', '.join(PRECISIONS)}")
    return name


Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Weights file (.safetensors).",
        show_default="the one that comes with fasa",
    ),
]
EncoderWeights = Annotated[
    str | None,
    typer.Option(
        "--encoder-weights",
        metavar="openai|FILE",
        help="Pretrained semantic encoder: preset paper takes CLIP (see fasa weights pull), "
        "compact a .safetensors file of EfficientNet-Lite0.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cuda|cuda:N|mps|cpu",
        callback=_check_device,
        help="Where the model runs; auto takes cuda, then mps, then cpu.",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="|".join(PRECISIONS),
        callback=_check_precision,
        help="bfloat16 is faster on GPUs and on CPUs with units for it; scores move by up to 0.04.",
    ),
]
OriginalsAt = Annotated[
    Path | None,
    typer.Option(
        "--originals-at", metavar="DIR", help="Where the photos lie now, if they were moved."
    ),
]
Layout = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"The layout: {LAYOUTS}.", show_default="what it is recognised as"
    ),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="What a list's paths are relative to.", show_default="the list's folder"
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        metavar="|".join(PROTOCOLS),
        callback=_check_protocol,
        help="How images are scored: at their own size, or at 512 x 512 as in the papers.",
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        "--threshold",
        metavar="PROBABILITY",
        min=0.0,
        max=1.0,
        help="A pixel is marked when its probability is above this.",
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="FILE|none",
        help="What scores mean, from fasa calibrate.",
        show_default="the file beside the weights",
    ),
]
Case = Annotated[
    str | None, typer.Option("--case", metavar="TEXT", help="The case, for the report's head.")
]
Examiner = Annotated[
    str | None,
    typer.Option("--examiner", metavar="TEXT", help="Who examined it, for the report's head."),
]
Note = Annotated[
    str | None, typer.Option("--note", metavar="TEXT", help="A note, for the report's head.")
]
Redact = Annotated[
    str,
    typer.Option(
        metavar="paths,gps|none",
        help="What an HTML report leaves out: absolute paths, positions in photos.",
    ),
]

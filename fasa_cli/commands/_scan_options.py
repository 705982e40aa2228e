"""The options of `fasa scan`, some of which other commands take too."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUTS",
        help="Files, folders (with all below), quoted globs; - reads paths on stdin.",
    ),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Where masks and records go.")
]
FilesFrom = Annotated[
    str | None, typer.Option(metavar="FILE", help="A file with one input path per line.")
]
Null = Annotated[bool, typer.Option("--null", "-0", help="Paths in lists end with NUL.")]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Images per model call.", show_default="1 on a CPU, 8 on CUDA"
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", "--prob", help="Also write 16-bit probability maps.")
]
Overlay = Annotated[bool, typer.Option("--overlay", help="Also write the photos with heat maps.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Also write one HTML file with all results, and with --probabilities.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Results on stdout as JSON Lines.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the images and masks; do nothing.")]
FailOn = Annotated[
    str | None,
    typer.Option(
        metavar="BAND|RATE%|SCORE",
        help="Exit with 10 if a photo reaches a band (strong, moderate, weak), a false alarm rate "
        "(1%), or a highest score (0.9).",
    ),
]
MaxFalseAlarms = Annotated[
    float | None,
    typer.Option(
        "--max-false-alarms",
        metavar="RATE",
        min=0.0,
        max=1.0,
        help="Choose the threshold: at most this share of untouched photos has more than 1 % of "
        "its area marked.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="Bit-reproducible on the same machine; slower, batch 1."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete an earlier scan in DIR.")]
CopyMove = Annotated[
    bool,
    typer.Option(
        "--copy-move/--no-copy-move",
        help="Search for duplicated regions (copy-move), where the weights ask for it.",
    ),
]
# What --no-copy-move was called before 0.2.
Copies = Annotated[bool, typer.Option("--copies/--no-copies", hidden=True)]
NetworkMap = Annotated[
    bool,
    typer.Option(
        "--network-map",
        help="Also write the network's own map, before hysteresis and copy-move marks.",
    ),
]
Add = Annotated[
    bool,
    typer.Option("--add", help="Keep an earlier scan of other files in DIR, and add to it."),
]
Sign = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEY", help="Sign the records with a private Ed25519 key (PEM, OpenSSH)."
    ),
]
CopyMoveMap = Annotated[
    bool, typer.Option("--copy-move-map", help="Also write the map of copy-move marks alone.")
]
MasksApart = Annotated[
    bool,
    typer.Option(
        "--masks-apart", help="Also write the masks of the network and of copy-move, each alone."
    ),
]
Inspect = Annotated[
    bool,
    typer.Option(
        "--inspect", help="Also record what each file says of its history, as fasa inspect does."
    ),
]


class Pages(str, Enum):
    """Which pages of a file are analysed."""

    first = "first"
    all = "all"


PagesWanted = Annotated[
    Pages,
    typer.Option(
        "--pages",
        metavar="first|all",
        help="Of files with several pages or frames: the first, or each.",
    ),
]
Top = Annotated[
    int, typer.Option(metavar="N", min=0, help="Show the N photos with the highest scores.")
]
Stability = Annotated[
    bool,
    typer.Option(
        "--stability",
        help="Look again after JPEG 90, half size and a crop, and say which regions survive; "
        "three times the time for photos with marks.",
    ),
]

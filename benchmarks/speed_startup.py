"""What starting costs: `--help` beside a bare Typer app, and the stages of one photo's scan."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from measuring import Part, Spread, Table, in_turns
from photos import make_photos

AIM = 1.5  # times a bare Typer app with two commands
ROOT = Path(__file__).resolve().parents[1]  # this checkout, not a copy that is installed

_BARE = """
import typer
app = typer.Typer()
@app.command()
def one(name: str, count: int = 1) -> None:
    "Do one thing."
@app.command()
def two(name: str, loud: bool = False) -> None:
    "Do another."
app(["--help"])
"""

# The command line with a clock at the borders of what it does one after another.
_STAGES = """
import json, sys, time
now = time.perf_counter
moments = {"start": now()}
result, *sys.argv[1:] = sys.argv[1:]
import fasa_cli.predictor, fasa_cli.scanning.scanner
from fasa_cli.app import main
moments["import"] = now()
Predictor = fasa_cli.predictor.Predictor
load, predict = Predictor.from_checkpoint, Predictor.predict_batch
def watched_load(*arguments, **options):
    predictor = load(*arguments, **options)
    moments["load"] = now()
    return predictor
def watched_predict(self, images):
    moments.setdefault("read", now())
    predictions = predict(self, images)
    moments["model"] = now()
    return predictions
Predictor.from_checkpoint, Predictor.predict_batch = watched_load, watched_predict
try:
    main()
finally:
    moments["write"] = now()
    with open(result, "w") as file:
        json.dump(moments, file)
"""
STAGES = {
    "import": "importing PyTorch and the rest",
    "load": "finding the photo, loading the weights",
    "read": "reading and decoding, the run's folder",
    "model": "the model",
    "write": "mask, regions, records",
}


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--startup-megapixels", type=float, default=1.0, help="of the one photo")


def measure(options: argparse.Namespace) -> Part:
    """Processes in turns by the wall clock, as a person waits for them."""
    python = [sys.executable, "-c"]
    commands: dict[str, list[str]] = {
        "python -c pass": [*python, "pass"],
        "bare Typer app --help": [*python, _BARE],
        "fasa --help": [sys.executable, "-m", "fasa_cli", "--help"],
        "import torch": [*python, "import torch"],
        "import timm": [*python, "import timm"],
    }
    runs: dict[str, Callable[[], Any]] = {
        name: lambda command=command: run(command)  # type: ignore[misc]
        for name, command in commands.items()
    }
    times = in_turns(runs, options.rounds)
    ratio = times.ratio("fasa --help", "bare Typer app --help")
    starts = Table(
        "Starting",
        ("command", "seconds"),
        [(name, str(times.seconds(name))) for name in commands],
        f"fasa --help takes {ratio} times as long as the bare app; aim: at most {AIM}.",
    )
    found = one_photo(options.startup_megapixels, options.rounds)
    total = sum(spread.median for spread in found.values())
    stages = Table(
        f"fasa scan of one photo of {options.startup_megapixels:g} megapixels, CPU",
        ("stage", "seconds", "share"),
        [
            (STAGES[name], str(spread), f"{spread.median / total:.0%}")
            for name, spread in found.items()
        ],
    )
    figures = {"help_over_bare": ratio, "seconds": times, "one_photo": found}
    return Part(figures, [starts, stages])


def one_photo(megapixels: float, rounds: int) -> dict[str, Spread]:
    """Seconds of each stage of a scan in a process of its own."""
    each: dict[str, list[float]] = {name: [] for name in STAGES}
    with tempfile.TemporaryDirectory(prefix="fasa-speed-") as folder:
        (photo,) = make_photos(Path(folder) / "photos", 1, (megapixels, megapixels))
        for number in range(rounds + 1):  # the first fills the file cache
            moments, out = Path(folder) / "moments.json", Path(folder) / f"out-{number}"
            scan = ["scan", str(photo), "--out", str(out), "--device", "cpu"]
            run([sys.executable, "-c", _STAGES, str(moments), *scan])
            borders = list(json.loads(moments.read_text()).items())
            for (_, begin), (name, end) in pairwise(borders):
                if number:
                    each[name].append(end - begin)
    return {name: Spread.of(values) for name, values in each.items()}


def run(command: list[str]) -> None:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, env=environment, capture_output=True, check=True)

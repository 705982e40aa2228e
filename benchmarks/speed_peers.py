"""Other localizers on the same photos in the same table: any command, any Python callable."""

from __future__ import annotations

import argparse
import importlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from measuring import Part, Table, in_turns
from photos import make_photos

from fasa_cli.assets import shipped_weights
from fasa_cli.imaging.decode import read_image
from fasa_cli.predictor import Predictor

FASA, FASA_COMMAND = "fasa, Predictor.predict", "fasa scan"


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=WHAT",
        help="a command with {folder} or {image}, and {out}; or module:function, which gets an "
        "H x W x 3 uint8 RGB array. Repeatable",
    )
    parser.add_argument("--peer-photos", type=int, default=3)
    parser.add_argument("--peer-images", type=Path, help="a folder of photos to take instead")
    parser.add_argument("--peer-rounds", type=int, default=1)


def measure(options: argparse.Namespace) -> Part:
    """Each in turns on the same photos: functions on decoded ones, commands from start to end."""
    with tempfile.TemporaryDirectory(prefix="fasa-peers-") as text:
        folder = Path(text)
        if options.peer_images:
            photos = sorted(path for path in options.peer_images.iterdir() if path.is_file())
        else:
            low, high = map(float, options.megapixels.split(".."))
            photos = make_photos(folder / "photos", options.peer_photos, (low, high))
        arrays = [read_image(path).pixels for path in photos]
        weights = options.weights or shipped_weights()
        predictor = Predictor.from_checkpoint(weights, options.device)
        device = str(predictor.device)
        scan = f"{shlex.quote(sys.executable)} -m fasa_cli scan {{folder}} --out {{out}}"
        scan += f" --weights {shlex.quote(str(weights))} --device {device} --overwrite"
        functions = {
            FASA: on_arrays(predictor.predict, arrays),
            FASA_COMMAND: by_command(scan, photos, folder / "fasa"),
        }
        kinds = {FASA: "function", FASA_COMMAND: "command"}
        for number, (name, what) in enumerate(named(options.peer)):
            if "{" in what:
                kinds[name] = "command"
                functions[name] = by_command(what, photos, folder / f"peer-{number}")
            else:
                kinds[name] = "function"
                functions[name] = on_arrays(loaded(what), arrays)
        times = in_turns(functions, options.peer_rounds, warmup=0)  # others' CPU is not ours to see
    megapixels = sum(array[..., 0].size for array in arrays) / 1e6
    table = Table(
        f"{len(photos)} photos, {megapixels:.1f} megapixels, on {device}",
        ("", "kind", "s / photo", "megapixels/s", "times fasa's"),
        note="Wall clock. A command pays for its start-up, decoding and writing, a function gets "
        "decoded photos; each is compared with fasa's own of its kind.",
    )
    figures: dict[str, object] = {"photos": len(photos), "megapixels": round(megapixels, 2)}
    for name, kind in kinds.items():
        seconds = times.seconds(name).median
        ratio = times.ratio(name, FASA if kind == "function" else FASA_COMMAND)
        table.rows.append((name, kind, seconds / len(photos), megapixels / seconds, ratio))
        figures[name] = {"kind": kind, "seconds": times.seconds(name), "over_fasa": ratio}
    return Part(figures, [table])


def named(peers: Sequence[str]) -> Iterator[tuple[str, str]]:
    for peer in peers:
        name, separator, what = peer.partition("=")
        if not separator or not what:
            raise SystemExit(f"--peer {peer}: write it as NAME=COMMAND or NAME=module:function")
        yield name, what


def on_arrays(function: Callable[[np.ndarray], object], arrays: Sequence[np.ndarray]) -> Callable:
    def run() -> None:
        for array in arrays:
            function(array)

    return run


def by_command(template: str, photos: Sequence[Path], out: Path) -> Callable[[], None]:
    """Runs a command once for the folder, or once per photo where it names {image}."""

    def run() -> None:
        out.mkdir(exist_ok=True)
        for path in photos if "{image}" in template else photos[:1]:
            names = {"{image}": path, "{folder}": path.parent, "{out}": out}
            arguments = []
            for word in shlex.split(template):  # before the names, which may hold spaces
                for name, value in names.items():
                    word = word.replace(name, str(value))
                arguments.append(word)
            done = subprocess.run(arguments, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(
                    f"{template}: ended with {done.returncode}:\n{done.stderr[-2000:]}"
                )

    return run


def loaded(name: str) -> Callable[[np.ndarray], object]:
    module, separator, function = name.partition(":")
    if not separator:
        raise SystemExit(f"{name}: no command ({{image}} or {{folder}}) and no module:function")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"{name}: {error}; set PYTHONPATH to where it lies") from error

"""What `fasa scan` adds to the model, or to decoding, on a folder of photos."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import Part, Spread, Table, default_clock
from photos import make_photos
from watched import watch

from fasa_cli.assets import shipped_weights
from fasa_cli.imaging.decode import decode_image
from fasa_cli.model.compact.tiling import to_unit_range
from fasa_cli.predictor import Predictor

AIM = 1.25  # times the larger of the model's and the decoder's time
CHUNK = 20  # photos to a folder


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--photos", type=int, default=10, help="in folders of at most 20")
    parser.add_argument("--megapixels", default="1..12", help="range of the photos' sizes")
    parser.add_argument("--weights", type=Path, help="for scans; the shipped ones by default")
    parser.add_argument("--device", default="auto", help="for scans: auto, cpu or cuda")


def measure(options: argparse.Namespace) -> Part:
    """The model alone, the decoder alone and the command, folder by folder in turns."""
    weights = options.weights or shipped_weights()
    predictor = Predictor.from_checkpoint(weights, options.device)
    low, high = map(float, options.megapixels.split(".."))
    rounds = []
    for number in range(-(-options.photos // CHUNK)):
        count = min(CHUNK, options.photos - number * CHUNK)
        with tempfile.TemporaryDirectory(prefix="fasa-speed-") as folder:
            photos = make_photos(Path(folder) / "photos", count, (low, high), seed=number)
            rounds.append(one_folder(predictor, weights, photos, Path(folder), number))
        print(f"  {number * CHUNK + count} of {options.photos} photos", file=sys.stderr, flush=True)
    return summed(rounds, str(predictor.device))


def one_folder(
    predictor: Predictor, weights: Path, photos: Sequence[Path], folder: Path, number: int
) -> dict[str, float]:
    """Seconds, and what the photos were; each of the three is first in every third folder."""
    device = str(predictor.device)
    seconds: dict[str, float] = {}
    model_seconds(predictor, photos[:1])  # to warm up
    measures: list[Callable[[], None]] = [
        lambda: seconds.update(model=model_seconds(predictor, photos)),
        lambda: seconds.update(decode=decode_seconds(photos)),
        lambda: seconds.update(scan_seconds(photos[0].parent, folder / "out", weights, device)),
    ]
    shift = number % len(measures)
    for one in measures[shift:] + measures[:shift]:
        one()
    pixels = sum(decode_image(path.read_bytes(), path.name).pixels[..., 0].size for path in photos)
    return {**seconds, "photos": len(photos), "megapixels": pixels / 1e6}


def model_seconds(predictor: Predictor, photos: Sequence[Path]) -> float:
    """The model alone, over tensors that lie ready on its device."""
    total = 0.0
    for path in photos:
        image = torch.from_numpy(decode_image(path.read_bytes(), path.name).pixels)[None]
        with torch.inference_mode():
            ready = to_unit_range(image.to(predictor.device))
            wait(predictor.device)
            start = now()
            predictor.model(ready)
            wait(predictor.device)
            total += now() - start
    return total


def decode_seconds(photos: Sequence[Path]) -> float:
    """Decoding alone, strictly as a scan does it, one after another."""
    total = 0.0
    for path in photos:
        data = path.read_bytes()
        start = now()
        decode_image(data, path.name)
        total += now() - start
    return total


def scan_seconds(folder: Path, out: Path, weights: Path, device: str) -> dict[str, float]:
    """`scan`, from the first call of the model to the last write; and the whole `command`."""
    found = watch(folder, out, weights, device)
    clock = default_clock()
    return {"scan": getattr(found.pipeline, clock), "command": getattr(found.command, clock)}


def summed(rounds: list[dict[str, float]], device: str) -> Part:
    total = {key: sum(one[key] for one in rounds) for key in rounds[0]}

    def ratios(name: str) -> tuple[float, Spread]:
        each = Spread.of([one[name] / max(one["model"], one["decode"]) for one in rounds])
        return total[name] / max(total["model"], total["decode"]), each

    per_photo = {
        name: total[name] / total["photos"] for name in ("model", "decode", "scan", "command")
    }
    figures: dict[str, Any] = {
        "device": device,
        "clock": default_clock(),
        "photos": int(total["photos"]),
        "folders": len(rounds),
        "megapixels": round(total["megapixels"], 1),
        "seconds_per_photo": {name: round(value, 4) for name, value in per_photo.items()},
    }
    table = Table(
        f"fasa scan of {figures['photos']} photos, {total['megapixels']:.0f} megapixels, {device}",
        ("", "s / photo", "s / megapixel", "/ the larger of model, decode", "by folder"),
        note=f"Aim for the scan, from the first model call to the last write: at most {AIM}. "
        f"Seconds of {'CPU' if default_clock() == 'cpu' else 'wall clock'}.",
    )
    names = {
        "model": "model alone, tensors ready",
        "decode": "decoding alone",
        "scan": "scan, first model call to last write",
        "command": "whole command",
    }
    for name, label in names.items():
        ratio, spread = ratios(name)
        figures[f"{name}_over_larger"] = {"all": round(ratio, 4), "by_folder": spread}
        per_megapixel = total[name] / total["megapixels"]
        table.rows.append((label, per_photo[name], per_megapixel, ratio, str(spread)))
    return Part(figures, [table])


def now() -> float:
    """Seconds by the clock that tells this machine's work best (see measuring.default_clock)."""
    return time.process_time() if default_clock() == "cpu" else time.perf_counter()


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()

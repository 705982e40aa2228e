"""What FASA's own parts add to its two backbones, and what the DCT costs, per preset."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measuring import Part, Table, Times, default_clock, in_turns
from torch import Tensor, nn

from fasa_cli.config import PRESETS, ModelConfig
from fasa_cli.model.backbones import ConvNextSide
from fasa_cli.model.compact.side import ResidualSide
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import save_model
from fasa_cli.predictor import Predictor

AIM, AIM_DCT = 1.15, 0.05  # for `paper`: of the backbones' time; of the whole forward


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--presets", default="paper,compact", help="such as paper,compact")
    parser.add_argument("--model-batch", type=int, default=1, help="images per forward")
    parser.add_argument(
        "--native", default="768x1024", help="height x width where a preset has no size of its own"
    )


def measure(options: argparse.Namespace) -> Part:
    """The forward against its backbones, float32 and bfloat16 autocast, on every device here."""
    part = Part()
    ratios = Table(
        "A forward against its two backbones alone",
        ("preset", "device", "precision", "batch", "whole / backbones", "DCT / whole", "seconds"),
        note=f"Aims for paper: at most {AIM}, and under {AIM_DCT:.0%} for the DCT. "
        "Medians with quartiles of times taken in turns.",
    )
    shares = Table("Where a forward's time goes", ("preset", "device", "part", "share"))
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for preset in options.presets.split(","):
        for device in devices:
            model = as_predicted(PRESETS[preset], device)
            plain = as_predicted(PRESETS[preset].model_copy(update={"variant": "baseline"}), device)
            image = example_batch(model, options.model_batch, device, options.native)
            for precision in precisions(device):
                with torch.inference_mode(), autocast(device, precision):
                    times = against_backbones(model, plain.side, image, options.rounds)
                whole, dct = times.ratio("whole", "encoder", "side"), times.ratio("dct", "whole")
                figures = {"batch": len(image), "size": list(image.shape[-2:])}
                figures |= {"whole_over_backbones": whole, "dct_over_whole": dct}
                figures |= {"seconds": times}
                part.figures[f"{preset} {device} {name_of(precision)}"] = figures
                seconds = times.seconds("whole").median
                setting = (preset, device, name_of(precision), len(image))
                ratios.rows.append((*setting, whole, dct, seconds))
            with torch.inference_mode():
                found = profile(model, image)
            part.figures[f"{preset} {device} float32"]["shares"] = found
            shares.rows += [(preset, device, name, f"{share:.1%}") for name, share in found.items()]
    part.tables = [ratios, shares]
    return part


def as_predicted(config: ModelConfig, device: str) -> Fasa:
    """An untrained model as every prediction has it: saved, and read by the Predictor."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(prefix="fasa-speed-") as folder:
        path = Path(folder) / "untrained.safetensors"
        save_model(Fasa(config), path)
        return Predictor.from_checkpoint(path, device).model


def example_batch(model: Fasa, batch: int, device: str, native: str) -> Tensor:
    """Noise in [0, 1] at the size at which the preset works, by default at `native`."""
    height, width = map(int, native.split("x"))
    size = model.working_size(height, width)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, 3, *size, generator=generator).to(device)


def precisions(device: str) -> tuple[torch.dtype, ...]:
    return (torch.float32, torch.bfloat16, torch.float16)[: 3 if device == "cuda" else 1]


def autocast(device: str, precision: torch.dtype) -> torch.autocast:
    lower = precision != torch.float32
    return torch.autocast(device, precision if lower else None, enabled=lower)


def name_of(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def against_backbones(
    model: Fasa, side: ResidualSide | ConvNextSide, image: Tensor, rounds: int
) -> Times:
    """Times of `whole`, `encoder`, `side` and `dct`, at the same batch and in the same precision.

    The backbones get what they would get in the model, at their own sizes and ready made. `side` is
    one with three input channels, as it is without FASA.
    """
    device = image.device
    side_of_encoder = model.config.encoder.size
    small = torch.rand(len(image), 3, side_of_encoder, side_of_encoder, device=device)
    large = image.contiguous(memory_format=torch.channels_last)
    normalised = model.normalise(image)
    return in_turns(
        {
            "whole": lambda: model(image),
            "encoder": lambda: model.encoder.tokens(small),
            "side": lambda: side(large, image, lambda features, index: features),
            "dct": lambda: model.frequency(normalised),
        },
        rounds,
        clock=default_clock(),
        synchronise=waiter(device),
    )


def waiter(device: torch.device) -> Callable[[], None]:
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


# --- Where the time goes --------------------------------------------------------------------


def profile(model: Fasa, image: Tensor, forwards: int = 3) -> dict[str, float]:
    """Each part's share of the time of a forward; `rest` is resizing, padding and the like."""
    model(image)
    wait = waiter(image.device)
    parts: dict[str, nn.Module] = {
        name: child
        for name, child in model.named_children()
        if not isinstance(child, nn.ModuleList) and name != "side"
    }
    for name, block in (("side", model.side), ("adapters", getattr(model, "adapters", None))):
        for index, child in enumerate(block.children() if block is not None else ()):
            if isinstance(child, nn.ModuleList):
                parts |= {f"{name}, stage {i + 1}": stage for i, stage in enumerate(child)}
            else:
                label = "stem" if name == "side" and index == 0 else f"stage {index + 1}"
                parts[f"{name}, {label}"] = child
    spent = dict.fromkeys(parts, 0.0)
    with timed(parts, spent, wait):
        wait()
        start = time.perf_counter()
        for _ in range(forwards):
            model(image)
        wait()
        total = time.perf_counter() - start
    shares = {name: seconds / total for name, seconds in spent.items()}
    return {name: round(share, 4) for name, share in shares.items()} | {
        "rest": round(1 - sum(shares.values()), 4)
    }


@contextmanager
def timed(
    parts: dict[str, nn.Module], spent: dict[str, float], wait: Callable[[], None]
) -> Iterator[None]:
    """Add up the seconds that are spent in each module."""
    started: dict[str, float] = {}

    def begin(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            wait()
            started[name] = time.perf_counter()

        return hook

    def end(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            wait()
            spent[name] += time.perf_counter() - started[name]

        return hook

    handles = []
    for name, module in parts.items():
        handles.append(module.register_forward_pre_hook(begin(name)))
        handles.append(module.register_forward_hook(end(name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""Samples per second of training on a CPU, and the memory that a step of `paper` takes."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Part, Table, Times, default_clock, in_turns
from photos import make_photos
from speed_model import autocast, name_of
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fasa_cli.config import PRESETS, FasaConfig, ModelConfig, config_from_dict
from fasa_cli.data.photos import PhotoPool
from fasa_cli.model import frequency
from fasa_cli.model.backbones import ConvNextSide
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.losses import FasaLoss
from fasa_cli.training.processes import Processes
from fasa_cli.training.sources import Sources
from fasa_cli.training.trainer import Progress, Trainer

BATCH = 32  # section 4.1
NATIVE = 128  # pixels, a side where a preset has no size of its own


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--train-preset", default="compact", help="that is trained for a while")
    parser.add_argument("--train-steps", type=int, default=12, help="how many steps")
    parser.add_argument("--train-batch", type=int, default=8)
    parser.add_argument("--train-crop", type=int, default=320, help="pixels")
    parser.add_argument("--train-workers", type=int, default=2, help="processes making samples")
    parser.add_argument("--step-preset", default="paper", help="whose step's memory is estimated")


def measure(options: argparse.Namespace) -> Part:
    part = Part()
    throughput(options, part)
    step_memory(options, part)
    return part


# --- Throughput -----------------------------------------------------------------------------


def throughput(options: argparse.Namespace, part: Part) -> None:
    """Train through the real Trainer, on forgeries made of generated photos."""
    config = config_from_dict(
        {
            "model": {"preset": options.train_preset},
            "data": {"crop": options.train_crop, "workers": options.train_workers},
            "training": {
                "epochs": 1,
                "samples_per_epoch": options.train_steps * options.train_batch,
                "batch": options.train_batch,
                "warmup_steps": 1,
            },
        }
    )
    seen: list[Progress] = []
    with tempfile.TemporaryDirectory(prefix="fasa-training-") as text:
        make_photos(Path(text) / "photos", 24, (0.3, 1), seed=0)
        sources = Sources(PhotoPool(Path(text) / "photos"))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trainer = Trainer(config, sources, Path(text) / "run", Processes(device))
        trainer.fit(seen.append)
    last = seen[-1]
    part.figures["throughput"] = figures = {
        "preset": options.train_preset,
        "device": str(device),
        "batch": options.train_batch,
        "crop": options.train_crop,
        "workers": config.data.workers,
        "steps": len(seen),
        "samples_per_second": round(last.samples_per_second, 3),
        "data_wait_share": round(last.data_wait_share, 4),
    }
    table = Table("Training", ("preset", "device", "batch", "crop", "samples/s", "data wait"))
    wait = f"{last.data_wait_share:.1%}"
    setting = [figures[key] for key in ("preset", "device", "batch", "crop")]
    table.rows.append((*setting, last.samples_per_second, wait))
    part.tables.append(table)


# --- The memory of a step -------------------------------------------------------------------


def step_memory(options: argparse.Namespace, part: Part) -> None:
    """What a step at batch 32 takes, plain and with activation checkpointing; measured on a GPU."""
    torch.manual_seed(0)
    model = Fasa(PRESETS[options.step_preset]).train()
    fixed = fixed_bytes(model)
    table = Table(
        f"Memory of a training step of {options.step_preset}, {BATCH} images",
        ("precision", "checkpointing", "weights etc. GB", "activations GB", "sum GB", "MB / image"),
        note="Activations: what autograd keeps for the backward pass, added up without computing "
        "it. Not in it: workspaces and what the backward pass itself makes.",
    )
    part.figures["step_memory"] = figures = {"preset": options.step_preset, "fixed_bytes": fixed}
    ways = (False, True) if isinstance(model.side, ConvNextSide) else (False,)
    for precision in (torch.float32, torch.bfloat16):
        for checkpointed in ways:
            kept = {
                count: kept_bytes(model, count, precision, checkpointed) for count in (1, BATCH)
            }
            total = sum(fixed.values()) + kept[BATCH]
            name = f"{name_of(precision)}, {'checkpointed' if checkpointed else 'plain'}"
            figures[name] = {
                "activation_bytes_at_1": kept[1],
                "activation_bytes": kept[BATCH],
                "sum_bytes": total,
                "measured_bytes": measured_peak(options.step_preset, precision, checkpointed),
            }
            if measured := figures[name]["measured_bytes"]:
                table.note += f" Measured on CUDA, {name}: {measured / 1e9:.1f} GB."
            sizes = [size / 1e9 for size in (sum(fixed.values()), kept[BATCH], total)]
            per_image = (kept[BATCH] - kept[1]) / (BATCH - 1) / 1e6
            table.rows.append((name_of(precision), checkpointed, *sizes, per_image))
    if len(ways) > 1:
        figures["seconds"] = times = step_times(model, options.rounds)
        figures["checkpointed_over_plain"] = ratio = times.ratio("checkpointed", "plain")
        table.note += f" A checkpointed step takes {ratio} times as long (CPU, batch 1, float32)."
    part.tables.append(table)


def fixed_bytes(model: Fasa) -> dict[str, int]:
    """Weights and their averages in float32, gradients, and AdamW's two moments."""
    every = sum(tensor.numel() for tensor in model.state_dict().values())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    averages = every - sum(p.numel() for p in model.parameters() if not p.requires_grad)
    return {
        "weights": 4 * every,
        "averages": 4 * averages,  # what is frozen is shared
        "gradients": 4 * trained,
        "moments": 8 * trained,
    }


def kept_bytes(model: Fasa, batch: int, precision: torch.dtype, checkpointed: bool) -> int:
    """Bytes that a forward pass with its loss keeps for the backward pass, each storage once.

    Weights are not counted; images and targets, which are there anyway, are. The tensors have
    shapes but no contents, so that this takes neither the memory nor the time.
    """
    forget_matrices()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as fake:
            weights = [*model.parameters(), *model.buffers()]
            weights += [fake.from_tensor(tensor) for tensor in weights]  # as operations see them
            own = {tensor.untyped_storage()._cdata for tensor in weights}
            kept: dict[int, tuple[int, Tensor]] = {}

            def keep(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                if storage._cdata not in own:
                    kept[storage._cdata] = (
                        storage.nbytes(),
                        tensor,
                    )  # held, so that none is reused
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                forward_loss(model, batch, precision, checkpointed)
            return sum(size for size, _ in kept.values())
    finally:
        forget_matrices()


def forget_matrices() -> None:
    """Matrices with and without contents must not be mistaken for each other."""
    for value in vars(frequency).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


def forward_loss(
    model: Fasa, batch: int, precision: torch.dtype, checkpointed: bool, device: str = "cpu"
) -> Tensor:
    if isinstance(model.side, ConvNextSide):
        model.side.recompute_blocks(checkpointed)
    image, target = example(model.config, batch, device)
    with autocast(device, precision):
        output = model(image)
    return FasaLoss(FasaConfig().training.loss)(output, target).total


def example(config: ModelConfig, batch: int, device: str) -> tuple[Tensor, Tensor]:
    side = config.input_size or NATIVE
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(batch, 3, side, side, generator=generator)
    target = torch.zeros(batch, 1, side, side)
    target[..., : side // 2, : side // 3] = 1
    return image.to(device).contiguous(memory_format=torch.channels_last), target.to(device)


def step_times(model: Fasa, rounds: int) -> Times:
    """Forward and backward, with and without checkpointing, in turns at batch 1."""

    def step(checkpointed: bool) -> Callable[[], None]:
        def run() -> None:
            model.zero_grad(set_to_none=True)
            forward_loss(model, 1, torch.float32, checkpointed).backward()

        return run

    functions = {"plain": step(False), "checkpointed": step(True)}
    return in_turns(functions, max(2, rounds // 2), clock=default_clock())


def measured_peak(preset: str, precision: torch.dtype, checkpointed: bool) -> int | None:
    """The peak of a real step at batch 32 on CUDA; None without it, or where it does not fit."""
    if not torch.cuda.is_available():
        return None
    model = Fasa(PRESETS[preset]).train().to("cuda", memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    try:
        for _ in range(2):  # the moments are there from the second step on
            torch.cuda.reset_peak_memory_stats()
            optimizer.zero_grad(set_to_none=True)
            forward_loss(model, BATCH, precision, checkpointed, "cuda").backward()
            optimizer.step()
        return torch.cuda.max_memory_allocated()
    except torch.cuda.OutOfMemoryError:
        return None

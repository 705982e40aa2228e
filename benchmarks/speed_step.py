"""The memory of a training step of `paper` at batch 32, plain and with activation checkpointing."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measuring import Part, Table, Times, default_clock, in_turns
from speed_model import autocast, name_of
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fasa_cli.config import PRESETS, FasaConfig, ModelConfig
from fasa_cli.model import frequency
from fasa_cli.model.backbones import ConvNextSide
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.losses import FasaLoss
from fasa_cli.training.memory import fixed_bytes

BATCH = 32  # section 4.1
NATIVE = 128  # pixels, a side where a preset has no size of its own


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--step-preset", default="paper", help="whose step it is")


def measure(options: argparse.Namespace) -> Part:
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
    figures: dict[str, Any] = {"preset": options.step_preset, "fixed_bytes": fixed}
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
    return Part(figures, [table])


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

"""The optimiser, its schedule, averaged weights and precision (section 4.1)."""

from __future__ import annotations

import math

import torch
from torch import nn

from fasa_cli.config import TrainingConfig
from fasa_cli.errors import ConfigError
from fasa_cli.model.fasa import Fasa


def build_optimizer(model: Fasa, training: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW in three groups (section 4.1): decayed, not decayed, and the DCT's cutoffs.

    Ours: vectors (norms, biases, prototypes) are not decayed; the cutoffs have a rate of their own,
    since at the common one they hardly move.
    """
    groups: dict[str, list[nn.Parameter]] = {"decayed": [], "plain": [], "cutoffs": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("cutoff_logits"):
            groups["cutoffs"].append(parameter)
        else:
            groups["decayed" if parameter.ndim > 1 else "plain"].append(parameter)
    rates = {"cutoffs": training.cutoff_learning_rate}
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates.get(name, training.learning_rate),
                "peak": rates.get(name, training.learning_rate),
                "weight_decay": training.weight_decay if name == "decayed" else 0.0,
            }
            for name, parameters in groups.items()
            if parameters
        ]
    )


def schedule(step: int, steps: int, warmup: int) -> float:
    """The learning rate's share of its peak: a linear warm-up, then a cosine to 0 (section 4.1)."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `averaged` towards `model`; early on faster, so that the random start is forgotten.

    What both share, such as a frozen encoder, stays as it is.
    """
    decay = min(decay, (1 + step) / (10 + step))
    own = averaged.state_dict()
    for name, tensor in model.state_dict().items():
        if own[name].data_ptr() == tensor.data_ptr():
            continue
        if tensor.is_floating_point():
            own[name].lerp_(tensor, 1 - decay)
        else:
            own[name].copy_(tensor)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the forward pass: `auto` is bfloat16 on a CUDA device that has it."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in precisions:
        raise ConfigError(f"training.precision: {name!r}; use auto, float32 or bfloat16")
    return precisions[name]

"""What training resumes from, as tensors: both models, the optimiser, step and best score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fasa_cli.model.fasa import Fasa


class Place(NamedTuple):
    """How far a run is: steps done, and the best validation score so far."""

    step: int
    best: float


def has_frozen_encoder(model: Fasa) -> bool:
    """Whether the encoder stays as it was at the start."""
    return model.config.includes("psa") and model.config.encoder.frozen


def state_tensors(
    place: Place, model: Fasa, averaged: Fasa, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Everything that `restore` needs, by name."""
    tensors = {
        "step": torch.tensor(place.step),
        "best": torch.tensor(place.best, dtype=torch.float64),
    }
    for part, module in (("model", model), ("averaged", averaged)):
        own = _own_state(module, has_frozen_encoder(model))
        tensors |= {f"{part}.{name}": value for name, value in own.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def restore(
    tensors: Mapping[str, Tensor], model: Fasa, averaged: Fasa, optimizer: torch.optim.Optimizer
) -> Place:
    """Put models and optimiser back as `state_tensors` found them."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, dot, rest = name.partition(".")
        if dot:
            parts[part][rest] = tensor
    for part, module in (("model", model), ("averaged", averaged)):
        module.load_state_dict({**module.state_dict(), **parts[part]})
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return Place(int(tensors["step"]), float(tensors["best"]))


def _own_state(module: nn.Module, without_encoder: bool) -> dict[str, Tensor]:
    """Without a frozen encoder, which is the same in every run that starts like this one."""
    return {
        name: value
        for name, value in module.state_dict().items()
        if not (without_encoder and name.startswith("encoder."))
    }

"""One process, or several that train one model together, started by torchrun.

    torchrun --nproc-per-node 4 -m fasa_cli train ...

Gradients are averaged by DistributedDataParallel. Batch norm sees the whole batch on CUDA
(SyncBatchNorm); elsewhere, where PyTorch has none, each process normalises by its own share of a
batch, and the first one's running statistics are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fasa_cli.errors import ConfigError
from fasa_cli.predictor import resolve_device

_T = TypeVar("_T")
_M = TypeVar("_M", bound=nn.Module)

# The first process reads all data before training, and the others wait for it.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Processes:
    """This process's place (`rank`) among the `count` that train together, and its device."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The module whose backward pass averages gradients over the processes."""
        if self.count == 1:
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def with_shared_norms(self, model: _M) -> _M:
        """The model, with batch norms over all processes where PyTorch has them."""
        if self.count > 1 and self.device.type == "cuda":
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def gather(self, value: _T) -> list[_T]:
        """The values of all processes, in their order."""
        if self.count == 1:
            return [value]
        values: list[_T] = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: _T) -> _T:
        """The first process's value."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, device=self.device)
        return values[0]

    def copy_from_first(self, model: nn.Module) -> None:
        """Give all processes the first one's weights and statistics."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among those that torchrun started; alone where it was started by itself.

    Raises:
        DeviceError: `device` is not there.
        ConfigError: several processes are to train on one device, or on mps.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(resolve_device(device))
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = resolve_device(device)
    if chosen.type == "mps":
        raise ConfigError("several processes train on cuda or cpu; give --device")
    if chosen.type == "cuda":
        if chosen.index is not None:
            raise ConfigError(f"--device {device}: torchrun gives each process its own; use cuda")
        chosen = resolve_device(f"cuda:{local}")
        torch.cuda.set_device(chosen)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Processes(chosen, rank, count)
    finally:
        dist.destroy_process_group()

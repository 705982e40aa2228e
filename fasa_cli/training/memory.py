"""What memory a training step takes, counted before the first one, against what is free.

A step that does not fit ends without a word where the system ends the process (Linux), or at night.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from fasa_cli.config import FasaConfig
from fasa_cli.environment import free_memory
from fasa_cli.errors import ConfigError
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.losses import FasaLoss
from fasa_cli.text import gigabytes
from fasa_cli.training.samples import usable_workers

# Ours: what the backward pass and kernels take beside what is kept (measured on a CPU: 83 MB an
# image of `compact`, of which 61 are kept)
_WORKSPACE = 1.35
PREFETCHED = 4  # batches per worker, as the loader is told
_WORKER = 150_000_000  # bytes of a process that makes samples, beside what it shares


@dataclass(frozen=True)
class Need:
    """Bytes that a process of a training takes beside its weights, which are loaded already:
    `fixed` whatever the batch, and `per_sample` of a part of it."""

    fixed: int
    per_sample: int

    def of(self, samples: int) -> int:
        """In all, where `samples` pass through the network at a time."""
        return self.fixed + samples * self.per_sample


def fit_to_memory(
    model: Fasa, config: FasaConfig, precision: torch.dtype, device: torch.device, processes: int
) -> tuple[int, str | None]:
    """(into how many parts a process takes its share of a batch, what was changed in a sentence).

    Without batch norm, parts change no gradient, and there are as many as must be. With it,
    `training.accumulate` stays as it is.

    Raises:
        ConfigError: the step does not fit; the message has the numbers and what would.
    """
    training = config.training
    share = training.batch // processes
    free = free_on(device)
    need = need_of(model, config, precision, processes)
    on_this_machine = processes if device.type == "cpu" else 1
    if free is None or on_this_machine * need.of(share // training.accumulate) <= free:
        return training.accumulate, None
    numbers = (
        f"a step with {share // training.accumulate} images at a time needs about "
        f"{gigabytes(on_this_machine * need.of(share // training.accumulate))} of memory, and "
        f"{gigabytes(free)} are free on {device}"
    )
    fitting = next(
        (
            parts
            for parts in range(training.accumulate, share + 1)
            if share % parts == 0 and on_this_machine * need.of(share // parts) <= free
        ),
        None,
    )
    if fitting is None:
        least = gigabytes(on_this_machine * need.of(1))
        raise ConfigError(
            f"{numbers}; even one image at a time needs {least}. Take --recipe compact, a smaller "
            f"--set data.crop=... (now {config.data.crop}), or a device with more memory"
        )
    if has_batch_norm(model):
        smaller = max(
            size
            for size in range(1, share + 1)
            if on_this_machine * need.of(size) <= free and size <= share // training.accumulate
        )
        raise ConfigError(
            f"{numbers}; a batch of {smaller * processes * training.accumulate} fits (--batch "
            f"{smaller * processes * training.accumulate}), or the same one in {fitting} parts, "
            f"with batch norm over each (--set training.accumulate={fitting})"
        )
    return fitting, f"{numbers}: each batch is taken in {fitting} parts, with the same gradient"


def free_on(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def need_of(model: Fasa, config: FasaConfig, precision: torch.dtype, processes: int = 1) -> Need:
    """What a process needs, by a forward pass of as few images as there can be."""
    images = 2 if has_batch_norm(model) else 1
    per_sample = int(_WORKSPACE * kept_bytes(model, config, images, precision) / images)
    fixed = fixed_bytes(model)
    del fixed["weights"]
    batch = config.training.batch // processes * config.data.crop**2 * 4
    beside = usable_workers(config.data.workers) * (_WORKER + PREFETCHED * batch)
    return Need(sum(fixed.values()) + (beside if device_of(model) == "cpu" else 0), per_sample)


def has_batch_norm(model: Fasa) -> bool:
    """Whether what is trained normalises by the batch, so that its size decides an answer."""
    return any(isinstance(part, _BatchNorm) and part.training for part in model.modules())


def device_of(model: Fasa) -> str:
    """The kind of device that a model lies on."""
    return next(model.parameters()).device.type


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


def kept_bytes(model: Fasa, config: FasaConfig, batch: int, precision: torch.dtype) -> int:
    """Bytes that a forward pass with its loss keeps for the backward pass, each storage once.

    Weights are not counted; images and targets, which are there anyway, are. Statistics of
    the model and the state of random numbers are afterwards as they were before.
    """
    side, device = config.data.crop, next(model.parameters()).device
    own = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:  # the tensor is held, so that no place is reused
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        image = torch.rand(batch, 3, side, side, device=device)
        image = image.contiguous(memory_format=torch.channels_last)
        target = torch.zeros(batch, 1, side, side, device=device)
        target[:, :, : side // 2] = 1
        lower = precision != torch.float32
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast(device.type, precision, enabled=lower):
                output = model(image)
            FasaLoss(config.training.loss)(output, target, float(batch))
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(buffers[name])
    return sum(size for size, _ in kept.values())

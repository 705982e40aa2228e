"""From a model to a checkpoint and back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import fuse_conv_bn_eval

from fasa_cli.checkpoint import Checkpoint, EncoderReference, write_checkpoint
from fasa_cli.config import PostprocessConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.model.fasa import Fasa

ENCODER_PREFIX = "encoder."


def save_model(
    model: Fasa,
    path: Path,
    *,
    half: bool = False,
    training: dict[str, Any] | None = None,
    postprocess: PostprocessConfig | None = None,
) -> str:
    """Write `model` with its configuration; returns the file's sha256.

    A frozen encoder that a library or a file can bring back is not stored but named with its
    hash. `half` stores parameters in float16; running statistics stay float32, since a variance
    can leave float16's range.
    """
    tensors = dict(model.state_dict())
    reference = _external_encoder(model)
    if reference is not None:
        tensors = {
            name: tensor for name, tensor in tensors.items() if not name.startswith(ENCODER_PREFIX)
        }
    if half:
        parameters = {name for name, _ in model.named_parameters()}
        tensors = {
            name: tensor.half() if name in parameters else tensor
            for name, tensor in tensors.items()
        }
    checkpoint = Checkpoint(
        model.config,
        tensors,
        reference,
        training or {},
        postprocess=postprocess or PostprocessConfig(),
    )
    return write_checkpoint(path, checkpoint)


def build_model(checkpoint: Checkpoint, encoder_weights: str | None = None) -> Fasa:
    """The model of a checkpoint, float32, on the CPU, in eval mode.

    `encoder_weights` says where an encoder that the checkpoint only names is to be had; by default
    where it came from when the checkpoint was made.

    Raises:
        CheckpointError: the weights do not fit their configuration, or the encoder is another.
    """
    reference = checkpoint.encoder
    source = encoder_weights or (reference.source if reference else None)
    model = Fasa(checkpoint.config, encoder_weights=source if reference else None)
    missing, unexpected = _load(model, checkpoint)
    if reference is not None:
        missing = [name for name in missing if not name.startswith(ENCODER_PREFIX)]
    if missing or unexpected:
        first = (missing or unexpected)[0]
        raise CheckpointError(
            f"{checkpoint.path}: {len(missing)} tensors are missing and {len(unexpected)} are not "
            f"known for preset {checkpoint.config.preset!r} (such as {first!r})"
        )
    if reference is not None and model.encoder.sha256() != reference.sha256:
        raise CheckpointError(
            f"{source}: not the encoder that {checkpoint.path} was trained with "
            f"(sha256 {reference.sha256[:12]}... expected)"
        )
    return model.eval()


def speed_up(model: nn.Module) -> None:
    """Make a model answer sooner, in place, and the same but for rounding.

    Batch norms are folded into the convolutions before them, and convolutions get their weights in
    the order of memory in which the features lie (channels last). For a model in eval mode that
    will only answer: its tensors are no longer those of its checkpoint.
    """
    for sequence in [part for part in model.modules() if isinstance(part, nn.Sequential)]:
        for index, (layer, norm) in enumerate(pairwise(sequence)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index] = fuse_conv_bn_eval(layer, norm)
                sequence[index + 1] = nn.Identity()
    model.to(memory_format=torch.channels_last)


def _external_encoder(model: Fasa) -> EncoderReference | None:
    """Only frozen weights with a source can be left out; others could come from nowhere else."""
    if not model.config.includes("psa"):
        return None
    source = model.encoder.source
    if source is None or not model.config.encoder.frozen:
        return None
    return EncoderReference(source, model.encoder.sha256())


def _load(model: Fasa, checkpoint: Checkpoint) -> tuple[list[str], list[str]]:
    own = model.state_dict()
    tensors = {
        name: tensor.to(own[name].dtype) if name in own else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    try:
        with torch.no_grad():
            result = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{checkpoint.path}: tensors do not fit the configuration ({reason})"
        ) from error
    return list(result.missing_keys), list(result.unexpected_keys)

"""Weights and configuration in one safetensors file. Nothing is ever unpickled.

The configuration travels in the file's metadata under the one key `fasa`, as JSON, so that a
checkpoint is all that is needed to rebuild the model.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fasa_cli import __version__
from fasa_cli.config import ModelConfig, PostprocessConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 3  # 1 and 2: another semantic encoder, and a decoder that read one prototype
_LONGEST_HEADER = 100 << 20  # bytes, as safetensors has it
PICKLE_STARTS = (b"\x80", b"PK")  # bare pickles and torch.save's zip archives


@dataclass(frozen=True)
class EncoderReference:
    """Frozen encoder weights that live outside the file: where from, and the hash they had."""

    source: str
    sha256: str


@dataclass(frozen=True)
class Checkpoint:
    """A weights file's content; `sha256` is over the file's bytes, "" before it is written."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    encoder: EncoderReference | None = None
    training: dict[str, Any] = field(default_factory=dict)
    tool_version: str = __version__
    sha256: str = ""
    path: Path | None = None
    postprocess: PostprocessConfig = field(default_factory=PostprocessConfig)

    def summary(self) -> dict[str, Any]:
        """Plain facts for people and programs; sizes in bytes, parameters counted in tensors."""
        stored = sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())
        return {
            "file": str(self.path) if self.path else None,
            "sha256": self.sha256,
            "preset": self.config.preset,
            "variant": self.config.variant,
            "values": sum(tensor.numel() for tensor in self.tensors.values()),
            "bytes": stored,
            "input": self.config.input_size or "native resolution",
            "encoder": (
                f"{self.encoder.source}, sha256 {self.encoder.sha256}"
                if self.encoder
                else "in this file"
            ),
            "written_by": f"fasa {self.tool_version}",
            "trained_samples": self.training.get("samples"),
        }


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> str:
    """Write atomically; returns the sha256 of the file's bytes."""
    from safetensors.torch import save

    description = {
        "format_version": FORMAT_VERSION,
        "tool_version": checkpoint.tool_version,
        "config": checkpoint.config.model_dump(mode="json"),
        "encoder": checkpoint.encoder and vars(checkpoint.encoder),
        "training": checkpoint.training,
        "postprocess": checkpoint.postprocess.model_dump(mode="json"),
    }
    tensors = {name: tensor.contiguous().cpu() for name, tensor in checkpoint.tensors.items()}
    data = save(tensors, metadata={"fasa": json.dumps(description, sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a weights file, bytes once.

    Raises:
        CheckpointError: missing, pickled, truncated, or not a fasa checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read these weights ({error.strerror})") from error
    description = _description(data, path)
    try:
        config = ModelConfig.model_validate(description["config"])
        encoder = description["encoder"]
        return Checkpoint(
            config=config,
            tensors=load(data),
            encoder=EncoderReference(**encoder) if encoder else None,
            training=description["training"],
            tool_version=description["tool_version"],
            sha256=hashlib.sha256(data).hexdigest(),
            path=path,
            postprocess=PostprocessConfig.model_validate(description["postprocess"]),
        )
    except SafetensorError as error:
        raise CheckpointError(
            f"{path}: truncated or damaged ({error}); copy or fetch it again"
        ) from error
    except (ValidationError, KeyError, TypeError) as error:
        raise _other_version(path, error) from error


def read_configuration(path: Path) -> tuple[ModelConfig, PostprocessConfig]:
    """What a weights file says of its model and of what happens after it; no tensor is loaded.

    Raises:
        CheckpointError: missing, truncated in its header, or not a fasa checkpoint.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            data = start + file.read(min(int.from_bytes(start, "little"), _LONGEST_HEADER))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read these weights ({error.strerror})") from error
    description = _description(data, path)
    try:
        return (
            ModelConfig.model_validate(description["config"]),
            PostprocessConfig.model_validate(description["postprocess"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise _other_version(path, error) from error


def _other_version(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: its configuration does not fit fasa {__version__} ({error}); "
        "it was written by another version"
    )


def _description(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON under the metadata key `fasa`; safetensors starts with its header's length."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        metadata = header.get("__metadata__", {})
    except (struct.error, ValueError, OverflowError, AttributeError) as error:
        # Only now: the length's first byte may be any, a pickle's too.
        if data.startswith(PICKLE_STARTS):
            raise CheckpointError(
                f"{path}: a pickled checkpoint, which can run code when it is opened, is refused; "
                "fasa reads safetensors only"
            ) from error
        raise CheckpointError(
            f"{path}: not a safetensors file, or cut off in its header; fetch it again"
        ) from error
    if "fasa" not in metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not one of fasa's checkpoints")
    try:
        description = json.loads(metadata["fasa"])
        version = description["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its description is damaged; fetch it again") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: checkpoint format {version}; this fasa reads format {FORMAT_VERSION}. Use "
            "the weights that come with it, train again, or use the fasa that wrote them"
        )
    return description

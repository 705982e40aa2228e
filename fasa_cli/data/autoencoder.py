"""A tiny convolutional autoencoder from a file; what it re-renders carries a decoder's artefacts.

Latent diffusion editors encode a picture to a small grid, change it there and decode it, so even
the parts that look the same come out re-rendered. A round trip alone leaves such artefacts.

The file's tensors say what the network is; they are numbered in order, as in `3.conv.0.weight`.

    N.conv.0, N.conv.2, N.conv.4   a residual block of three 3 x 3 convolutions with ReLU between;
                                   N.pool.* before it adds a wider 1 x 1 path with group norm
    N.weight with N.bias           a convolution
    N.weight alone                 a change of size by 2: down in an encoder (stride), up in a
                                   decoder (nearest, then the convolution)
    a number left out              something without weights: first of all a soft clamp of the
                                   latents, before an enlarging convolution the enlarging, else ReLU
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fasa_cli.errors import CheckpointError

_GROUPS = 4  # of the group norm; the one thing that neither names nor shapes give
_LATENT_LIMIT = 3.0  # where the soft clamp of latents levels off

_Tensors = dict[str, Tensor]


class Autoencoder(nn.Module):
    """RGB -> latents -> RGB: B x 3 x H x W in [0, 1], H and W multiples of `factor`."""

    def __init__(
        self, encoder: _Tensors, decoder: _Tensors, precision: torch.dtype = torch.float32
    ) -> None:
        """`precision` is that of the convolutions.

        Raises:
            ValueError: the tensors are not those of such a network.
        """
        super().__init__()
        self.encoder = _build(encoder, enlarges=False)
        self.decoder = _build(decoder, enlarges=True)
        halvings = sum(isinstance(layer, _Halving) for layer in self.encoder)
        doublings = sum(isinstance(layer, _Doubling) for layer in self.decoder)
        if halvings != doublings:
            raise ValueError(f"{halvings} halvings in the encoder, {doublings} doublings after")
        self.factor = 2**halvings
        self.precision = precision
        self.to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image)).clamp(0, 1)

    @property
    def sha256(self) -> str:
        """Of the weights, as hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in self.state_dict().items():
            digest.update(name.encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    def rerender(self, image: np.ndarray) -> np.ndarray:
        """H x W x 3 uint8 RGB of any size -> the same, re-rendered."""
        height, width = image.shape[:2]
        padding = (0, -width % self.factor, 0, -height % self.factor)
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        fast = self.precision != torch.float32
        with torch.inference_mode(), torch.autocast("cpu", self.precision, enabled=fast):
            batch = self(functional.pad(batch, padding, mode="replicate"))
        pixels = batch[0, :, :height, :width].float().permute(1, 2, 0) * 255
        return pixels.round().to(torch.uint8).contiguous().numpy()

    def varied(self, strength: float, rng: np.random.Generator) -> Autoencoder:
        """This autoencoder with another decoder: each weight scaled by 1 + `strength` x N(0, 1).

        Its pictures look nearly the same and carry other artefacts, as those of another generator;
        from one alone, a model would learn that one's.
        """
        other = copy.deepcopy(self)
        for weight in other.decoder.parameters():
            if weight.ndim == 4:  # of a convolution
                noise = rng.standard_normal(tuple(weight.shape), np.float32)
                weight.mul_(1 + strength * torch.from_numpy(noise))
        return other


def read_autoencoder(path: Path, precision: torch.dtype = torch.float32) -> Autoencoder:
    """Read a .safetensors file with `encoder.` and `decoder.` tensors, or one of two files.

    Of two files either is named; the other has `encoder` and `decoder` exchanged in its name.
    `precision` torch.bfloat16 is several times as fast on processors that have it.

    Raises:
        CheckpointError: a file is missing or damaged, or holds something else.
    """
    tensors = _load(path)
    parts = {part: _below(tensors, part) for part in ("encoder", "decoder")}
    if not all(parts.values()):
        parts = {part: _load(file) for part, file in _two_files(path).items()}
    try:
        return Autoencoder(parts["encoder"], parts["decoder"], precision)
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not an autoencoder that can be built ({error})") from error


def _two_files(path: Path) -> dict[str, Path]:
    for part, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if part in path.name:
            return {part: path, other: path.with_name(path.name.replace(part, other))}
    raise CheckpointError(
        f"{path}: has no tensors `encoder.` and `decoder.`; give a file with both, or one of two "
        "files that are called ...encoder... and ...decoder..."
    )


def _load(path: Path) -> _Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors ({error})") from error


def _below(tensors: _Tensors, prefix: str) -> _Tensors:
    start = prefix + "."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


# --- Layers -------------------------------------------------------------------------------------


class _Halving(nn.Sequential):
    """A convolution of stride 2."""


class _Doubling(nn.Sequential):
    """Twice the size by the nearest pixel, then a convolution."""


class _SoftClamp(nn.Module):
    """Keeps latents within what the decoder has seen."""

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(latents / _LATENT_LIMIT) * _LATENT_LIMIT


class _Residual(nn.Module):
    """Three convolutions beside an identity; `pool`, where there is one, is added before."""

    def __init__(self, tensors: _Tensors) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _convolution(tensors, "conv.0"),
            nn.ReLU(),
            _convolution(tensors, "conv.2"),
            nn.ReLU(),
            _convolution(tensors, "conv.4"),
        )
        has_skip, has_pool = "skip.weight" in tensors, "pool.0.weight" in tensors
        self.skip = _convolution(tensors, "skip") if has_skip else nn.Identity()
        self.pool = _pool(tensors) if has_pool else None

    def forward(self, features: Tensor) -> Tensor:
        if self.pool is not None:
            features = features + self.pool(features)
        return functional.relu(self.conv(features) + self.skip(features))


def _build(tensors: _Tensors, enlarges: bool) -> nn.Sequential:
    layers: dict[int, _Tensors] = defaultdict(dict)
    for name, tensor in tensors.items():
        if not (match := re.fullmatch(r"(\d+)\.(.+)", name)):
            raise ValueError(f"a tensor is called {name!r}, without a number")
        layers[int(match[1])][match[2]] = tensor
    return nn.Sequential(
        *(_layer(layers, index, enlarges) for index in range(max(layers, default=-1) + 1))
    )


def _layer(layers: dict[int, _Tensors], index: int, enlarges: bool) -> nn.Module:
    tensors = layers.get(index)
    if tensors is None:
        if index == 0:
            return _SoftClamp()
        resizes = "bias" not in layers.get(index + 1, {}) and "weight" in layers.get(index + 1, {})
        return nn.Identity() if enlarges and resizes else nn.ReLU()  # _Doubling enlarges
    if "conv.0.weight" in tensors:
        return _Residual(tensors)
    if "bias" in tensors:
        return _convolution(tensors, "")
    if enlarges:
        return _Doubling(nn.Upsample(scale_factor=2), _convolution(tensors, ""))
    return _Halving(_convolution(tensors, "", stride=2))


def _convolution(tensors: _Tensors, name: str, stride: int = 1) -> nn.Conv2d:
    prefix = name + "." if name else ""
    weight, bias = tensors[prefix + "weight"], tensors.get(prefix + "bias")
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=bias is not None)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias  # type: ignore[union-attr]
    return layer


def _pool(tensors: _Tensors) -> nn.Sequential:
    norm = nn.GroupNorm(_GROUPS, len(tensors["pool.1.weight"]))
    norm.weight.data, norm.bias.data = tensors["pool.1.weight"], tensors["pool.1.bias"]
    first, last = _convolution(tensors, "pool.0"), _convolution(tensors, "pool.3")
    return nn.Sequential(first, norm, nn.ReLU(), last)

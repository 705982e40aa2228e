"""The two backbones: the semantic encoder (section 3.2) and the side backbone (section 3.3).

`paper` takes both from well-kept libraries, imported only where they are built; `compact` and
`tiny` are plain convolutions, so that scanning with the shipped weights needs neither library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import EncoderConfig, SideConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.model.semantics import mean_text_embeddings

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEEPEST_STRIDE = 32  # of a side backbone's stages, in pixels
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Normalise(nn.Module):
    """RGB in [0, 1] -> the statistics a backbone was trained with."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """B x 3 x H x W -> the same shape."""
        return (image - self.mean) / self.std


# --- Semantic encoders: image -> patch tokens of the selected blocks ---------------------------


class SemanticEncoder(nn.Module):
    """Resizes the image to the encoder's size and returns the selected blocks' patch tokens.

    Subclasses give `tokens`. `source` names where frozen weights came from outside our own
    checkpoint (a library's pretrained tag or a file), or is None.
    """

    width: int  # channels of one block's tokens
    source: str | None = None
    text_embeddings: Tensor | None = None  # 2 x D where the encoder has a text tower

    def __init__(self, config: EncoderConfig, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.config = config
        self.normalise = Normalise(mean, std)

    def tokens(self, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """Normalised B x 3 x size x size -> one B x L x C per selected block, and the grid."""
        raise TypeError(f"{type(self).__name__} gives no tokens")

    def forward(self, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """RGB in [0, 1], B x 3 x H x W of any size."""
        side = self.config.size
        image = F.interpolate(
            image, (side, side), mode="bilinear", align_corners=False, antialias=True
        )
        image = self.normalise(image)
        if not self.config.frozen:
            return self.tokens(image)
        with torch.no_grad():
            return self.tokens(image)

    def train(self, mode: bool = True) -> SemanticEncoder:
        """A frozen encoder stays in eval mode whatever is asked of the model around it."""
        super().train(mode and not self.config.frozen)
        return self

    def freeze(self) -> None:
        """Take the encoder out of training where its configuration says so."""
        if self.config.frozen:
            self.requires_grad_(False)
            self.eval()

    def sha256(self) -> str:
        """Hash over the encoder's weights: names, shapes and values."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class OpenClipEncoder(SemanticEncoder):
    """A CLIP image tower through open_clip (section 4.1: ViT-L/14)."""

    def __init__(self, config: EncoderConfig, pretrained: str | None = None) -> None:
        """`pretrained` is open_clip's tag (such as "openai") or a file; None: random weights.

        Raises:
            CheckpointError: the weights cannot be loaded.
        """
        super().__init__(config, CLIP_MEAN, CLIP_STD)
        refuse_pickles(pretrained)
        import open_clip

        try:
            clip = open_clip.create_model(
                config.name,
                pretrained=pretrained,
                force_image_size=config.size,
                require_pretrained=pretrained is not None,
            )
        except (RuntimeError, OSError, ValueError, FileNotFoundError) as error:
            raise CheckpointError(
                f"{pretrained or config.name}: open_clip cannot load this encoder ({error}); "
                "give a local file of its weights, or pull them once with a network"
            ) from error
        self.adopt(clip, open_clip.get_tokenizer(config.name), pretrained)

    def adopt(self, clip: nn.Module, tokenize: object, source: str | None) -> None:
        """Keep the image tower of `clip`; its text tower only gives the prototypes' start."""
        self.visual: nn.Module = clip.visual  # type: ignore[assignment]
        self.width = self.visual.transformer.width  # type: ignore[union-attr,assignment]
        self.source = source
        if source is not None:
            groups = (self.config.real_prompts, self.config.fake_prompts)
            self.text_embeddings = mean_text_embeddings(clip, tokenize, groups)
        self.freeze()

    def tokens(self, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """See `SemanticEncoder.tokens`. Block numbers count from 1, as in the paper's ViT."""
        maps = self.visual.forward_intermediates(  # type: ignore[operator]
            image,
            indices=[block - 1 for block in self.config.blocks],
            intermediates_only=True,
            output_fmt="NCHW",
        )["image_intermediates"]
        return [one.flatten(2).transpose(1, 2) for one in maps], maps[0].shape[-2:]


class ConvolutionalEncoder(SemanticEncoder):
    """A small encoder for `compact`: a stride-16 convolutional stem, then residual blocks.

    Ours: CLIP is far over a laptop's budget. As in a ViT, every block keeps the patch grid, so
    blocks can be selected and concatenated alike.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, IMAGENET_MEAN, IMAGENET_STD)
        *stem, self.width = config.widths
        channels = (3, *stem, self.width)
        self.stem = nn.Sequential(
            *(_conv(channels[i], channels[i + 1], stride=2) for i in range(len(channels) - 1))
        )
        self.blocks = nn.ModuleList(ResidualBlock(self.width) for _ in range(max(config.blocks)))
        self.freeze()

    def tokens(self, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """See `SemanticEncoder.tokens`."""
        features = self.stem(image)
        selected = []
        for number, block in enumerate(self.blocks, start=1):
            features = block(features)
            if number in self.config.blocks:
                selected.append(features.flatten(2).transpose(1, 2))
        return selected, (features.shape[-2], features.shape[-1])


def build_encoder(config: EncoderConfig, pretrained: str | None = None) -> SemanticEncoder:
    """The semantic encoder that `config` names; see the classes for `pretrained`."""
    if config.kind == "open_clip":
        return OpenClipEncoder(config, pretrained)
    return ConvolutionalEncoder(config)


# --- Side backbones: the 9-channel input -> features at four stages ----------------------------


class SideBackbone(Protocol):
    """A stem and stages that run one after the other, so that each can be injected into (Eq. 5)."""

    widths: tuple[int, ...]

    def steps(self) -> Iterator[nn.Module]:
        """The stages in order; the stem belongs to the first."""


class ResidualSide(nn.Module):
    """A plain residual network for `compact`: stages at strides 4, 8, 16, 32.

    Ours: batch norm and 3x3 convolutions train and run fastest on a CPU, and batch norm folds into
    them at inference. The stem works at stride 2, not 4, so that pixel-level traces get a
    non-linear look before they are averaged away.
    """

    STRIDES = (4, 8, 16, DEEPEST_STRIDE)

    def __init__(self, config: SideConfig, in_channels: int) -> None:
        super().__init__()
        self.widths = config.widths
        stem_width = config.widths[0] // 2
        self.stem = ResidualStem(in_channels, stem_width, config.energy_width)
        incoming = (stem_width, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                _conv(before, width, stride=2),
                *(
                    ResidualBlock(width, config.context, config.reach, DEEPEST_STRIDE // stride)
                    for _ in range(depth)
                ),
            )
            for before, width, depth, stride in zip(
                incoming, config.widths, config.depths, self.STRIDES, strict=True
            )
        )

    def steps(self) -> Iterator[nn.Module]:
        """See `SideBackbone`."""
        yield nn.Sequential(self.stem, self.stages[0])
        yield from self.stages[1:]


_STRIP_ROWS = 256  # of pixels, even


class ResidualStem(nn.Module):
    """The first look at the pixels, at stride 2: convolutions, and trace energy where asked for."""

    def __init__(self, in_channels: int, width: int, energy_width: int = 0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _conv(in_channels, width, kernel=5, stride=2), _conv(width, width)
        )
        self.energy = TraceEnergy(in_channels, energy_width) if energy_width else None
        self.mix = _conv(width + energy_width, width) if energy_width else None

    def forward(self, image: Tensor) -> Tensor:
        """B x C x H x W, even sides -> B x width x H/2 x W/2."""
        if self.training:
            return self._look(image)
        # In strips: of a large photo nothing else would take so much memory. The same numbers,
        # since a position sees 6 pixels around it and a strip 16 more than it answers for.
        height = image.shape[2]
        strips = []
        for top in range(0, height, _STRIP_ROWS):
            start, stop = max(0, top - 16), top + _STRIP_ROWS
            rows = self._look(image[:, :, start : stop + 16])[:, :, (top - start) // 2 :]
            strips.append(rows[:, :, : _STRIP_ROWS // 2])
        return torch.cat(strips, dim=2)

    def _look(self, image: Tensor) -> Tensor:
        features = self.layers(image)
        if self.energy is None or self.mix is None:
            return features
        return self.mix(torch.cat([features, self.energy(image)], dim=1))


class TraceEnergy(nn.Module):
    """How strongly learned high-pass filters answer around each position, as a logarithm.

    Ours: noise, resampling and compression are differences of a few grey levels under contents of
    a hundred; what tells a region's history is not the sign of such a residual but its local
    strength, and by what factor it departs from the rest. A plain network takes very long to find
    such features behind the contents; given them, it learns traces from the first thousand samples
    (benchmarks/accuracy.md). The filters sum to zero, so that flat colour and brightness drop out.
    """

    FLOOR = 1e-2  # in units of the normalised input, about half a grey level: quiet areas are equal

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.filters = nn.Conv2d(in_channels, width, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, image: Tensor) -> Tensor:
        """B x C x H x W, even sides -> B x width x H/2 x W/2, normalised log-energy."""
        weight = self.filters.weight
        response = F.conv2d(image, weight - weight.mean((2, 3), keepdim=True), padding=2)
        # In place: at full resolution, so many channels cost more to allot than to compute.
        energy = F.avg_pool2d(response.abs_().float(), 4, stride=2, padding=1)
        return self.norm(torch.log(energy + self.FLOOR))


class ConvNextSide(nn.Module):
    """ConvNeXt through timm (section 4.1: ConvNeXt-Base), its stem widened for the bands."""

    def __init__(self, config: SideConfig, in_channels: int, pretrained: str | None = None) -> None:
        """`pretrained` is "timm" for the library's own weights, or a file; None: random.

        Raises:
            CheckpointError: the weights cannot be loaded.
        """
        super().__init__()
        refuse_pickles(pretrained)
        import timm

        local = {"file": pretrained} if pretrained not in (None, "timm") else None
        try:
            backbone: Any = timm.create_model(
                config.name,
                pretrained=pretrained is not None,
                pretrained_cfg_overlay=local,
                num_classes=0,
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise CheckpointError(
                f"{pretrained or config.name}: timm cannot load this backbone ({error}); "
                "give a local file of its weights, or pull them once with a network"
            ) from error
        first, *rest = backbone.stem
        self.stem = nn.Sequential(widen_convolution(first, in_channels), *rest)
        self.stages = nn.ModuleList(backbone.stages)
        self.widths = tuple(info["num_chs"] for info in backbone.feature_info)

    def recompute_blocks(self, wanted: bool = True) -> None:
        """For training: keep each block's input only, and compute the block again backwards."""
        for stage in self.stages:
            stage.grad_checkpointing = wanted  # type: ignore[assignment]

    def steps(self) -> Iterator[nn.Module]:
        """See `SideBackbone`."""
        yield nn.Sequential(self.stem, self.stages[0])
        yield from self.stages[1:]


def build_side(
    config: SideConfig, in_channels: int, pretrained: str | None = None
) -> ResidualSide | ConvNextSide:
    """The side backbone that `config` names, for 3 (baseline) or 9 input channels."""
    if config.kind == "convnext":
        return ConvNextSide(config, in_channels, pretrained)
    return ResidualSide(config, in_channels)


def refuse_pickles(source: str | None) -> None:
    """Files must be safetensors, since others can run code when they are opened; tags may be any.

    Raises:
        CheckpointError: `source` looks like a file and is missing or not a safetensors file.
    """
    if source is None or not (Path(source).suffix or Path(source).exists()):
        return
    if Path(source).suffix != ".safetensors":
        raise CheckpointError(f"{source}: backbone weights are read from .safetensors files only")
    if not Path(source).is_file():
        raise CheckpointError(f"{source}: no such file")


def widen_convolution(convolution: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """The same convolution with more input channels: the first weights kept, the new ones small.

    Section 3.3: "expanded to accommodate the augmented input channels". Ours: the new weights are
    a tenth of the old ones' spread, so that pretrained behaviour is where training starts.
    """
    if in_channels == convolution.in_channels:
        return convolution
    wider = nn.Conv2d(
        in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        bias=convolution.bias is not None,
    )
    with torch.no_grad():
        kept = convolution.in_channels
        nn.init.normal_(wider.weight, std=0.1 * convolution.weight.std().item())
        wider.weight[:, :kept] = convolution.weight
        if convolution.bias is not None and wider.bias is not None:
            wider.bias.copy_(convolution.bias)
    return wider


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity, B x C x h x w -> the same shape.

    Ours: with `context`, every position is also told the mean features of the image, or with a
    `reach` of what lies around it. A trace is suspicious only where it departs from the rest of
    the same picture; and what is ordinary in a large picture departs from that picture's mean.
    """

    def __init__(self, width: int, context: bool = False, reach: int = 0, cell: int = 1) -> None:
        """`reach` is a number of cells to each side, `cell` a cell's side in positions."""
        super().__init__()
        self.reach, self.cell = reach, cell
        self.first = _conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        self.context = nn.Linear(width, width) if context else None

    def forward(self, features: Tensor, told: Tensor | None = None) -> Tensor:
        """B x C x h x w -> the same shape. Where these are a part of an image, `told` is what
        `tell` gives for all of it, or that for this part."""
        change = self.second(self.first(features))
        if self.context is not None:
            if told is None:
                told = self.tell(F.avg_pool2d(features, self.cell) if self.reach else features)
            if told.shape[-2:] != (1, 1):
                size = features.shape[-2:]
                told = F.interpolate(told, size, mode="bilinear", align_corners=False)
            change = change + told
        return F.relu(features + change)

    def tell(self, cells: Tensor) -> Tensor:
        """Mean features of an image's cells -> what its positions are told: B x C x 1 x 1, or as
        many as there are cells."""
        assert self.context is not None
        mean = _mean_around(cells, self.reach) if self.reach else cells.mean((2, 3), keepdim=True)
        return self.context(mean.movedim(1, -1)).movedim(-1, 1)


def _mean_around(cells: Tensor, reach: int) -> Tensor:
    """At each cell, the mean of those up to `reach` away; near a border, of the nearest as many."""
    rows, columns = (min(2 * reach + 1, length) for length in cells.shape[-2:])
    mean = F.avg_pool2d(F.avg_pool2d(cells, (rows, 1), 1), (1, columns), 1)
    above, left = (rows - 1) // 2, (columns - 1) // 2
    return F.pad(mean, (left, columns - 1 - left, above, rows - 1 - above), mode="replicate")


def _conv(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )

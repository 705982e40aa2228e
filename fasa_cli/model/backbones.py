"""The two backbones: the semantic encoder (section 3.2) and the side backbone (section 3.3).

`paper` takes both from well-kept libraries, imported only where they are built. Those of `compact`
and `tiny` stand in `compact/`, so that scanning with the shipped weights needs neither library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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

    widths: tuple[int, ...]  # channels of each selected block's tokens
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
        width: int = self.visual.transformer.width  # type: ignore[union-attr,assignment]
        self.widths = (width,) * len(self.config.blocks)
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


# --- Side backbones: the 9-channel input -> features at four stages ----------------------------


Inject = Callable[[Tensor, int], Tensor]  # features and index of a stage -> the same, aligned


class SideBackbone(Protocol):
    """A stem and stages that run one after the other, each injected into (Eq. 5)."""

    widths: tuple[int, ...]

    def __call__(self, side_input: Tensor, image: Tensor, inject: Inject) -> list[Tensor]:
        """B x 9 x H x W, padded -> the aligned features of each stage, finest first.

        `image`, B x 3 x H x W in [0, 1], is what `side_input` was made of, for what must be
        measured on pixels as they are.
        """


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

    def forward(self, side_input: Tensor, image: Tensor, inject: Inject) -> list[Tensor]:
        """See `SideBackbone`."""
        features, stages = self.stem(side_input), []
        for index, stage in enumerate(self.stages):
            features = inject(stage(features), index)
            stages.append(features)
        return stages


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

"""The semantic encoders of `compact` (EfficientNet-Lite0, pretrained) and of `tiny`."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import EncoderConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.model.backbones import IMAGENET_MEAN, IMAGENET_STD, SemanticEncoder, refuse_pickles
from fasa_cli.model.compact.blocks import ResidualBlock, convolution
from fasa_cli.model.compact.efficientnet import EfficientNetLite0, as_efficientnet_lite0

_IN_CHECKPOINT = "encoder.network."  # before the names of its tensors in weights of fasa
_GREY, _SCALE = 127 / 255, 128 / 255  # EfficientNet-Lite's own normalisation, of [0, 1]


class EfficientNetEncoder(SemanticEncoder):
    """EfficientNet-Lite0 with ImageNet weights, frozen as the paper's CLIP is.

    Ours: CLIP is far over a laptop's budget. As in a ViT every selected block has the same patch
    grid, here that of stride 16: the maps of stride 8 are averaged, those of stride 32 repeated.
    `EncoderConfig.blocks` counts groups of blocks from 1: 3, 5 and 7 are the last of their stride.
    """

    def __init__(self, config: EncoderConfig, pretrained: str | None = None) -> None:
        """`pretrained` is a .safetensors file of EfficientNet-Lite0, or weights of fasa that hold
        one; None: random weights.

        Raises:
            CheckpointError: the weights cannot be loaded.
        """
        super().__init__(config, (_GREY,) * 3, (_SCALE,) * 3)
        self.network = EfficientNetLite0()
        self.widths = self.network.widths
        if pretrained is not None:
            self.network.load_state_dict(_read(pretrained), strict=False)
        self.freeze()

    def tokens(self, image: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """See `SemanticEncoder.tokens`."""
        fine, middle, coarse = self.network(image)
        grid = (middle.shape[-2], middle.shape[-1])
        maps = [
            F.adaptive_avg_pool2d(fine, grid),
            middle,
            F.interpolate(coarse, grid, mode="nearest"),
        ]
        return [one.flatten(2).transpose(1, 2) for one in maps], grid


class ConvolutionalEncoder(SemanticEncoder):
    """A small encoder for tests: a stride-16 convolutional stem, then residual blocks."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config, IMAGENET_MEAN, IMAGENET_STD)
        *stem, width = config.widths
        self.widths = (width,) * len(config.blocks)
        channels = (3, *stem, width)
        self.stem = nn.Sequential(
            *(convolution(channels[i], channels[i + 1], stride=2) for i in range(len(channels) - 1))
        )
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(max(config.blocks)))
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


def _read(path: str) -> dict[str, Tensor]:
    refuse_pickles(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise CheckpointError(
            f"{path}: no such file; give a .safetensors file of EfficientNet-Lite0"
        )
    try:
        tensors = load_file(path)
        own = {
            name.removeprefix(_IN_CHECKPOINT): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(_IN_CHECKPOINT)
        }
        return as_efficientnet_lite0(own or tensors)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not the weights of EfficientNet-Lite0 ({error})") from error

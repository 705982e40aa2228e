"""EfficientNet-Lite0, the architecture: the semantic encoder of `compact`.

Tan and Le 2019 (EfficientNet), without squeeze-and-excitation and with ReLU6, as in the "Lite"
family. It stands here, and not in a library, because a scan must not wait for one to be imported;
a test holds it equal to timm's `tf_efficientnet_lite0`, tensor names included.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-3  # of batch norm, as in the weights' original
# (blocks, kernel, stride of the first, expansion, channels) of each group.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
LAST_OF_STRIDE = {8: 2, 16: 4, 32: 6}  # stride -> the last group with it


class EfficientNetLite0(nn.Module):
    """Features at strides 8, 16 and 32: 40, 112 and 320 channels. No classifier."""

    widths = tuple(_GROUPS[group][4] for group in LAST_OF_STRIDE.values())

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _SameConv(3, _STEM, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(_STEM, eps=_EPSILON)
        groups: list[nn.Module] = []
        before = _STEM
        for blocks, kernel, stride, expansion, width in _GROUPS:
            group: list[nn.Module] = []
            for number in range(blocks):
                step = stride if number == 0 else 1
                block = (
                    _SeparableBlock(before, width, kernel, step)
                    if expansion == 1
                    else _InvertedResidual(before, width, kernel, step, expansion)
                )
                group.append(block)
                before = width
            groups.append(nn.Sequential(*group))
        self.blocks = nn.Sequential(*groups)

    def forward(self, image: Tensor) -> list[Tensor]:
        """B x 3 x H x W, (RGB - 127) / 128 of 0-255 -> maps at strides 8, 16, 32."""
        features = F.relu6(self.bn1(self.conv_stem(image)))
        selected = []
        for index, group in enumerate(self.blocks):
            features = group(features)
            if index in LAST_OF_STRIDE.values():
                selected.append(features)
        return selected


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel goes to the right and below."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(before, after, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (
            max(0, (-(-length // stride) - 1) * stride + kernel - length)
            for length in features.shape[-2:]
        )
        if down or across:
            margins = (across // 2, across - across // 2, down // 2, down - down // 2)
            features = F.pad(features, margins)
        return super().forward(features)


class _SeparableBlock(nn.Module):
    """Depthwise, then pointwise."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _SameConv(before, before, kernel, stride, groups=before)
        self.bn1 = nn.BatchNorm2d(before, eps=_EPSILON)
        self.conv_pw = _SameConv(before, after, 1)
        self.bn2 = nn.BatchNorm2d(after, eps=_EPSILON)
        self.adds = stride == 1 and before == after

    def forward(self, features: Tensor) -> Tensor:
        change = F.relu6(self.bn1(self.conv_dw(features)))
        change = self.bn2(self.conv_pw(change))
        return features + change if self.adds else change


class _InvertedResidual(nn.Module):
    """Pointwise to more channels, depthwise, pointwise to fewer."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.conv_pw = _SameConv(before, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self.conv_dw = _SameConv(inner, inner, kernel, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner, eps=_EPSILON)
        self.conv_pwl = _SameConv(inner, after, 1)
        self.bn3 = nn.BatchNorm2d(after, eps=_EPSILON)
        self.adds = stride == 1 and before == after

    def forward(self, features: Tensor) -> Tensor:
        change = F.relu6(self.bn1(self.conv_pw(features)))
        change = F.relu6(self.bn2(self.conv_dw(change)))
        change = self.bn3(self.conv_pwl(change))
        return features + change if self.adds else change


def as_efficientnet_lite0(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of EfficientNet-Lite0 with timm's names, which are ours, or with those of
    EfficientNet-PyTorch and its relatives -> with ours. A classifier is left out.

    Raises:
        ValueError: the tensors are not those of EfficientNet-Lite0.
    """
    own = {
        name: tensor
        for name, tensor in EfficientNetLite0().state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    others = _other_names()
    found: dict[str, Tensor] = {}
    for name, expected in own.items():
        layer, _, kind = name.rpartition(".")
        tensor = tensors.get(name, tensors.get(f"{others[layer]}.{kind}"))
        if tensor is None:
            raise ValueError(f"it has no tensor {name!r}")
        if tensor.shape != expected.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}, not {tuple(expected.shape)}")
        found[name] = tensor
    return found


def _other_names() -> dict[str, str]:
    """Our layers -> EfficientNet-PyTorch's, which counts blocks through and norms from 0."""
    names = {"conv_stem": "_conv_stem", "bn1": "_bn0"}
    count = 0
    for group, (blocks, _, _, expansion, _) in enumerate(_GROUPS):
        inner = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv"}
        inner["bn2"] = "_bn2"
        if expansion > 1:
            inner = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv"}
            inner |= {"bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}
        for block in range(blocks):
            for own, other in inner.items():
                names[f"blocks.{group}.{block}.{own}"] = f"_blocks.{count}.{other}"
            count += 1
    return names

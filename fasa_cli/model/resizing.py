"""How a map is brought to another grid."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

Resize = Callable[[Tensor, tuple[int, int]], Tensor]


def resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    """B x C x h x w -> B x C x size, bilinearly; outer edges meet."""
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size, mode="bilinear", align_corners=False)

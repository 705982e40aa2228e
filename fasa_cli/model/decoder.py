"""Mask decoders: the paper's PG-FMD (Eqs. 6-7, section 3.3) and the plain one of Table 4."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import DecoderConfig
from fasa_cli.model.resizing import resize


class PrototypeGuidedMaskDecoder(nn.Module):
    """Prototype-guided, frequency-gated mask decoder (PG-FMD; Eqs. 6-7, section 3.3)."""

    def __init__(self, widths: tuple[int, ...], dim: int, config: DecoderConfig) -> None:
        """`widths` are the stages' channels; `dim` is D, the prototypes' width."""
        super().__init__()
        self.merge: nn.Module = nn.Identity()
        if config.merge_width:
            self.merge = TopDownMerge(widths, config.merge_width)
            widths = (config.merge_width,) * len(widths)
        self.attend = nn.ModuleList(PrototypeAttention(width, dim, config) for width in widths)
        self.gate = FrequencyGate(len(widths), config.gate_width)
        self.residual = nn.Conv2d(len(widths), 1, 1)  # the holistic semantic pathway of Eq. 7

    def forward(
        self, stages: list[Tensor], fake: Tensor, real: Tensor, frequency: Tensor
    ) -> Tensor:
        """Aligned stages (B x C_s x h_s x w_s), the prototypes (D each), the 9-channel input.

        Returns logits, B x 1 x h x w at the finest stage's resolution.
        """
        size = (stages[0].shape[-2], stages[0].shape[-1])
        basis_masks = torch.cat(
            [
                attend(stage, fake, real, size)
                for attend, stage in zip(self.attend, self.merge(stages), strict=True)
            ],
            dim=1,
        )  # Eq. 6: B x S x h x w
        gate = self.gate(frequency, size)  # B x S x h x w
        return (gate * basis_masks).sum(1, keepdim=True) + self.residual(basis_masks)  # Eq. 7


class TopDownMerge(nn.Module):
    """Deep stages flow into the finer ones before each gives its basis mask.

    Ours, on in `compact`: basis masks that are only added up at the end let the deep stages decide
    what and the fine ones where without ever meeting; pretrained wide backbones need it less.
    """

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(before, width, 1) for before in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for _ in widths
        )

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """B x C_s x h_s x w_s, finest first -> the same grids, all with the merged width."""
        merged: list[Tensor] = []
        for index in reversed(range(len(stages))):
            features = self.lateral[index](stages[index])
            if merged:
                size = (features.shape[-2], features.shape[-1])
                features = features + resize(merged[-1], size)
            merged.append(self.smooth[index](features))
        return merged[::-1]


class PrototypeAttention(nn.Module):
    """One stage's basis mask: where the fake prototype answers (Eq. 6, section 3.3).

    Ours: a softmax over positions that is then summed gives one vector and no map, and the basis
    mask must stay spatial. So each head's scaled response gates its own value through a sigmoid,
    and a 1x1 convolution mixes the heads to one map. Query and keys are compared by direction, with
    a learned scale and no query bias: else the keys alone could decide, whatever the prototype is.
    The response is how much nearer a key is to the fake query than to the real one, as Eq. 4 judges
    patches: one direction alone is a constant that the keys can turn to, and never needs the other.
    """

    SCALE = 4.0  # Ours: sigmoid(4 cos) runs from 0.02 to 0.98; learned from there

    def __init__(self, width: int, dim: int, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(dim, config.dim, bias=False)
        self.key = nn.Conv2d(width, config.dim, 1)
        self.value = nn.Conv2d(width, config.dim, 1)
        self.mix = nn.Conv2d(config.dim, 1, 1)
        self.scale = nn.Parameter(torch.full((config.heads,), self.SCALE))

    def forward(
        self, features: Tensor, fake: Tensor, real: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """B x C x h_s x w_s, the fake and the real prototype (D each) -> B x 1 x size.

        Value and mix are linear one after the other, and a head's gate is one number per position.
        So both are folded into one map per head before any pixel is touched.
        """
        query = self._queries(fake) - self._queries(real)  # K x D/K
        keys = self.key(features).float().unflatten(1, (self.heads, -1))  # B x K x D/K x h x w
        keys = F.normalize(keys, dim=2, eps=1e-3)
        response = torch.einsum("bkdhw,kd->bkhw", keys, query.float()) * self.scale[:, None, None]
        mix = self._by_head(self.mix.weight.flatten())  # K x D/K
        weight = torch.einsum("kd,kdc->kc", mix, self._by_head(self.value.weight[..., 0, 0]))
        bias = None if self.value.bias is None else (mix * self._by_head(self.value.bias)).sum(1)
        value = F.conv2d(features, weight[..., None, None], bias)  # B x K x h x w
        response, value = resize(response, size), resize(value, size)
        gated = (torch.sigmoid(response) * value).sum(1, keepdim=True)
        return gated if self.mix.bias is None else gated + self.mix.bias

    def _queries(self, prototype: Tensor) -> Tensor:
        """D -> one unit vector per head."""
        return F.normalize(self._by_head(self.query(F.normalize(prototype, dim=0))), dim=-1)

    def _by_head(self, channels: Tensor) -> Tensor:
        return channels.unflatten(0, (self.heads, -1))  # D x ... -> K x D/K x ...


class FrequencyGate(nn.Module):
    """The spatial gating network of Eq. 7: per-stage weights in (0, 1) from the 9-channel input."""

    def __init__(self, stages: int, width: int) -> None:
        super().__init__()
        self.stages = stages
        self.layers = nn.Sequential(
            nn.Conv2d(9, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, stages, 3, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, frequency: Tensor, size: tuple[int, int]) -> Tensor:
        """B x 9 x H x W -> B x S x size; from tiles, whose gate is made with their pixels, what
        `layers` gave (B x S x h x w)."""
        made = frequency.shape[1] == self.stages
        return resize(frequency if made else self.layers(frequency), size)


class SimpleDecoder(nn.Module):
    """The plain decoder of Table 4's rows before PG-FMD (section 4.4).

    Ours: a 1x1 convolution per stage to a common width, summed at the finest resolution, then
    1x1 to the logits. `extra_width` adds the semantic map as one more source where the variant has
    one but no adapter (row "+ PSA").
    """

    def __init__(self, widths: tuple[int, ...], config: DecoderConfig, extra_width: int = 0):
        super().__init__()
        sources = (*widths, extra_width) if extra_width else widths
        self.project = nn.ModuleList(nn.Conv2d(width, config.dim, 1) for width in sources)
        self.classify = nn.Sequential(
            nn.BatchNorm2d(config.dim), nn.ReLU(inplace=True), nn.Conv2d(config.dim, 1, 1)
        )

    def forward(self, sources: list[Tensor]) -> Tensor:
        """Stages (and the semantic map), B x C x h x w each -> logits B x 1 x h x w."""
        size = (sources[0].shape[-2], sources[0].shape[-1])
        projected = [
            resize(project(source), size)
            for project, source in zip(self.project, sources, strict=True)
        ]
        return self.classify(torch.stack(projected).sum(0))

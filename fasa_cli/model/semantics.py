"""Patch-level semantic alignment (PSA; Eqs. 2-4, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import EncoderConfig


class PatchSemanticAlignment(nn.Module):
    """Selected patch tokens -> one semantic map (Eqs. 2-3, section 3.2).

    The tokens of the selected blocks are concatenated by channel, projected to the shared
    dimension D, and refined by multi-head self-attention.
    """

    def __init__(self, token_width: int, config: EncoderConfig) -> None:
        super().__init__()
        self.project = nn.Linear(token_width * len(config.blocks), config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.attention = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)

    def forward(self, tokens: list[Tensor], grid: tuple[int, int]) -> Tensor:
        """Tokens of each selected block (B x L x C each, L = h * w) -> B x D x h x w."""
        projected = self.project(torch.cat(tokens, dim=-1))  # Eq. 2: B x L x D
        normed = self.norm(projected)
        # Ours: pre-norm with a residual, as in the encoder it follows.
        refined = projected + self.attention(normed, normed, normed, need_weights=False)[0]  # Eq. 3
        return refined.transpose(1, 2).unflatten(2, grid)  # B x D x h x w


class Prototypes(nn.Module):
    """The real and the fake prototype, and how near each patch is to them (Eq. 4, section 3.2).

    Ours: initialised by the mean of the normalised text embeddings of several prompts each where
    the encoder has a text tower, else by two random directions; learned from there.
    """

    def __init__(self, config: EncoderConfig, text_embeddings: Tensor | None = None) -> None:
        """`text_embeddings` is 2 x D (real, fake), or None."""
        super().__init__()
        initial = torch.randn(2, config.dim) if text_embeddings is None else text_embeddings.clone()
        if initial.shape != (2, config.dim):
            raise ValueError(f"prototypes need 2 x {config.dim}, not {tuple(initial.shape)}")
        initial = F.normalize(initial.float(), dim=-1)
        self.real_prototype = nn.Parameter(initial[0].clone())
        self.fake_prototype = nn.Parameter(initial[1].clone())
        self.project = nn.Linear(config.dim, config.dim)
        self.log_temperature = nn.Parameter(torch.tensor(config.temperature).log())

    @property
    def temperature(self) -> Tensor:
        """tau of Eq. 4. Ours: clamped to [0.01, 1]; a vanishing tau is where losses turn NaN."""
        return self.log_temperature.float().exp().clamp(0.01, 1.0)

    def forward(self, semantic_map: Tensor) -> Tensor:
        """B x D x h x w -> patch logits B x 2 x h x w: cos(v, p) / tau for real, fake."""
        with torch.autocast(semantic_map.device.type, enabled=False):
            visual = self.project(semantic_map.float().permute(0, 2, 3, 1))  # B x h x w x D
            prototypes = torch.stack([self.real_prototype, self.fake_prototype]).float()
            cosine = F.normalize(visual, dim=-1) @ F.normalize(prototypes, dim=-1).T
            return cosine.permute(0, 3, 1, 2) / self.temperature


def mean_text_embeddings(
    embed: nn.Module, tokenize: object, groups: tuple[tuple[str, ...], ...]
) -> Tensor:
    """One unit vector per group of prompts: the mean of its normalised text embeddings.

    `embed.encode_text` maps token ids to embeddings; returns groups x D.
    """
    rows = []
    with torch.no_grad():
        for prompts in groups:
            embeddings = embed.encode_text(tokenize(list(prompts)))  # type: ignore[operator]
            rows.append(F.normalize(F.normalize(embeddings.float(), dim=-1).mean(0), dim=-1))
    return torch.stack(rows)

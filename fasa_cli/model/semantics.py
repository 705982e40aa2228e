"""Patch-level semantic alignment (PSA; Eqs. 2-4, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import TEMPERATURES, EncoderConfig


class PatchSemanticAlignment(nn.Module):
    """Selected patch tokens -> one semantic map (Eqs. 2-3, section 3.2).

    The tokens of the selected blocks are concatenated by channel, projected to the shared
    dimension D, and refined by multi-head self-attention.
    """

    def __init__(self, token_widths: tuple[int, ...], config: EncoderConfig) -> None:
        """`token_widths` are the channels of each selected block's tokens."""
        super().__init__()
        # Ours: deep blocks' tokens are many times as large as shallow ones', which would drown.
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in token_widths)
        self.project = nn.Linear(sum(token_widths), config.dim)
        self.norm = nn.LayerNorm(config.dim)
        self.attention = nn.MultiheadAttention(config.dim, config.heads, batch_first=True)

    def forward(self, tokens: list[Tensor], grid: tuple[int, int]) -> Tensor:
        """Tokens of each selected block (B x L x C each, L = h * w) -> B x D x h x w."""
        normed = [norm(block) for norm, block in zip(self.norms, tokens, strict=True)]
        projected = self.project(torch.cat(normed, dim=-1))  # Eq. 2: B x L x D
        query = self.norm(projected)
        # Ours: pre-norm with a residual, as in the encoder it follows.
        refined = projected + self.attention(query, query, query, need_weights=False)[0]  # Eq. 3
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
        low, high = TEMPERATURES
        share = (config.temperature - low) / (high - low)
        self.temperature_logit = nn.Parameter(torch.logit(torch.tensor(share)))

    @property
    def temperature(self) -> Tensor:
        """tau of Eq. 4. Ours: within TEMPERATURES, since a vanishing tau is where losses turn NaN;
        its parameter is bounded, not its value, which would have no gradient at the bounds."""
        low, high = TEMPERATURES
        return low + (high - low) * torch.sigmoid(self.temperature_logit.float())

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

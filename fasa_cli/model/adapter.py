"""Semantic-frequency side adapter (SF-SA; Eq. 5, section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from fasa_cli.model.resizing import Resize, resize


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a B x C x h x w map."""

    def forward(self, features: Tensor) -> Tensor:
        """B x C x h x w -> the same shape, each position normalised over C."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SemanticFrequencySideAdapter(nn.Module):
    """A_s of Eq. 5: bring the semantic map to one stage's channels and resolution (section 3.3).

    Transposed convolutions (x2 each), a 1x1 and a 3x3 convolution, layer norm between them.
    """

    def __init__(self, dim: int, stage_width: int, doublings: int) -> None:
        """`doublings` is how many times the patch grid must double to reach the stage's grid."""
        super().__init__()
        layers: list[nn.Module] = []
        width = dim
        for _ in range(doublings):
            # Ours: channels narrow as the map grows, or the finest stage would cost the most.
            narrower = max(width // 2, min(stage_width, width))
            layers += [nn.ConvTranspose2d(width, narrower, 2, stride=2), ChannelNorm(narrower)]
            layers += [nn.GELU()]
            width = narrower
        self.upsample = nn.Sequential(*layers)
        self.align = nn.Conv2d(width, stage_width, 1)
        self.norm = ChannelNorm(stage_width)
        self.smooth = nn.Conv2d(stage_width, stage_width, 3, padding=1)
        # Ours: zero at first, so that a pretrained side backbone starts as itself.
        nn.init.zeros_(self.smooth.weight)
        if self.smooth.bias is not None:
            nn.init.zeros_(self.smooth.bias)

    def forward(
        self, semantic_map: Tensor, size: tuple[int, int], resize: Resize = resize
    ) -> Tensor:
        """B x D x h x w -> B x C x size, ready to be added to the stage's features."""
        # Ours: at native resolution the stage's grid is no power of two times the patch grid.
        features = resize(self.upsample(semantic_map), size)
        return self.smooth(self.norm(self.align(features)))

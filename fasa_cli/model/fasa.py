"""FASA: the whole model; `forward` is section 3 in its order."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fasa_cli.config import ModelConfig
from fasa_cli.model.adapter import SemanticFrequencySideAdapter
from fasa_cli.model.backbones import DEEPEST_STRIDE, IMAGENET_MEAN, IMAGENET_STD, Normalise
from fasa_cli.model.decoder import PrototypeGuidedMaskDecoder, SimpleDecoder
from fasa_cli.model.frequency import AdaptiveDualBandDCT
from fasa_cli.model.presets import build_encoder, build_side
from fasa_cli.model.resizing import Resize, resize
from fasa_cli.model.semantics import PatchSemanticAlignment, Prototypes


class FasaOutput(NamedTuple):
    """`logits` B x 1 x H x W at the image's own size, before the sigmoid; `patch_logits`
    B x 2 x h x w (real, fake) on the patch grid, or None in variants without PSA."""

    logits: Tensor
    patch_logits: Tensor | None

    @property
    def probabilities(self) -> Tensor:
        """The mask of Eq. 8: B x 1 x H x W in [0, 1]."""
        return torch.sigmoid(self.logits.float())


class Fasa(nn.Module):
    """The localizer (section 3). It owns its resizing and normalisation: RGB in, logits out."""

    def __init__(
        self,
        config: ModelConfig,
        encoder_weights: str | None = None,
        side_weights: str | None = None,
    ) -> None:
        """The weights arguments name pretrained backbones (see backbones.py); None: random.

        Raises:
            CheckpointError: pretrained weights were asked for and cannot be loaded.
        """
        super().__init__()
        self.config = config
        self.normalise = Normalise(IMAGENET_MEAN, IMAGENET_STD)
        if config.includes("dct"):
            self.frequency = AdaptiveDualBandDCT(config.frequency)
        self.side = build_side(config.side, 9 if config.includes("dct") else 3, side_weights)
        widths, dim = self.side.widths, config.encoder.dim
        if config.includes("psa"):
            self.encoder = build_encoder(config.encoder, encoder_weights)
            self.align = PatchSemanticAlignment(self.encoder.widths, config.encoder)
            self.prototypes = Prototypes(config.encoder, self.encoder.text_embeddings)
        if config.includes("sfsa"):
            self.adapters = nn.ModuleList(
                SemanticFrequencySideAdapter(dim, width, doublings)
                for width, doublings in zip(widths, config.adapter_doublings, strict=True)
            )
        if config.includes("full"):
            self.decoder = PrototypeGuidedMaskDecoder(widths, dim, config.decoder)
        else:
            extra = dim if config.variant == "psa" else 0
            self.simple_decoder = SimpleDecoder(widths, config.decoder, extra)

    def forward(self, image: Tensor) -> FasaOutput:
        """Localise manipulated pixels (section 3).

        `image` is B x 3 x H x W RGB in [0, 1], of any size from 1 x 1.
        """
        semantic_map = self.semantic_map(image)  # Eqs. 2-3
        patch_logits = None if semantic_map is None else self.prototypes(semantic_map)  # Eq. 4
        side_input = self.side_input(image)  # Eq. 1: B x 9 x H x W
        stages = self.side(side_input, image, partial(self.inject, semantic_map))  # Eq. 5
        logits = self.decode(stages, side_input, semantic_map)  # Eqs. 6-7
        return FasaOutput(self.to_image_size(logits, side_input, image), patch_logits)  # Eq. 8

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) at which the side backbone sees an image of this size."""
        side = self.config.input_size
        return (height, width) if side is None else (side, side)

    def semantic_map(self, image: Tensor) -> Tensor | None:
        """B x 3 x H x W RGB in [0, 1] -> B x D x h x w (Eqs. 2-3); None in variants without PSA."""
        if not self.config.includes("psa"):
            return None
        tokens, grid = self.encoder(image)
        return self.align(tokens, grid)

    def side_input(self, image: Tensor) -> Tensor:
        """B x 3 x H x W RGB in [0, 1] -> what the side backbone sees: normalised, with the bands
        of Eq. 1, at `working_size`, padded to multiples of DEEPEST_STRIDE."""
        size = self.working_size(*image.shape[-2:])
        if image.shape[-2:] != size:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
        image = self.normalise(image)
        if self.config.includes("dct"):
            image = self.frequency(image)
        # Ours: bands first, padding after, so that no border is added to what the DCT sees; padded
        # so that every stage's grid divides evenly and the mask stays aligned to the pixel.
        height, width = size
        right, below = -width % DEEPEST_STRIDE, -height % DEEPEST_STRIDE
        if right or below:
            image = F.pad(image, (0, right, 0, below), mode="replicate")
        return image.contiguous(memory_format=torch.channels_last)

    def inject(
        self, semantic_map: Tensor | None, features: Tensor, index: int, resize: Resize = resize
    ) -> Tensor:
        """Add the semantic map to the features of stage `index` (Eq. 5).

        Ours: the sum also feeds the next stage ("injected into each stage"), so that the two cues
        meet under the stage's non-linearities and not only at the end.
        """
        if semantic_map is None or not self.config.includes("sfsa"):
            return features
        size = (features.shape[-2], features.shape[-1])
        return features + self.adapters[index](semantic_map, size, resize)

    def decode(
        self,
        stages: list[Tensor],
        side_input: Tensor,
        semantic_map: Tensor | None,
        resize: Resize = resize,
    ) -> Tensor:
        """Aligned stages, B x C_s x h_s x w_s -> logits at the finest one's grid (Eqs. 6-7)."""
        if self.config.includes("full"):
            fake, real = self.prototypes.fake_prototype, self.prototypes.real_prototype
            return self.decoder(stages, fake, real, side_input)
        if self.config.variant != "psa" or semantic_map is None:
            return self.simple_decoder(stages)
        size = (stages[0].shape[-2], stages[0].shape[-1])
        return self.simple_decoder([*stages, resize(semantic_map, size)])

    def to_image_size(self, logits: Tensor, side_input: Tensor, image: Tensor) -> Tensor:
        """Logits of any grid over the padded `side_input` -> B x 1 x H x W, as `image` (Eq. 8)."""
        logits = F.interpolate(
            logits.float(), side_input.shape[-2:], mode="bilinear", align_corners=False
        )
        height, width = self.working_size(*image.shape[-2:])
        logits = logits[..., :height, :width]
        if logits.shape[-2:] != image.shape[-2:]:
            logits = F.interpolate(logits, image.shape[-2:], mode="bilinear", align_corners=False)
        return logits


def image_score(probabilities: Tensor) -> Tensor:
    """The image-level score: the maximum over all positions (Eq. 9, section 3.3).

    B x 1 x H x W -> B.
    """
    return probabilities.flatten(1).amax(1)

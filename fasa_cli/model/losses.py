"""The training objective (Eqs. 4 and 10, sections 3.2 and 3.4): the only code that sees targets."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fasa_cli.config import LossConfig
from fasa_cli.model.fasa import FasaOutput


class LossTerms(NamedTuple):
    """The weighted sum and each term before its weight; scalars, float32."""

    total: Tensor
    mask: Tensor
    edge: Tensor
    contrastive: Tensor
    dice: Tensor
    image: Tensor


class FasaLoss:
    """`loss(model(image), target_mask)`: Eq. 10 plus a Dice and an image term, in float32."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(
        self, output: FasaOutput, target_mask: Tensor, manipulated: float | None = None
    ) -> LossTerms:
        """`target_mask` is B x 1 x H x W in {0, 1}, 1 where manipulated.

        Where this is one of several equal parts of a batch, `manipulated` is the mean number of
        manipulated images per part, so that the parts' mean is the loss of the batch.
        """
        config = self.config
        logits, target = output.logits.float(), target_mask.float()
        with torch.autocast(logits.device.type, enabled=False):
            mask = mask_loss(logits, target, config.positive_weight)
            edge = edge_loss(logits, target, config.edge_kernel)
            contrastive = (
                contrastive_loss(output.patch_logits.float(), target)
                if output.patch_logits is not None
                else logits.new_zeros(())
            )
            dice = dice_loss(logits, target, manipulated)
            image = image_loss(logits, target)
        total = (
            config.mask * mask
            + config.edge * edge
            + config.contrastive * contrastive
            + config.dice * dice
            + config.image * image
        )
        return LossTerms(total, mask, edge, contrastive, dice, image)


def mask_loss(logits: Tensor, target: Tensor, positive_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy over all pixels (Eq. 10); manipulated ones count `positive_weight`."""
    weight = logits.new_tensor(positive_weight)
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


def edge_loss(logits: Tensor, target: Tensor, kernel: int) -> Tensor:
    """Cross-entropy weighted by the edge band, averaged over all pixels (Eq. 10, section 3.4)."""
    per_pixel = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (per_pixel * edge_band(target, kernel)).mean()


def edge_band(target: Tensor, kernel: int) -> Tensor:
    """Where the dilated mask and its dilated complement meet: B x 1 x H x W in {0, 1}.

    Ours: dilation by a cross of `kernel` pixels, as in the parents of this objective.
    """
    return _dilate(target, kernel) * _dilate(1 - target, kernel)


def contrastive_loss(patch_logits: Tensor, target: Tensor) -> Tensor:
    """InfoNCE of each patch against the two prototypes (Eq. 4, section 3.2).

    Ours: a patch's label is soft, its share of manipulated pixels; a patch cut by the boundary
    belongs to both. Both classes count alike in an image that has both: manipulated patches are
    few, and without a balance all are called real. `patch_logits` is B x 2 x h x w (real, fake).
    """
    grid = (patch_logits.shape[-2], patch_logits.shape[-1])
    share = F.adaptive_avg_pool2d(target, grid)  # B x 1 x h x w
    labels = torch.cat([1 - share, share], dim=1)
    terms = -labels * F.log_softmax(patch_logits, dim=1)  # B x 2 x h x w
    amounts = labels.sum((2, 3))  # B x 2
    by_class = terms.sum((2, 3)) / amounts.clamp(min=1)
    present = (amounts > 0).float()
    return ((by_class * present).sum(1) / present.sum(1)).mean()


def dice_loss(logits: Tensor, target: Tensor, manipulated: float | None = None) -> Tensor:
    """1 - soft Dice per manipulated image, averaged over `manipulated` of them, by default those
    that are there; 0 where there is none.

    Ours: cross-entropy alone leaves small regions unmarked, and the F1 that users read is Dice.
    """
    probabilities = torch.sigmoid(logits).flatten(1)
    target = target.flatten(1)
    overlap = (probabilities * target).sum(1)
    dice = (2 * overlap + 1) / (probabilities.sum(1) + target.sum(1) + 1)
    counts = target.amax(1)
    among = counts.sum().clamp(min=1) if manipulated is None else max(manipulated, 1e-6)
    return ((1 - dice) * counts).sum() / among


def image_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the image-level decision: is any pixel of the image manipulated?

    Ours: Eq. 9 scores an image by its highest pixel, and no term of Eq. 10 looks at it; without
    one, a little is marked in almost every photo. Here the mean logit of the highest hundredth of
    the pixels stands for the maximum, which a single pixel would make too noisy to learn from.
    """
    pixels = logits.flatten(1)
    highest = pixels.topk(max(1, pixels.shape[1] // 100), dim=1, sorted=False).values
    return F.binary_cross_entropy_with_logits(highest.mean(1), target.flatten(1).amax(1))


def _dilate(mask: Tensor, kernel: int) -> Tensor:
    """The union of the mask's shifts along a cross: bit operations, cheaper than any pooling."""
    margin = kernel // 2
    height, width = mask.shape[-2:]
    padded = F.pad(mask > 0.5, (margin,) * 4)
    dilated = torch.zeros_like(mask, dtype=torch.bool)
    for shift in range(kernel):
        dilated |= padded[..., margin : margin + height, shift : shift + width]
        dilated |= padded[..., shift : shift + height, margin : margin + width]
    return dilated.to(mask.dtype)

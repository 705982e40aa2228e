"""Patch-level semantic alignment and the prototypes (Eqs. 2-4)."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fasa_cli.config import TEMPERATURES, EncoderConfig
from fasa_cli.model.losses import contrastive_loss
from fasa_cli.model.semantics import PatchSemanticAlignment, Prototypes, mean_text_embeddings

CONFIG = EncoderConfig(kind="convolutional", blocks=(1, 2), dim=8, heads=2)


def test_tokens_become_a_map_in_row_order():
    align = PatchSemanticAlignment((5, 4), CONFIG)
    tokens = [torch.randn(2, 6, 5), torch.randn(2, 6, 4) * 50]  # of other sizes and widths
    semantic_map = align(tokens, (2, 3))
    assert semantic_map.shape == (2, 8, 2, 3)
    same = [F.layer_norm(one, one.shape[-1:]) for one in tokens]
    projected = align.project(torch.cat(same, dim=-1))
    normed = align.norm(projected)
    refined = projected + align.attention(normed, normed, normed)[0]
    torch.testing.assert_close(semantic_map[:, :, 1, 2], refined[:, 5])


def test_patch_logits_are_cosine_over_temperature():
    prototypes = Prototypes(CONFIG)
    semantic_map = torch.randn(1, 8, 2, 2)
    logits = prototypes(semantic_map)
    visual = prototypes.project(semantic_map[0, :, 1, 0])
    for channel, prototype in enumerate((prototypes.real_prototype, prototypes.fake_prototype)):
        cosine = (visual @ prototype) / (visual.norm() * prototype.norm())
        expected = cosine.item() / CONFIG.temperature
        assert logits[0, channel, 1, 0].item() == pytest.approx(expected, rel=1e-4)


def test_the_temperature_stays_within_its_bounds_and_keeps_a_gradient():
    prototypes = Prototypes(CONFIG)
    assert prototypes.temperature.item() == pytest.approx(CONFIG.temperature, rel=1e-4)
    low, high = TEMPERATURES
    for value in (-6.0, 6.0):
        with torch.no_grad():
            prototypes.temperature_logit.fill_(value)
        prototypes.temperature_logit.grad = None
        prototypes.temperature.backward()
        assert low < prototypes.temperature.item() < high
        assert prototypes.temperature_logit.grad.item() > 0


def test_infonce_agrees_with_the_formula_by_hand():
    """Eq. 4: -log exp(cos(v, p_y)/tau) / sum_c exp(cos(v, p_c)/tau), averaged over patches."""
    prototypes = Prototypes(CONFIG)
    semantic_map = torch.randn(1, 8, 1, 2)
    target = torch.zeros(1, 1, 4, 8)
    target[..., 4:] = 1  # the right patch is manipulated
    loss = contrastive_loss(prototypes(semantic_map), target)
    by_hand = 0.0
    anchors = [prototypes.real_prototype, prototypes.fake_prototype]
    for patch, label in ((0, 0), (1, 1)):
        visual = prototypes.project(semantic_map[0, :, 0, patch])
        cosines = [F.cosine_similarity(visual, anchor, dim=0).item() for anchor in anchors]
        powers = [math.exp(cosine / prototypes.temperature.item()) for cosine in cosines]
        by_hand -= math.log(powers[label] / sum(powers)) / 2
    assert loss.item() == pytest.approx(by_hand, rel=1e-4)


def test_a_patch_cut_by_the_boundary_belongs_to_both_classes_which_count_alike():
    patch_logits = torch.tensor([[0.3, 1.5], [-0.8, 0.2]]).view(1, 2, 1, 2)
    target = torch.zeros(1, 1, 8, 16)
    target[..., :2] = 1  # a quarter of the first patch is manipulated
    log_real, log_fake = torch.log_softmax(patch_logits, 1)[0, :, 0].tolist()
    real = -(0.75 * log_real[0] + 1.0 * log_real[1]) / 1.75
    fake = -log_fake[0]
    # So little is manipulated that a full mean would be divided by the whole weight of 1.
    fake *= 0.25
    expected = (real + fake) / 2
    assert contrastive_loss(patch_logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_manipulated_patches_counts_real_ones_alone():
    patch_logits = torch.randn(2, 2, 3, 3)
    expected = -torch.log_softmax(patch_logits, 1)[:, 0].mean()
    found = contrastive_loss(patch_logits, torch.zeros(2, 1, 24, 24))
    torch.testing.assert_close(found, expected)


class TextTower(nn.Module):
    """Embeds a prompt as a fixed vector, longer for later prompts."""

    def encode_text(self, lengths):
        return torch.stack([torch.eye(8)[n % 8] * n for n in lengths])


def test_prototypes_start_at_the_mean_of_normalised_text_embeddings():
    groups = (("a", "bb"), ("ccc",))
    embeddings = mean_text_embeddings(TextTower(), lambda texts: [len(t) for t in texts], groups)
    expected_real = (torch.eye(8)[1] + torch.eye(8)[2]) / math.sqrt(2)
    torch.testing.assert_close(embeddings, torch.stack([expected_real, torch.eye(8)[3]]))
    prototypes = Prototypes(CONFIG, embeddings)
    torch.testing.assert_close(prototypes.real_prototype.data, expected_real)
    torch.testing.assert_close(prototypes.fake_prototype.data, torch.eye(8)[3])
    assert prototypes.fake_prototype.requires_grad


def test_prototypes_of_another_width_are_refused():
    with pytest.raises(ValueError, match="2 x 8"):
        Prototypes(CONFIG, torch.zeros(2, 5))

"""The objective (Eq. 10) against independent computations."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from sklearn.metrics import log_loss

from fasa_cli.config import LossConfig
from fasa_cli.model.fasa import FasaOutput
from fasa_cli.model.losses import FasaLoss, dice_loss, edge_band, edge_loss, image_loss, mask_loss


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 24, 32, generator=generator)
    target = torch.zeros(2, 1, 24, 32)
    target[0, 0, 6:15, 8:20] = 1
    return logits, target


def test_mask_loss_agrees_with_scikit_learn(case):
    logits, target = case
    probabilities = torch.sigmoid(logits).numpy().ravel().astype(np.float64)
    expected = log_loss(target.numpy().ravel(), probabilities)
    assert mask_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_manipulated_pixels_count_their_weight(case):
    logits, target = case
    p = torch.sigmoid(logits.double())
    expected = -(3 * target * p.log() + (1 - target) * (1 - p).log()).mean()
    assert mask_loss(logits, target, 3.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_edge_band_agrees_with_scipy_morphology(case):
    _, target = case
    cross = np.zeros((7, 7), bool)
    cross[3, :] = cross[:, 3] = True
    for one in target[:, 0].numpy().astype(bool):
        inside = scipy.ndimage.binary_dilation(one, cross)
        outside = scipy.ndimage.binary_dilation(~one, cross)
        actual = edge_band(torch.from_numpy(one).float()[None, None], 7)[0, 0].numpy()
        np.testing.assert_array_equal(actual.astype(bool), inside & outside)


def test_edge_loss_is_zero_without_an_edge(case):
    logits, target = case
    assert edge_loss(logits[1:], target[1:], 7).item() == 0
    assert edge_loss(logits[:1], target[:1], 7).item() > 0


def test_image_loss_agrees_with_scikit_learn(case):
    logits, target = case
    highest = np.sort(logits.double().flatten(1).numpy())[:, -7:].mean(1)  # 7 of 768 pixels
    expected = log_loss([1, 0], 1 / (1 + np.exp(-highest)))
    assert image_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_image_loss_pulls_only_the_highest_pixels(case):
    logits, target = case
    logits.requires_grad_()
    image_loss(logits, target).backward()
    gradient = logits.grad
    assert ((gradient != 0).flatten(1).sum(1) == 7).all()
    assert gradient[0].sum() < 0 < gradient[1].sum()  # up where manipulated, down where not


def test_dice_counts_manipulated_images_only(case):
    logits, target = case
    p, t = torch.sigmoid(logits[0]), target[0]
    expected = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
    assert dice_loss(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)
    assert dice_loss(logits[1:], target[1:]).item() == 0
    perfect = (target * 2 - 1) * 50
    assert dice_loss(perfect, target).item() == pytest.approx(0, abs=1e-6)


def test_the_total_is_the_weighted_sum(case):
    logits, target = case
    config = LossConfig(mask=2, edge=3, contrastive=0.5, dice=0.25, image=0.75)
    output = FasaOutput(logits, torch.randn(2, 2, 3, 4))
    terms = FasaLoss(config)(output, target)
    expected = (
        2 * terms.mask
        + 3 * terms.edge
        + 0.5 * terms.contrastive
        + 0.25 * terms.dice
        + 0.75 * terms.image
    ).item()
    assert terms.total.item() == pytest.approx(expected, rel=1e-6)


def test_losses_are_float32_whatever_the_logits(case):
    logits, target = case
    terms = FasaLoss(LossConfig())(FasaOutput(logits.bfloat16(), None), target)
    assert all(term.dtype == torch.float32 for term in terms)
    assert terms.contrastive.item() == 0


def test_extreme_logits_stay_finite(case):
    _, target = case
    wrong = (1 - 2 * target) * 1e4
    terms = FasaLoss(LossConfig())(FasaOutput(wrong, None), target)
    assert all(torch.isfinite(term) for term in terms)

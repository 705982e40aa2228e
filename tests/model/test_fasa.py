"""The whole model: shapes, gradients, variants, and that it learns."""

import pytest
import torch

from fasa_cli.config import PRESETS, TINY, VARIANTS, LossConfig
from fasa_cli.model.fasa import Fasa, image_score
from fasa_cli.model.losses import FasaLoss


def variant_of(name):
    return TINY.model_copy(update={"variant": name})


def with_semantics(model):
    """The model with adapters that add something: they start at zero."""
    with torch.no_grad():
        for adapter in getattr(model, "adapters", ()):
            adapter.smooth.weight.normal_(std=0.1)
    return model


def frozen_tiny():
    return TINY.model_copy(update={"encoder": TINY.encoder.model_copy(update={"frozen": True})})


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 37), (31, 33), (64, 64), (65, 127), (200, 3), (480, 641)]
)
def test_the_mask_has_the_images_size(size):
    model = Fasa(TINY).eval()
    with torch.no_grad():
        output = model(torch.rand(1, 3, *size))
    assert output.logits.shape == (1, 1, *size)
    assert torch.isfinite(output.logits).all()
    assert output.probabilities.min() >= 0
    assert output.probabilities.max() <= 1


def test_a_fixed_input_size_still_gives_the_images_size():
    model = Fasa(TINY.model_copy(update={"input_size": 64})).eval()
    assert model.working_size(150, 90) == (64, 64)
    with torch.no_grad():
        assert model(torch.rand(2, 3, 150, 90)).logits.shape == (2, 1, 150, 90)


def test_the_mask_follows_the_image_when_it_is_padded_inside():
    """The padded rows lie below and right: what is seen at the top left does not move."""
    model = Fasa(TINY).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = model.side_input(image)
        odd = model.side_input(image[..., :63, :61])
    assert odd.shape[-2:] == (64, 64)
    torch.testing.assert_close(odd[:, :3, :63, :61], whole[:, :3, :63, :61])
    torch.testing.assert_close(odd[:, :, 63], odd[:, :, 62])


@pytest.mark.parametrize("config", [TINY, frozen_tiny()], ids=["trained", "frozen"])
def test_every_trainable_parameter_gets_a_gradient_and_no_frozen_one_does(config):
    torch.manual_seed(0)
    model = with_semantics(Fasa(config)).train()
    target = torch.zeros(2, 1, 64, 64)
    target[:, :, 10:40, 20:50] = 1
    FasaLoss(LossConfig(dice=1.0))(model(torch.rand(2, 3, 64, 64)), target).total.backward()
    for name, parameter in model.named_parameters():
        if config.encoder.frozen and name.startswith("encoder."):
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_a_frozen_encoder_stays_in_eval_mode_and_keeps_its_statistics():
    model = Fasa(frozen_tiny()).train()
    assert model.side.training
    assert not any(module.training for module in model.encoder.modules())
    before = {name: tensor.clone() for name, tensor in model.encoder.state_dict().items()}
    model(torch.rand(2, 3, 64, 64))
    for name, tensor in model.encoder.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_of_table_4_learns_one_batch(variant):
    torch.manual_seed(0)
    model = Fasa(variant_of(variant)).train()
    image = torch.rand(2, 3, 64, 64) * 0.2
    target = torch.zeros(2, 1, 64, 64)
    target[:, :, 16:48, 16:48] = 1
    image[:, :, 16:48, 16:48] += 0.6
    loss = FasaLoss(LossConfig(edge=1.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        total = loss(model(image), target).total
        losses.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert min(losses[-3:]) < 0.8 * losses[0]


def test_variants_hold_the_parts_of_their_row():
    frequency = {"frequency"}
    semantics = {"encoder", "align", "prototypes"}
    parts = {
        "baseline": set(),
        "dct": frequency,
        "psa": frequency | semantics,
        "sfsa": frequency | semantics | {"adapters"},
        "full": frequency | semantics | {"adapters", "decoder"},
    }
    for variant, expected in parts.items():
        children = {name for name, _ in Fasa(variant_of(variant)).named_children()}
        assert children - {"normalise", "side", "simple_decoder"} == expected
        assert ("simple_decoder" in children) == (variant != "full")


def test_semantics_reach_the_logits_only_from_psa_on():
    image = torch.rand(1, 3, 64, 64)
    for variant in VARIANTS[2:]:
        model = with_semantics(Fasa(variant_of(variant))).eval()
        before = model(image).logits
        with torch.no_grad():
            for parameter in model.encoder.parameters():
                parameter.add_(0.5)
        assert not torch.equal(before, model(image).logits), variant


def test_the_image_score_is_the_maximum():
    probabilities = torch.rand(3, 1, 5, 7)
    expected = [one.max().item() for one in probabilities]
    assert image_score(probabilities).tolist() == pytest.approx(expected)


def test_a_batch_gives_what_its_images_give_alone():
    model = Fasa(TINY).eval()
    images = torch.rand(3, 3, 48, 40)
    with torch.no_grad():
        together = model(images).logits
        alone = torch.cat([model(image[None]).logits for image in images])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_presets_are_what_the_paper_says():
    paper = PRESETS["paper"]
    assert (paper.encoder.name, paper.encoder.size) == ("ViT-L-14-quickgelu", 224)
    assert paper.encoder.blocks == (6, 12, 18, 24)
    assert (paper.side.name, paper.input_size) == ("convnext_base", 512)
    assert paper.encoder.frozen

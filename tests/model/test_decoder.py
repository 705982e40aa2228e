"""The prototype-guided mask decoder (Eqs. 6-7) and the plain one."""

import torch
import torch.nn.functional as F

from fasa_cli.config import DecoderConfig
from fasa_cli.model.decoder import (
    FrequencyGate,
    PrototypeAttention,
    PrototypeGuidedMaskDecoder,
    SimpleDecoder,
    TopDownMerge,
)

CONFIG = DecoderConfig(dim=8, heads=2, gate_width=4)
SIZE = (6, 10)


def test_attention_agrees_with_the_formula_at_one_position():
    attention = PrototypeAttention(5, 7, CONFIG)
    features, fake, real = torch.randn(1, 5, 2, 2), torch.randn(7), torch.randn(7)
    output = attention(features, fake, real, (2, 2))
    position = features[0, :, 1, 0]
    towards_fake, towards_real = (attention.query(one).view(2, 4) for one in (fake, real))
    key = (attention.key.weight[:, :, 0, 0] @ position + attention.key.bias).view(2, 4)
    value = (attention.value.weight[:, :, 0, 0] @ position + attention.value.bias).view(2, 4)
    nearer = F.cosine_similarity(towards_fake, key) - F.cosine_similarity(towards_real, key)
    response = torch.sigmoid(attention.scale * nearer)
    gated = (response[:, None] * value).flatten()
    expected = attention.mix.weight[0, :, 0, 0] @ gated + attention.mix.bias[0]
    torch.testing.assert_close(output[0, 0, 1, 0], expected)


def test_the_prototypes_directions_decide_and_nothing_else_of_them():
    attention = PrototypeAttention(5, 7, CONFIG)
    features, fake, real = torch.randn(1, 5, 2, 2), torch.randn(7), torch.randn(7)
    answer = attention(features, fake, real, (2, 2))
    torch.testing.assert_close(attention(features, 9 * fake, 3 * real, (2, 2)), answer)
    for other in ((real, fake), (-fake, real), (fake, -real)):
        assert not torch.allclose(attention(features, *other, (2, 2)), answer, atol=1e-3)


def test_prototypes_that_are_alike_decide_nothing():
    """Every gate is a half then, whatever the photo shows."""
    attention, features = PrototypeAttention(5, 7, CONFIG), torch.randn(1, 5, 2, 2)
    same = torch.randn(7)
    value = attention.mix(attention.value(features)) - attention.mix.bias[:, None, None]
    expected = 0.5 * value + attention.mix.bias[:, None, None]
    torch.testing.assert_close(attention(features, same, same, (2, 2)), expected)


def test_logits_are_the_gated_sum_and_the_residual():
    """Eq. 7 from the decoder's own parts."""
    decoder = PrototypeGuidedMaskDecoder((4, 6), 7, CONFIG).eval()
    stages = [torch.randn(1, 4, *SIZE), torch.randn(1, 6, 3, 5)]
    fake, real, frequency = torch.randn(7), torch.randn(7), torch.randn(1, 9, 24, 40)
    logits = decoder(stages, fake, real, frequency)
    basis = [a(s, fake, real, SIZE)[:, 0] for a, s in zip(decoder.attend, stages, strict=True)]
    gate = decoder.gate(frequency, SIZE)
    expected = sum(gate[:, s] * basis[s] for s in range(2))
    weight, bias = decoder.residual.weight.flatten(), decoder.residual.bias
    expected = expected + weight[0] * basis[0] + weight[1] * basis[1] + bias
    torch.testing.assert_close(logits[:, 0], expected)


def test_the_merge_lets_deep_stages_reach_fine_ones_and_not_the_other_way():
    merge = TopDownMerge((4, 6, 5), 3).eval()
    stages = [torch.randn(2, 4, 12, 20), torch.randn(2, 6, 6, 10), torch.randn(2, 5, 3, 5)]
    merged = merge(stages)
    assert [tuple(one.shape) for one in merged] == [(2, 3, 12, 20), (2, 3, 6, 10), (2, 3, 3, 5)]
    deeper = merge([*stages[:2], stages[2] + 1])
    assert not torch.equal(merged[0], deeper[0])
    finer = merge([stages[0] + 1, *stages[1:]])
    assert not torch.equal(merged[0], finer[0])
    torch.testing.assert_close(merged[1:], finer[1:])


def test_the_merge_is_a_part_only_where_it_is_asked_for():
    stages = [torch.randn(1, 4, *SIZE), torch.randn(1, 6, 3, 5)]
    plain = PrototypeGuidedMaskDecoder((4, 6), 7, CONFIG)
    assert plain.merge(stages) is stages
    merging = PrototypeGuidedMaskDecoder((4, 6), 7, CONFIG.model_copy(update={"merge_width": 8}))
    assert isinstance(merging.merge, TopDownMerge)
    prototypes = torch.randn(7), torch.randn(7)
    assert merging(stages, *prototypes, torch.randn(1, 9, 24, 40)).shape == (1, 1, *SIZE)


def test_the_gate_is_between_zero_and_one_and_per_stage():
    gate = FrequencyGate(3, 4)(torch.randn(2, 9, 40, 24) * 10, (10, 6))
    assert gate.shape == (2, 3, 10, 6)
    assert gate.min() >= 0
    assert gate.max() <= 1


def test_the_simple_decoder_takes_the_semantic_map_as_one_more_source():
    decoder = SimpleDecoder((4, 6), CONFIG, extra_width=5)
    sources = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 5, 3, 3)]
    assert decoder(sources).shape == (2, 1, 8, 8)

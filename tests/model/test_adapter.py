"""The semantic-frequency side adapter (Eq. 5)."""

import pytest
import torch
from torch import nn

from fasa_cli.model.adapter import ChannelNorm, SemanticFrequencySideAdapter


@pytest.mark.parametrize("doublings", [0, 1, 2, 3])
def test_it_doubles_the_grid_and_gives_the_stage_its_channels(doublings):
    adapter = SemanticFrequencySideAdapter(dim=16, stage_width=6, doublings=doublings)
    scale = 2**doublings
    output = adapter(torch.randn(2, 16, 3, 5), (3 * scale, 5 * scale))
    assert output.shape == (2, 6, 3 * scale, 5 * scale)
    transposed = [m for m in adapter.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert len(transposed) == doublings


def test_any_size_is_met():
    adapter = SemanticFrequencySideAdapter(dim=8, stage_width=4, doublings=2)
    assert adapter(torch.randn(1, 8, 3, 3), (17, 5)).shape == (1, 4, 17, 5)


def test_channel_norm_is_layer_norm_per_position():
    norm = ChannelNorm(7)
    features = torch.randn(2, 7, 3, 4)
    expected = nn.functional.layer_norm(features[1, :, 2, 3], (7,))
    torch.testing.assert_close(norm(features)[1, :, 2, 3], expected)


def test_it_starts_at_zero_so_that_a_pretrained_stage_starts_as_itself():
    adapter = SemanticFrequencySideAdapter(dim=8, stage_width=4, doublings=1)
    assert adapter(torch.randn(1, 8, 3, 3), (6, 6)).abs().max() == 0

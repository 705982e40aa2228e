"""The side backbone of `compact`: stages, context, residual energy, and where statistics join."""

import pytest
import torch

from fasa_cli.config import SideConfig
from fasa_cli.model.compact.blocks import ResidualBlock
from fasa_cli.model.compact.side import ResidualEnergy, ResidualSide, ResidualStem, mean_of_some

CONFIG = SideConfig(kind="residual", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1))


def plain(features, index):
    return features


def test_it_has_strides_4_to_32():
    stages = ResidualSide(CONFIG, 9)(torch.rand(1, 9, 64, 96), torch.rand(1, 3, 60, 90), plain)
    for stride, width, features in zip((4, 8, 16, 32), CONFIG.widths, stages, strict=True):
        assert features.shape == (1, width, 64 // stride, 96 // stride)


def test_statistics_join_the_second_stage_and_feed_those_after_it():
    config = CONFIG.model_copy(update={"statistics_width": 4, "statistics_depth": 1})
    side = ResidualSide(config, 9).eval()
    side_input, image = torch.rand(1, 9, 64, 96), torch.rand(1, 3, 60, 90)
    before = side(side_input, image, plain)
    after = side(side_input, image * 0.5, plain)  # only the statistics see this
    torch.testing.assert_close(before[0], after[0])
    assert all(
        not torch.equal(one, other) for one, other in zip(before[1:], after[1:], strict=True)
    )
    joined = side.padded(side.join(side.statistics(image)), (64, 96))
    assert joined.shape == before[1].shape


def test_statistics_are_dropped_for_some_samples_and_in_training_only():
    cells = torch.randn(400, 2, 3, 3)
    dropped = mean_of_some(cells, 0.25)
    same = (dropped == cells).flatten(1).all(1)
    assert 50 < (~same).sum() < 150
    expected = cells.mean((2, 3), keepdim=True).expand_as(cells)
    torch.testing.assert_close(dropped[~same], expected[~same])
    update = {"statistics_width": 4, "statistics_depth": 1, "statistics_dropout": 1.0}
    side = ResidualSide(CONFIG.model_copy(update=update), 9).eval()
    side_input, image = torch.rand(1, 9, 64, 64), torch.rand(1, 3, 64, 64)
    brighter = image.clone()
    brighter[..., 32:] /= 2

    def difference():
        """Over one half of the second stage, what the other half's darker side changes."""
        stages = [side(side_input, one, plain)[1] for one in (image, brighter)]
        change = (stages[0] - stages[1]).abs().mean((0, 1))
        return change.amax() - change.amin()

    assert difference() > 1e-4
    side.train()
    for module in side.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    assert difference() < 1e-4


def test_context_lets_every_position_see_the_whole_image():
    """A change in one corner reaches the opposite one only with `context`."""
    image = torch.rand(1, 8, 24, 24)
    changed = image.clone()
    changed[..., :4, :4] += 1
    for context in (False, True):
        block = ResidualBlock(8, context).eval()
        far = (block(image) - block(changed))[..., 12:, 12:].abs().max()
        assert (far > 0) == context


def test_a_context_window_is_the_cells_around():
    """Against means taken position by position, in float64."""
    torch.manual_seed(0)
    block = ResidualBlock(3, context=True, window=1, cell=4).eval()
    features = torch.randn(1, 3, 4 * 5, 4 * 2)  # 5 x 2 cells
    cells = features.double().reshape(1, 3, 5, 4, 2, 4).mean((3, 5))
    # Of two columns both are always near; of five rows three, at a border the nearest three.
    near = [cells[:, :, rows].mean((2, 3)) for rows in map(slice, [0, 0, 1, 2, 2], [3, 3, 4, 5, 5])]
    weight, bias = block.context.weight.double(), block.context.bias.double()
    expected = torch.stack([mean @ weight.T + bias for mean in near], 2)[..., None]
    context = block.context_of(torch.nn.functional.avg_pool2d(features, 4))
    torch.testing.assert_close(
        context.double(), expected.expand(-1, -1, -1, 2), atol=1e-5, rtol=1e-5
    )
    spread = torch.nn.functional.interpolate(context, (20, 8), mode="bilinear")
    change = block.second(block.first(features))
    torch.testing.assert_close(block(features), torch.relu(features + change + spread))


def test_a_context_window_past_the_image_is_all_of_it():
    torch.manual_seed(0)
    whole, near = ResidualBlock(4, True).eval(), ResidualBlock(4, True, window=4, cell=2).eval()
    near.load_state_dict(whole.state_dict())
    features = torch.randn(2, 4, 16, 18)  # 8 x 9 cells, all within 4 of the middle
    torch.testing.assert_close(near(features), whole(features))


def test_residual_energy_is_the_logarithm_of_the_mean_response():
    """Against the definition at one position, summed in float64."""
    energy = ResidualEnergy(3, 4)
    image = torch.randn(1, 3, 16, 16)
    energy.eval().norm.running_mean.normal_()
    found = energy(image)[0, :, 3, 5].detach()
    filters = energy.filters.weight.detach().double()
    filters = filters - filters.mean((2, 3), keepdim=True)
    strengths = torch.zeros(4, dtype=torch.float64)
    for row in range(5, 9):  # the 4 x 4 window at stride 2 around (6, 10)
        for column in range(9, 13):
            patch = image[0, :, row - 2 : row + 3, column - 2 : column + 3]
            strengths += (filters * patch).sum((1, 2, 3)).abs() / 16
    expected = torch.log(strengths + ResidualEnergy.FLOOR) - energy.norm.running_mean
    expected = expected / (1 + energy.norm.eps) ** 0.5
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_residual_energy_does_not_see_brightness():
    energy = ResidualEnergy(3, 4).eval()
    image = torch.rand(1, 3, 32, 32)
    inside = (..., slice(2, -2), slice(2, -2))  # at the border the padding is an edge
    torch.testing.assert_close(
        energy(image)[inside], energy(image + 0.7)[inside], atol=1e-3, rtol=1e-3
    )


def test_the_stem_keeps_its_width_with_and_without_energy():
    image = torch.rand(2, 9, 32, 48)
    for energy_width in (0, 4):
        assert ResidualStem(9, 6, energy_width)(image).shape == (2, 6, 16, 24)


@pytest.mark.parametrize("height", [512, 514, 1100])
def test_the_stem_gives_in_strips_what_it_gives_at_once(height):
    torch.manual_seed(0)
    stem = ResidualStem(9, 6, energy_width=4).eval()
    image = torch.randn(1, 9, height, 38)
    with torch.no_grad():
        torch.testing.assert_close(stem(image), stem._features(image))

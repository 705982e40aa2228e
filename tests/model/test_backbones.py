"""Backbones, with the libraries' real loading code on small models."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import EncoderConfig, ModelConfig, SideConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.model.backbones import (
    ConvNextSide,
    OpenClipEncoder,
    ResidualBlock,
    ResidualSide,
    ResidualStem,
    TraceEnergy,
    build_encoder,
    widen_convolution,
)
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model

CLIP = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
ENCODER = EncoderConfig(name="small-clip", size=32, blocks=(1, 3, 4), dim=24, heads=2)
SIDE = SideConfig(name="test_convnext")


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    """A small CLIP of open_clip's own classes, known to it by name, its weights in a file."""
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    config = folder / "small-clip.json"
    config.write_text(json.dumps(CLIP))
    open_clip.add_model_config(config)
    torch.manual_seed(3)
    path = folder / "small-clip.safetensors"
    model = open_clip.create_model("small-clip", load_weights=False)
    save_file({name: tensor.clone() for name, tensor in model.state_dict().items()}, path)
    return path


def paper_like():
    return ModelConfig(preset="paper", input_size=64, encoder=ENCODER, side=SIDE)


def test_open_clip_tokens_are_the_selected_blocks_outputs(clip_file):
    encoder = OpenClipEncoder(ENCODER, str(clip_file))
    image = torch.rand(2, 3, 50, 40)
    outputs = {}
    for number, block in enumerate(encoder.visual.transformer.resblocks, start=1):
        block.register_forward_hook(
            lambda module, inputs, output, number=number: outputs.setdefault(number, output)
        )
    tokens, grid = encoder(image)
    assert grid == (4, 4)
    for one, number in zip(tokens, ENCODER.blocks, strict=True):
        torch.testing.assert_close(one, outputs[number][:, 1:])  # without the class token
    assert encoder.width == 32


def test_prototypes_start_from_the_clip_text_tower(clip_file):
    import open_clip

    model = Fasa(paper_like(), encoder_weights=str(clip_file))
    clip = open_clip.create_model("small-clip", pretrained=str(clip_file))
    tokenizer = open_clip.get_tokenizer("small-clip")
    for prompts, prototype in (
        (ENCODER.real_prompts, model.prototypes.real_prototype),
        (ENCODER.fake_prompts, model.prototypes.fake_prototype),
    ):
        with torch.no_grad():
            embeddings = clip.encode_text(tokenizer(list(prompts)), normalize=True)
        expected = nn.functional.normalize(embeddings.mean(0), dim=0)
        torch.testing.assert_close(prototype.data, expected, atol=1e-5, rtol=1e-4)


def test_the_encoder_is_frozen_and_gives_no_gradient(clip_file):
    model = Fasa(paper_like(), encoder_weights=str(clip_file)).train()
    model(torch.rand(2, 3, 64, 64)).logits.sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert not model.encoder.visual.training


def test_an_external_encoder_is_named_with_its_hash_and_not_stored(clip_file, tmp_path):
    model = Fasa(paper_like(), encoder_weights=str(clip_file)).eval()
    path = tmp_path / "paper.safetensors"
    save_model(model, path)
    checkpoint = read_checkpoint(path)
    assert not any(name.startswith("encoder.") for name in checkpoint.tensors)
    assert checkpoint.encoder.source == str(clip_file)
    assert checkpoint.encoder.sha256 == model.encoder.sha256()
    rebuilt = build_model(checkpoint)
    image = torch.rand(1, 3, 70, 50)
    with torch.no_grad():
        torch.testing.assert_close(rebuilt(image).logits, model(image).logits)


def test_another_encoder_is_refused(clip_file, tmp_path):
    import open_clip

    path = tmp_path / "paper.safetensors"
    save_model(Fasa(paper_like(), encoder_weights=str(clip_file)), path)
    other = tmp_path / "other.safetensors"
    torch.manual_seed(4)
    clip = open_clip.create_model("small-clip", load_weights=False)
    save_file({name: tensor.clone() for name, tensor in clip.state_dict().items()}, other)
    with pytest.raises(CheckpointError, match="not the encoder"):
        build_model(read_checkpoint(path), encoder_weights=str(other))


def test_an_encoder_with_random_weights_is_stored_since_nothing_else_has_it(clip_file, tmp_path):
    model = Fasa(paper_like()).eval()
    path = tmp_path / "random.safetensors"
    save_model(model, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.encoder is None
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(build_model(checkpoint)(image).logits, model(image).logits)


@pytest.mark.parametrize("name", ["missing.safetensors", "weights.pt"])
def test_encoder_files_that_cannot_be_used_are_refused_by_name(tmp_path, clip_file, name):
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save({}, path)
    with pytest.raises(CheckpointError, match=name):
        build_encoder(ENCODER, str(path))


def test_convnext_takes_a_file_and_keeps_its_rgb_stem(tmp_path):
    timm = pytest.importorskip("timm")
    original = timm.create_model("test_convnext", num_classes=0)
    path = tmp_path / "convnext.safetensors"
    save_file({name: tensor.clone() for name, tensor in original.state_dict().items()}, path)
    side = ConvNextSide(SIDE, 9, str(path))
    torch.testing.assert_close(side.stem[0].weight[:, :3], original.stem[0].weight)
    assert 0 < side.stem[0].weight[:, 3:].std() < 0.5 * original.stem[0].weight.std()
    image = torch.rand(1, 9, 64, 64)
    image[:, 3:] = 0  # with silent bands it is the pretrained network
    features, expected = image, original.stem(image[:, :3])
    for step, stage in zip(side.steps(), original.stages, strict=True):
        features, expected = step(features), stage(expected)
        torch.testing.assert_close(features, expected)


def test_residual_side_has_strides_4_to_32():
    config = SideConfig(kind="residual", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1))
    features = torch.rand(1, 9, 64, 96)
    for stride, width, step in zip(
        (4, 8, 16, 32), config.widths, ResidualSide(config, 9).steps(), strict=True
    ):
        features = step(features)
        assert features.shape == (1, width, 64 // stride, 96 // stride)


def test_widening_keeps_an_equal_convolution_as_it_is():
    convolution = nn.Conv2d(3, 4, 3)
    assert widen_convolution(convolution, 3) is convolution


def test_context_tells_every_position_of_the_whole_image():
    """A change in one corner reaches the opposite one only with `context`."""
    image = torch.rand(1, 8, 24, 24)
    changed = image.clone()
    changed[..., :4, :4] += 1
    for context in (False, True):
        block = ResidualBlock(8, context).eval()
        far = (block(image) - block(changed))[..., 12:, 12:].abs().max()
        assert (far > 0) == context


def test_with_a_reach_context_tells_of_the_cells_around():
    """Against means taken position by position, in float64."""
    torch.manual_seed(0)
    block = ResidualBlock(3, context=True, reach=1, cell=4).eval()
    features = torch.randn(1, 3, 4 * 5, 4 * 2)  # 5 x 2 cells
    cells = features.double().reshape(1, 3, 5, 4, 2, 4).mean((3, 5))
    # Of two columns both are always near; of five rows three, at a border the nearest three.
    near = [cells[:, :, rows].mean((2, 3)) for rows in map(slice, [0, 0, 1, 2, 2], [3, 3, 4, 5, 5])]
    weight, bias = block.context.weight.double(), block.context.bias.double()
    expected = torch.stack([mean @ weight.T + bias for mean in near], 2)[..., None]
    told = block.tell(torch.nn.functional.avg_pool2d(features, 4))
    torch.testing.assert_close(told.double(), expected.expand(-1, -1, -1, 2), atol=1e-5, rtol=1e-5)
    spread = torch.nn.functional.interpolate(told, (20, 8), mode="bilinear")
    change = block.second(block.first(features))
    torch.testing.assert_close(block(features), torch.relu(features + change + spread))


def test_a_reach_past_the_image_is_all_of_it():
    torch.manual_seed(0)
    whole, near = ResidualBlock(4, True).eval(), ResidualBlock(4, True, reach=4, cell=2).eval()
    near.load_state_dict(whole.state_dict())
    features = torch.randn(2, 4, 16, 18)  # 8 x 9 cells, all within 4 of the middle
    torch.testing.assert_close(near(features), whole(features))


def test_trace_energy_is_the_logarithm_of_the_mean_response():
    """Against the definition at one position, summed in float64."""
    energy = TraceEnergy(3, 4)
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
    expected = torch.log(strengths + TraceEnergy.FLOOR) - energy.norm.running_mean
    expected = expected / (1 + energy.norm.eps) ** 0.5
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_trace_energy_does_not_see_brightness():
    energy = TraceEnergy(3, 4).eval()
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
        torch.testing.assert_close(stem(image), stem._look(image))

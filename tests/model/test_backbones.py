"""Backbones, with the libraries' real loading code on small models."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import EncoderConfig, ModelConfig, SideConfig
from fasa_cli.errors import CheckpointError
from fasa_cli.model.backbones import ConvNextSide, OpenClipEncoder, widen_convolution
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.presets import build_encoder
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
    assert encoder.widths == (32, 32, 32)


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
    expected = original.stem(image[:, :3])
    stages = side(image, image[:, :3], lambda features, index: features)
    for features, stage in zip(stages, original.stages, strict=True):
        expected = stage(expected)
        torch.testing.assert_close(features, expected)


def test_each_stage_is_injected_into_and_feeds_the_next():
    pytest.importorskip("timm")
    side = ConvNextSide(SIDE, 9).eval()
    image = torch.rand(1, 9, 64, 64)
    plain = side(image, image[:, :3], lambda features, index: features)
    second = side(image, image[:, :3], lambda features, index: features + (index == 1))
    torch.testing.assert_close(second[0], plain[0])
    torch.testing.assert_close(second[1], plain[1] + 1)
    assert not torch.equal(second[2], plain[2])


def test_widening_keeps_an_equal_convolution_as_it_is():
    convolution = nn.Conv2d(3, 4, 3)
    assert widen_convolution(convolution, 3) is convolution

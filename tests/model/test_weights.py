"""From a model to a checkpoint and back."""

import pytest
import torch

from fasa_cli.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from fasa_cli.config import TINY, VARIANTS
from fasa_cli.errors import CheckpointError
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model, speed_up


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_round_trip_is_bit_equal(tmp_path, variant):
    model = Fasa(TINY.model_copy(update={"variant": variant})).eval()
    path = tmp_path / "model.safetensors"
    sha256 = save_model(model, path, training={"steps": 3})
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256 == sha256
    assert checkpoint.training == {"steps": 3}
    rebuilt = build_model(checkpoint)
    assert rebuilt.config == model.config
    assert not rebuilt.training
    own = model.state_dict()
    for name, tensor in rebuilt.state_dict().items():
        assert torch.equal(tensor, own[name]), name


def test_half_rounds_parameters_and_keeps_running_statistics(tmp_path):
    model = Fasa(TINY).eval()
    path = tmp_path / "half.safetensors"
    save_model(model, path, half=True)
    rebuilt = build_model(read_checkpoint(path)).state_dict()
    parameters = {name for name, _ in model.named_parameters()}
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if name in parameters else tensor
        assert torch.equal(rebuilt[name], expected), name


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = Fasa(TINY)
    assert save_model(model, tmp_path / "a") == save_model(model, tmp_path / "b")


def test_missing_and_misshapen_tensors_are_refused(tmp_path):
    tensors = Fasa(TINY).state_dict()
    path = tmp_path / "model.safetensors"
    name, tensor = next(iter(tensors.items()))
    write_checkpoint(path, Checkpoint(TINY, {k: v for k, v in tensors.items() if k != name}))
    with pytest.raises(CheckpointError, match=r"1 tensors are missing.*" + name):
        build_model(read_checkpoint(path))
    write_checkpoint(path, Checkpoint(TINY, {**tensors, name: tensor.new_zeros(7, 7)}))
    with pytest.raises(CheckpointError, match="do not fit"):
        build_model(read_checkpoint(path))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_model_that_was_sped_up_answers_the_same(variant):
    torch.manual_seed(0)
    model = Fasa(TINY.model_copy(update={"variant": variant})).eval()
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(norm.running_mean)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    image = torch.rand(2, 3, 50, 70)
    with torch.no_grad():
        expected = model(image).logits
        speed_up(model)
        torch.testing.assert_close(model(image).logits, expected, atol=1e-4, rtol=1e-4)


def test_speeding_up_leaves_only_norms_that_follow_no_convolution():
    model = Fasa(TINY).eval()
    speed_up(model)
    kept = [name for name, part in model.named_modules() if isinstance(part, torch.nn.BatchNorm2d)]
    # A logarithm lies between them and a convolution.
    assert kept == ["side.stem.energy.norm", "side.statistics.norm"]

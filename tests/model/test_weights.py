"""From a model to a checkpoint and back."""

import pytest
import torch

from fasa_cli.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from fasa_cli.config import TINY, VARIANTS
from fasa_cli.errors import CheckpointError
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model, save_model


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

"""What is and is not accepted as a weights file."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from fasa_cli.checkpoint import FORMAT_VERSION, Checkpoint, read_checkpoint, write_checkpoint
from fasa_cli.config import TINY
from fasa_cli.errors import CheckpointError


@pytest.fixture
def checkpoint_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_checkpoint(path, Checkpoint(TINY, {"a": torch.arange(6.0).view(2, 3)}))
    return path


def test_content_comes_back(checkpoint_file):
    checkpoint = read_checkpoint(checkpoint_file)
    assert checkpoint.config == TINY
    assert torch.equal(checkpoint.tensors["a"], torch.arange(6.0).view(2, 3))
    assert checkpoint.path == checkpoint_file


def test_every_truncation_is_refused(checkpoint_file):
    data = checkpoint_file.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 25, len(data) - 1):
        checkpoint_file.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=str(checkpoint_file.name)):
            read_checkpoint(checkpoint_file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        read_checkpoint(tmp_path / "nowhere.safetensors")


class Explosive:
    """Unpickling it would raise."""

    def __reduce__(self):
        return (eval, ("1/0",))


@pytest.mark.parametrize("writer", ["torch.save", "pickle"])
def test_pickles_are_refused_unopened(tmp_path, writer):
    path = tmp_path / "weights.pth"
    if writer == "torch.save":
        torch.save({"weights": Explosive()}, path)
    else:
        path.write_bytes(pickle.dumps(Explosive()))
    with pytest.raises(CheckpointError, match="pickled"):
        read_checkpoint(path)


def test_sound_weights_that_begin_like_a_pickle_are_read(tmp_path):
    """The first byte is the header length's: sooner or later it is a pickle's 0x80."""
    path = tmp_path / "weights.safetensors"
    beginnings = set()
    for padding in range(300):
        write_checkpoint(path, Checkpoint(TINY, {"a" * (padding + 1): torch.zeros(1)}))
        beginnings.add(path.read_bytes()[0])
        assert len(read_checkpoint(path).tensors) == 1
    assert 0x80 in beginnings


def test_foreign_safetensors_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not one of fasa"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"not a checkpoint at all", b"\xff" * 64, b"{}" * 40])
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "noise.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "description",
    ["{", "[]", '{"format_version": 99}', '{"format_version": 1}'],
)
def test_damaged_or_later_descriptions_are_refused(tmp_path, description):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata={"fasa": description})
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        read_checkpoint(path)


def test_an_unknown_configuration_key_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    description = {
        "format_version": FORMAT_VERSION,
        "tool_version": "9",
        "config": {**TINY.model_dump(mode="json"), "colour": "blue"},
        "encoder": None,
        "training": {},
    }
    save_file({"a": torch.zeros(2)}, path, metadata={"fasa": json.dumps(description)})
    with pytest.raises(CheckpointError, match="colour"):
        read_checkpoint(path)

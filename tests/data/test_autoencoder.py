"""A network from its tensors: built by their names, refused when they are something else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fasa_cli.data.autoencoder import read_autoencoder
from fasa_cli.errors import CheckpointError

WIDTH, LATENT = 8, 4


def conv(name: str, inputs: int, outputs: int, bias: bool = True) -> dict[str, torch.Tensor]:
    tensors = {f"{name}.weight": torch.randn(outputs, inputs, 3, 3) * 0.1}
    return tensors | ({f"{name}.bias": torch.zeros(outputs)} if bias else {})


def block(name: str, pool: bool = False) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for index in (0, 2, 4):
        tensors |= conv(f"{name}.conv.{index}", WIDTH, WIDTH)
    if pool:
        tensors[f"{name}.pool.0.weight"] = torch.randn(16, WIDTH, 1, 1)
        tensors[f"{name}.pool.1.weight"] = torch.ones(16)
        tensors[f"{name}.pool.1.bias"] = torch.zeros(16)
        tensors[f"{name}.pool.3.weight"] = torch.randn(WIDTH, 16, 1, 1)
    return tensors


def encoder() -> dict[str, torch.Tensor]:
    """Halves twice."""
    tensors = conv("0", 3, WIDTH) | block("1")
    tensors |= conv("2", WIDTH, WIDTH, bias=False) | block("3", pool=True)
    return tensors | conv("4", WIDTH, WIDTH, bias=False) | conv("5", WIDTH, LATENT)


def decoder(doublings: int = 2) -> dict[str, torch.Tensor]:
    """0 clamps, 2 is a ReLU, 4 and 6 enlarge before 5 and 7."""
    tensors = conv("1", LATENT, WIDTH) | block("3", pool=True)
    for index in range(doublings):
        tensors |= conv(str(5 + 2 * index), WIDTH, WIDTH, bias=False)
    return tensors | conv("8", WIDTH, 3)


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file({k: v.half() for k, v in encoder().items()}, tmp_path / "tiny_encoder.safetensors")
    save_file({k: v.half() for k, v in decoder().items()}, tmp_path / "tiny_decoder.safetensors")
    return tmp_path


@pytest.mark.parametrize("size", [(16, 24), (13, 18), (1, 1)])
def test_any_size_comes_back(two_files: Path, size: tuple[int, int]) -> None:
    network = read_autoencoder(two_files / "tiny_encoder.safetensors")
    assert network.factor == 4
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    rendered = network.rerender(image)
    assert (rendered.shape, rendered.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(network.rerender(image), rendered)


def test_layers_follow_from_the_numbers(two_files: Path) -> None:
    network = read_autoencoder(two_files / "tiny_decoder.safetensors")
    assert network.encoder(torch.rand(1, 3, 16, 24)).shape == (1, LATENT, 4, 6)
    names = [type(layer).__name__.strip("_") for layer in network.decoder]
    assert names[:4] == ["SoftClamp", "Conv2d", "ReLU", "Residual"]
    assert names[4:] == ["Identity", "Doubling", "Identity", "Doubling", "Conv2d"]


def test_one_file_is_the_same_as_two(two_files: Path) -> None:
    both = {f"encoder.{name}": value.half() for name, value in encoder_of(two_files).items()}
    both |= {f"decoder.{name}": value.half() for name, value in decoder_of(two_files).items()}
    save_file(both, two_files / "both.safetensors")
    one = read_autoencoder(two_files / "both.safetensors")
    assert one.sha256 == read_autoencoder(two_files / "tiny_encoder.safetensors").sha256


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "tiny_encoder.safetensors")


def decoder_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "tiny_decoder.safetensors")


def test_what_is_no_autoencoder_is_named(two_files: Path) -> None:
    (two_files / "x.safetensors").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: cannot be read"):
        read_autoencoder(two_files / "x.safetensors")
    save_file({"weight": torch.ones(3)}, two_files / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: has no tensors `encoder\.`"):
        read_autoencoder(two_files / "x.safetensors")
    save_file(decoder(doublings=1), two_files / "tiny_decoder.safetensors")
    with pytest.raises(CheckpointError, match="2 halvings in the encoder, 1 doublings"):
        read_autoencoder(two_files / "tiny_encoder.safetensors")
    save_file({"weight": torch.ones(3)}, two_files / "tiny_decoder.safetensors")
    with pytest.raises(CheckpointError, match="without a number"):
        read_autoencoder(two_files / "tiny_encoder.safetensors")
    (two_files / "tiny_decoder.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tiny_decoder\.safetensors"):
        read_autoencoder(two_files / "tiny_encoder.safetensors")


def test_a_varied_one_renders_otherwise_and_leaves_the_first_alone(two_files: Path) -> None:
    network = read_autoencoder(two_files / "tiny_encoder.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    before, digest = network.rerender(image), network.sha256
    varied = network.varied(0.2, np.random.default_rng(1))
    assert (varied.rerender(image) != before).any()
    np.testing.assert_array_equal(network.rerender(image), before)
    assert network.sha256 == digest
    again = network.varied(0.2, np.random.default_rng(1))
    np.testing.assert_array_equal(again.rerender(image), varied.rerender(image))
    for name, tensor in varied.encoder.state_dict().items():
        torch.testing.assert_close(tensor, network.encoder.state_dict()[name])

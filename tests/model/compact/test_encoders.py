"""EfficientNet-Lite0 against timm's, and how its weights come in."""

import pytest
import torch
from safetensors.torch import save_file

from fasa_cli.assets import shipped_weights
from fasa_cli.config import COMPACT
from fasa_cli.errors import CheckpointError
from fasa_cli.model.compact.efficientnet import (
    EfficientNetLite0,
    _other_names,
    as_efficientnet_lite0,
)
from fasa_cli.model.compact.encoders import EfficientNetEncoder
from fasa_cli.model.fasa import Fasa


@pytest.fixture(scope="module")
def timms():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite0")
    with torch.no_grad():  # statistics that are no identity
        for name, tensor in model.state_dict().items():
            if name.endswith("running_mean"):
                tensor.normal_(std=0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("size", [(256, 256), (225, 190), (64, 33)])
def test_the_architecture_is_timms(timms, size):
    own = EfficientNetLite0()
    own.load_state_dict(as_efficientnet_lite0(timms.state_dict()), strict=False)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected = timms.forward_intermediates(
            image, indices=[2, 3, 4], intermediates_only=True, output_fmt="NCHW"
        )
        for found, other in zip(own.eval()(image), expected, strict=True):
            torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


def test_weights_come_in_by_either_name_and_from_a_checkpoint(timms, tmp_path):
    own = EfficientNetLite0().state_dict()
    others = _other_names()
    tensors = {}
    for name, tensor in timms.state_dict().items():
        if name in own and not name.endswith("num_batches_tracked"):
            layer, _, kind = name.rpartition(".")
            tensors[f"{others[layer]}.{kind}"] = tensor.clone()
    assert "_blocks.15._bn2.running_var" in tensors  # the last of 16 blocks
    path = tmp_path / "lite0.safetensors"
    save_file(tensors, path)
    encoder = EfficientNetEncoder(COMPACT.encoder, str(path))
    one, other = (network.blocks[3][0].conv_dw.weight for network in (encoder.network, timms))
    assert torch.equal(one, other)
    shipped = EfficientNetEncoder(COMPACT.encoder, str(shipped_weights()))
    assert not torch.equal(shipped.network.conv_stem.weight, encoder.network.conv_stem.weight)


def test_other_weights_are_refused_by_name(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="other"):
        EfficientNetEncoder(COMPACT.encoder, str(path))


def test_all_tokens_have_the_grid_of_stride_16():
    encoder = EfficientNetEncoder(COMPACT.encoder)
    tokens, grid = encoder(torch.rand(2, 3, 100, 70))
    assert grid == (16, 16)
    assert [one.shape for one in tokens] == [(2, 256, width) for width in (40, 112, 320)]
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_compact_holds_it_in_its_own_file_and_fits_its_budget():
    model = Fasa(COMPACT)
    assert model.encoder.source is None
    assert sum(parameter.numel() for parameter in model.parameters()) * 2 < 32e6

"""From a configuration to its backbones: those of the paper, or of `compact` and `tiny`."""

from __future__ import annotations

from fasa_cli.config import EncoderConfig, SideConfig
from fasa_cli.model.backbones import ConvNextSide, OpenClipEncoder, SemanticEncoder
from fasa_cli.model.compact.encoders import ConvolutionalEncoder, EfficientNetEncoder
from fasa_cli.model.compact.side import ResidualSide


def build_encoder(config: EncoderConfig, pretrained: str | None = None) -> SemanticEncoder:
    """The semantic encoder that `config` names; see the classes for `pretrained`."""
    if config.kind == "open_clip":
        return OpenClipEncoder(config, pretrained)
    if config.kind == "efficientnet_lite0":
        return EfficientNetEncoder(config, pretrained)
    return ConvolutionalEncoder(config)


def build_side(
    config: SideConfig, in_channels: int, pretrained: str | None = None
) -> ResidualSide | ConvNextSide:
    """The side backbone that `config` names, for 3 (baseline) or 9 input channels."""
    if config.kind == "convnext":
        return ConvNextSide(config, in_channels, pretrained)
    return ResidualSide(config, in_channels)

"""Where the weights and example photos that come with fasa lie.

A wheel carries them inside the package; a source checkout has them at its top.
"""

from __future__ import annotations

from pathlib import Path

from fasa_cli.errors import CheckpointError, ConfigError, DatasetError

_PACKAGE = Path(__file__).resolve().parent
_DEFAULT_WEIGHTS = "compact.safetensors"


def shipped_weights() -> Path:
    """The weights that commands use when none are named.

    Raises:
        CheckpointError: this installation came without them.
    """
    path = _shipped("weights") / _DEFAULT_WEIGHTS
    if not path.is_file():
        raise CheckpointError(
            f"{path}: the weights that come with fasa are missing; reinstall fasa-cli, or name "
            "a weights file with --weights"
        )
    return path


def shipped_model_card() -> Path:
    """The model card of the shipped weights.

    Raises:
        CheckpointError: this installation came without it.
    """
    path = _shipped("weights") / "MODEL_CARD.md"
    if not path.is_file():
        raise CheckpointError(f"{path}: the model card is missing; reinstall fasa-cli")
    return path


def shipped_examples() -> Path:
    """The folder of example photos with known forgeries and their masks.

    Raises:
        DatasetError: this installation came without it.
    """
    path = _shipped("examples")
    if not path.is_dir():
        raise DatasetError(
            f"{path}: the example photos that come with fasa are missing; reinstall fasa-cli"
        )
    return path


def recipe(name: str) -> Path:
    """The training recipe of this name.

    Raises:
        ConfigError: there is none of this name; the message lists those there are.
    """
    folder = _PACKAGE / "recipes"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(known.stem for known in folder.glob("*.yaml")))
        raise ConfigError(f"no recipe named {name!r}; there are: {names}")
    return path


def _shipped(kind: str) -> Path:
    checkout = _PACKAGE.parent
    # Beside an installed package lie other people's packages, one of which may be called "weights".
    is_checkout = (checkout / "pyproject.toml").is_file()
    return checkout / kind if is_checkout else _PACKAGE / "_shipped" / kind

"""Configurations: presets, files, overrides, and errors that name the cure."""

import pytest
from pydantic import ValidationError

from fasa_cli.assets import recipe
from fasa_cli.config import COMPACT, PAPER, VARIANTS, config_from_dict, load_config
from fasa_cli.errors import ConfigError


def test_defaults_are_the_papers():
    config = config_from_dict({})
    assert config.model == PAPER
    assert config.training.epochs == 20
    assert config.training.batch == 32
    assert config.training.weight_decay == 0.05


def test_a_preset_is_the_base_of_the_other_keys(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model:\n  preset: compact\n  variant: sfsa\n  encoder: {heads: 2}\n")
    model = load_config(path).model
    assert model.variant == "sfsa"
    assert model.encoder.heads == 2
    assert model.encoder.widths == COMPACT.encoder.widths


def test_toml_is_read_alike(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[model]\npreset = "tiny"\n[training]\nlearning_rate = 0.01\n')
    config = load_config(path)
    assert config.model.preset == "tiny"
    assert config.training.learning_rate == 0.01


def test_overrides_win(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 3}\n")
    config = load_config(path, ["training.epochs=5", "training.loss.dice=0.5", "model.preset=tiny"])
    assert config.training.epochs == 5
    assert config.training.loss.dice == 0.5
    assert config.model.preset == "tiny"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {epoch: 3}", "did you mean 'epochs'"),
        ("trainin: {}", "did you mean 'training'"),
        ("training: {loss: {edeg: 1}}", "did you mean 'edge'"),
        ("training: {epochs: many}", r"training\.epochs"),
        ("training: {epochs: 0}", r"training\.epochs"),
        ("model: {preset: huge}", "paper, compact, tiny"),
        ("model: {variant: all}", r"model\.variant"),
        ("model: {frequency: {cutoff_low: 1.5}}", "cutoff_low"),
        ("- a\n- b", "mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_name_the_file_and_the_cure(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert "mine.yaml" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("override", ["epochs", "=3", "training.epochs.x=1"])
def test_a_bad_override_is_named(tmp_path, override):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 3}")
    with pytest.raises(ConfigError, match="--set"):
        load_config(path, [override])


def test_variants_nest_as_the_rows_of_table_4():
    for index, variant in enumerate(VARIANTS):
        model = PAPER.model_copy(update={"variant": variant})
        assert [model.includes(part) for part in VARIANTS] == [i <= index for i in range(5)]


def test_configurations_are_frozen():
    with pytest.raises(ValidationError):
        PAPER.input_size = 3


def test_the_shipped_recipes_are_valid_and_unknown_ones_are_listed():
    config = load_config(recipe("compact"))
    assert config.model == COMPACT
    assert config.postprocess.copy_move
    with pytest.raises(ConfigError, match="catnet-protocol, compact, opensdi"):
        recipe("gigantic")


@pytest.mark.parametrize(("name", "draws"), [("opensdi", None), ("catnet-protocol", 1840)])
def test_the_papers_recipes_have_its_settings(name, draws):
    config = load_config(recipe(name))
    assert config.model == PAPER
    assert config.data.draws_per_set == draws
    assert (config.data.fit, config.data.crop) == ("resize", PAPER.input_size)
    training = config.training
    assert (training.epochs, training.batch, training.weight_decay) == (20, 32, 0.05)
    assert training.learning_rate == 1e-4
    assert (training.loss.mask, training.loss.edge, training.loss.contrastive) == (1, 20, 0.5)

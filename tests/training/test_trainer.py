"""Training: the schedule, the optimiser's groups, averaging, and exact resume."""

import json
import math

import numpy as np
import pytest
import torch

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import config_from_dict
from fasa_cli.data.datasets import read_folder
from fasa_cli.data.photos import PhotoPool
from fasa_cli.errors import CheckpointError, ConfigError, FasaError, OutputError
from fasa_cli.model.fasa import Fasa
from fasa_cli.training import Trainer, average, build_optimizer, resolve_precision, schedule
from tests.conftest import write_photo


@pytest.fixture
def pool(tmp_path):
    for seed in range(3):
        write_photo(tmp_path / "photos" / f"{seed}.png", seed, (70, 60))
    return PhotoPool(tmp_path / "photos")


def tiny_config(**training):
    return config_from_dict(
        {
            "model": {"preset": "tiny"},
            "data": {"crop": 32, "workers": 0},
            "training": {
                "epochs": 2,
                "samples_per_epoch": 6,
                "batch": 2,
                "warmup_steps": 1,
                "learning_rate": 1e-3,
                **training,
            },
        }
    )


def losses_of(trainer, stop_at=None):
    losses = []

    def report(progress):
        losses.append(progress.losses["total"])
        if progress.step == stop_at:
            raise KeyboardInterrupt

    if stop_at is None:
        trainer.fit(report)
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(report)
    return losses


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, pool):
    whole = losses_of(Trainer(tiny_config(), pool, tmp_path / "whole", "cpu"))
    first = losses_of(Trainer(tiny_config(), pool, tmp_path / "cut", "cpu"), stop_at=5)
    resumed = Trainer(tiny_config(), pool, tmp_path / "cut", "cpu")
    assert resumed.step == 3  # the last epoch's end
    second = losses_of(resumed)
    assert first[:3] + second == whole
    ends = [
        read_checkpoint(tmp_path / run / "last.safetensors").tensors for run in ("whole", "cut")
    ]
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut/metrics.jsonl").open()]
    assert steps == sorted(set(steps))


def test_workers_make_the_same_samples(tmp_path, pool):
    alone = losses_of(Trainer(tiny_config(), pool, tmp_path / "alone", "cpu"))
    config = tiny_config()
    config = config.model_copy(update={"data": config.data.model_copy(update={"workers": 2})})
    assert losses_of(Trainer(config, pool, tmp_path / "helped", "cpu")) == alone


def test_a_finished_run_has_nothing_left_to_do(tmp_path, pool):
    Trainer(tiny_config(), pool, tmp_path / "run", "cpu").fit(lambda progress: None)
    assert losses_of(Trainer(tiny_config(), pool, tmp_path / "run", "cpu")) == []


def test_another_configuration_is_refused(tmp_path, pool):
    Trainer(tiny_config(), pool, tmp_path / "run", "cpu")
    with pytest.raises(OutputError, match="another configuration"):
        Trainer(tiny_config(learning_rate=5e-4), pool, tmp_path / "run", "cpu")


def test_a_damaged_state_is_named(tmp_path, pool):
    Trainer(tiny_config(), pool, tmp_path / "run", "cpu").fit(lambda progress: None)
    state = tmp_path / "run" / "trainer.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"trainer\.safetensors"):
        Trainer(tiny_config(), pool, tmp_path / "run", "cpu")


def test_starting_weights_bring_their_architecture(tmp_path, pool, tiny_weights):
    config = tiny_config()
    model = config.model.model_copy(update={"variant": "dct"})
    trainer = Trainer(
        config.model_copy(update={"model": model}), pool, tmp_path / "run", "cpu", tiny_weights
    )
    assert trainer.config.model.variant == "full"
    expected = read_checkpoint(tiny_weights).tensors
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, pool):
    trainer = Trainer(tiny_config(), pool, tmp_path / "run", "cpu")
    with torch.no_grad():
        trainer.model.decoder.residual.weight.fill_(math.nan)
    with pytest.raises(FasaError, match="nan at step 1"):
        trainer.fit(lambda progress: None)


def test_validation_scores_the_averaged_weights(tmp_path, pool):
    for name in ("images/a.png", "authentic/b.png"):
        write_photo(tmp_path / "val" / name, 5, (48, 40))
    (tmp_path / "val" / "masks").mkdir()
    from PIL import Image

    mask = np.zeros((40, 48), np.uint8)
    mask[5:20, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "val" / "masks" / "a.png")
    reports = []
    Trainer(
        tiny_config(), pool, tmp_path / "run", "cpu", validation=read_folder(tmp_path / "val")
    ).fit(reports.append)
    validated = [report.validation for report in reports if report.validation]
    assert len(validated) == 2
    assert 0 <= validated[-1]["pixel_auc"] <= 1
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_the_schedule_warms_up_and_falls_to_zero():
    shares = [schedule(step, 100, 10) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == 1.0
    assert shares[55] == pytest.approx(0.5)
    assert shares[100] == pytest.approx(0)
    assert shares[:10] == sorted(shares[:10])
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_vectors_are_not_decayed_and_cutoffs_have_their_own_rate():
    config = tiny_config(cutoff_learning_rate=0.5)
    model = Fasa(config.model)
    decayed, plain, cutoffs = build_optimizer(model, config).param_groups
    assert decayed["weight_decay"] == 0.05
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert plain["weight_decay"] == cutoffs["weight_decay"] == 0
    assert cutoffs["params"] == [model.frequency.cutoff_logits]
    assert cutoffs["lr"] == 0.5
    count = sum(len(group["params"]) for group in (decayed, plain, cutoffs))
    assert count == len(list(model.parameters()))


def test_averaging_moves_towards_the_model():
    torch.manual_seed(0)
    averaged, model = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.num_batches_tracked.fill_(7)
    average(averaged, model, 0.9, step=10**6)
    assert averaged.weight.tolist() == pytest.approx([1.1] * 3)
    assert averaged.num_batches_tracked.item() == 7


def test_precision_is_by_name():
    cpu = torch.device("cpu")
    assert resolve_precision("auto", cpu) == torch.float32
    assert resolve_precision("bfloat16", cpu) == torch.bfloat16
    with pytest.raises(ConfigError, match="float8"):
        resolve_precision("float8", cpu)

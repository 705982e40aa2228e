"""The schedule, the optimiser's groups, averaged weights, precision by name."""

import pytest
import torch

from fasa_cli.config import TINY, TrainingConfig
from fasa_cli.errors import ConfigError
from fasa_cli.model.fasa import Fasa
from fasa_cli.training.optimisation import average, build_optimizer, resolve_precision, schedule


def test_the_schedule_warms_up_and_falls_to_zero():
    shares = [schedule(step, 100, 10) for step in range(101)]
    assert shares[0] == pytest.approx(0.1)
    assert shares[9] == 1.0
    assert shares[55] == pytest.approx(0.5)
    assert shares[100] == pytest.approx(0)
    assert shares[:10] == sorted(shares[:10])
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_vectors_are_not_decayed_and_cutoffs_have_their_own_rate():
    model = Fasa(TINY)
    optimizer = build_optimizer(model, TrainingConfig(cutoff_learning_rate=0.5))
    decayed, plain, cutoffs = optimizer.param_groups
    assert decayed["weight_decay"] == 0.05
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert plain["weight_decay"] == cutoffs["weight_decay"] == 0
    assert cutoffs["params"] == [model.frequency.cutoff_logits]
    assert cutoffs["lr"] == 0.5
    count = sum(len(group["params"]) for group in (decayed, plain, cutoffs))
    assert count == len(list(model.parameters()))


def test_averaging_moves_towards_the_model():
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

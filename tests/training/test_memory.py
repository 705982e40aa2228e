"""What a training step needs is counted before it, against what is free."""

from __future__ import annotations

import pytest
import torch

from fasa_cli.config import PRESETS, DataConfig, FasaConfig, TrainingConfig
from fasa_cli.environment import free_memory
from fasa_cli.errors import ConfigError
from fasa_cli.model.fasa import Fasa
from fasa_cli.training import memory

CPU = torch.device("cpu")


def config(batch: int = 8, accumulate: int = 1) -> FasaConfig:
    return FasaConfig(
        model=PRESETS["tiny"],
        data=DataConfig(crop=64, workers=0),
        training=TrainingConfig(batch=batch, accumulate=accumulate),
    )


@pytest.fixture(scope="module")
def model() -> Fasa:
    torch.manual_seed(0)
    return Fasa(PRESETS["tiny"]).train()


def without_batch_norm(model: Fasa) -> Fasa:
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
    return model


def test_counting_leaves_the_model_as_it_was(model: Fasa) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    memory.need_of(model, config(), torch.float32)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_is_kept_grows_with_images_and_pixels(model: Fasa) -> None:
    two, four = (memory.kept_bytes(model, config(), count, torch.float32) for count in (2, 4))
    assert four == pytest.approx(2 * two, rel=0.1)
    larger = config().model_copy(update={"data": DataConfig(crop=128, workers=0)})
    assert memory.kept_bytes(model, larger, 2, torch.float32) == pytest.approx(4 * two, rel=0.2)
    fewer = sum(value.numel() * 4 for value in model.state_dict().values())
    assert memory.fixed_bytes(model)["weights"] == fewer


def test_what_fits_is_left_as_it_is(model: Fasa, monkeypatch: pytest.MonkeyPatch) -> None:
    for free in (None, 1 << 40):
        monkeypatch.setattr(memory, "free_memory", lambda free=free: free)
        assert memory.fit_to_memory(model, config(), torch.float32, CPU, 1) == (1, None)


def test_with_batch_norm_what_does_not_fit_is_refused_with_what_would(
    model: Fasa, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = memory.need_of(model, config(), torch.float32)
    monkeypatch.setattr(memory, "free_memory", lambda: need.of(4))
    with pytest.raises(ConfigError, match=r"--batch 4\b.*training\.accumulate=2"):
        memory.fit_to_memory(model, config(), torch.float32, CPU, 1)
    assert memory.fit_to_memory(model, config(4), torch.float32, CPU, 1) == (1, None)
    assert memory.fit_to_memory(model, config(8, 2), torch.float32, CPU, 1) == (2, None)


def test_without_batch_norm_a_batch_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = without_batch_norm(Fasa(PRESETS["tiny"]).train())
    need = memory.need_of(model, config(), torch.float32)
    monkeypatch.setattr(memory, "free_memory", lambda: need.of(3))
    parts, said = memory.fit_to_memory(model, config(), torch.float32, CPU, 1)
    assert parts == 4
    assert said is not None
    assert "4 parts" in said
    monkeypatch.setattr(memory, "free_memory", lambda: need.fixed)
    with pytest.raises(ConfigError, match="--recipe compact"):
        memory.fit_to_memory(model, config(), torch.float32, CPU, 1)


def test_free_memory_is_within_the_machine() -> None:
    free = free_memory()
    assert free is None or 0 < free < 1 << 50

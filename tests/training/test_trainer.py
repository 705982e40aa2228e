"""The loop: exact resume, checkpoints, accumulation, precision, and a loss that is no number."""

import errno
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import VARIANTS, SideConfig, load_config
from fasa_cli.errors import CheckpointError, ConfigError, DatasetError, FasaError, OutputError
from fasa_cli.training.checks import check_sets
from fasa_cli.training.sources import Sources, open_sources
from fasa_cli.training.trainer import Trainer
from tests.conftest import write_photo
from tests.training.conftest import ALONE, tiny_config


@pytest.fixture
def sources(pool):
    return Sources(pool)


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


def assert_equal_weights(one: Path, other: Path) -> None:
    mine, theirs = read_checkpoint(one).tensors, read_checkpoint(other).tensors
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize(("interval", "resumes_from"), [(0, 3), (2, 4)])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, sources, interval, resumes_from):
    config = tiny_config(checkpoint_steps=interval)
    whole = losses_of(Trainer(config, sources, tmp_path / "whole", ALONE))
    first = losses_of(Trainer(config, sources, tmp_path / "cut", ALONE), stop_at=5)
    resumed = Trainer(config, sources, tmp_path / "cut", ALONE)
    assert resumed.step == resumes_from
    second = losses_of(resumed)
    assert first[:resumes_from] + second == whole
    assert_equal_weights(tmp_path / "whole/last.safetensors", tmp_path / "cut/last.safetensors")
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut/metrics.jsonl").open()]
    assert steps == sorted(set(steps))


def test_a_run_on_data_sets_resumes_within_an_epoch(tmp_path, write_set, photos):
    config = tiny_config({"draws_per_set": 3}, checkpoint_steps=2, batch=3)

    def start(out):
        sources = open_sources(config, photos=photos, sets=[write_set("a"), write_set("b", 1, 1)])
        return Trainer(
            config, check_sets(sources, tmp_path / out / "data.json"), tmp_path / out, ALONE
        )

    whole = losses_of(start("whole"))
    assert len(whole) == 2 * 4  # 3 + 3 read, 6 forged, in batches of 3
    first = losses_of(start("cut"), stop_at=7)
    assert first[:6] + losses_of(start("cut")) == whole
    assert_equal_weights(tmp_path / "whole/last.safetensors", tmp_path / "cut/last.safetensors")


def test_workers_make_the_same_samples(tmp_path, sources):
    alone = losses_of(Trainer(tiny_config(), sources, tmp_path / "alone", ALONE))
    config = tiny_config({"workers": 2})
    assert losses_of(Trainer(config, sources, tmp_path / "helped", ALONE)) == alone


def test_a_finished_run_has_nothing_left_to_do(tmp_path, sources):
    Trainer(tiny_config(), sources, tmp_path / "run", ALONE).fit(lambda progress: None)
    assert losses_of(Trainer(tiny_config(), sources, tmp_path / "run", ALONE)) == []


def test_another_configuration_or_other_data_is_refused(tmp_path, sources, write_set):
    Trainer(tiny_config(), sources, tmp_path / "run", ALONE)
    with pytest.raises(OutputError, match=r"learning_rate \(0\.001 there, 0\.0005 here\)"):
        Trainer(tiny_config(learning_rate=5e-4), sources, tmp_path / "run", ALONE)
    more = open_sources(tiny_config(), photos=sources.pool.folder, sets=[write_set("set")])
    with pytest.raises(OutputError, match="data 2: set"):
        Trainer(tiny_config(), more, tmp_path / "run", ALONE)


def test_what_the_losses_do_not_depend_on_may_change(tmp_path, sources):
    whole = losses_of(Trainer(tiny_config(), sources, tmp_path / "whole", ALONE))
    first = losses_of(Trainer(tiny_config(), sources, tmp_path / "cut", ALONE), stop_at=4)
    changed = tiny_config({"workers": 1}, checkpoint_steps=1)
    assert first[:3] + losses_of(Trainer(changed, sources, tmp_path / "cut", ALONE)) == whole


def test_a_damaged_state_is_named(tmp_path, sources):
    Trainer(tiny_config(), sources, tmp_path / "run", ALONE).fit(lambda progress: None)
    state = tmp_path / "run" / "trainer.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"trainer\.safetensors"):
        Trainer(tiny_config(), sources, tmp_path / "run", ALONE)


def test_a_full_disk_leaves_the_last_checkpoint_and_the_run_goes_on(tmp_path, sources, monkeypatch):
    config = tiny_config(checkpoint_steps=2)
    whole = losses_of(Trainer(config, sources, tmp_path / "whole", ALONE))

    def full(tensors, path):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    from fasa_cli.training import folder

    write = folder.save_file
    trainer = Trainer(config, sources, tmp_path / "cut", ALONE)
    seen = []

    def report(progress):
        seen.append(progress.losses["total"])
        if progress.step == 3:
            monkeypatch.setattr(folder, "save_file", full)

    with pytest.raises(OutputError, match=r"No space left.*make room"):
        trainer.fit(report)
    monkeypatch.setattr(folder, "save_file", write)
    assert not [path for path in (tmp_path / "cut").iterdir() if path.suffix == ".tmp"]
    resumed = Trainer(config, sources, tmp_path / "cut", ALONE)
    assert resumed.step == 3  # the first epoch's end; step 4's checkpoint had no room
    assert seen[:3] + losses_of(resumed) == whole


def test_starting_weights_bring_their_architecture(tmp_path, sources, tiny_weights):
    config = tiny_config()
    model = config.model.model_copy(update={"variant": "dct"})
    config = config.model_copy(update={"model": model})
    trainer = Trainer(config, sources, tmp_path / "run", ALONE, init=tiny_weights)
    assert trainer.config.model.variant == "full"
    expected = read_checkpoint(tiny_weights).tensors
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_no_number_stops_the_run_and_names_the_batch(tmp_path, write_set, where):
    config = tiny_config(batch=3)
    sources = open_sources(config, sets=[write_set("set")])
    trainer = Trainer(config, sources, tmp_path / "run", ALONE)
    trainer.fit(lambda progress: None)
    saved = (tmp_path / "run/trainer.safetensors").read_bytes()
    trainer.step = 0
    weight = trainer.model.decoder.residual.weight
    if where == "loss":
        with torch.no_grad():
            weight.fill_(math.nan)
    else:
        weight.register_hook(lambda gradient: gradient * math.inf)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    with pytest.raises(FasaError, match=r"at step 1.*bad_batch\.json") as error:
        trainer.fit(lambda progress: None)
    assert "last checkpoint is intact" in str(error.value)
    described = json.loads((tmp_path / "run/bad_batch.json").read_text())
    assert described["step"] == 1
    assert (described["losses"]["total"] == "nan") == (where == "loss")
    names = sorted(sample["name"] for sample in described["samples"])
    assert names == ["authentic/a0.png", "images/m0.png", "images/m1.png"]
    assert [sample["number"] for sample in described["samples"]] == [0, 1, 2]
    assert (tmp_path / "run/bad_batch.png").stat().st_size > 1000
    assert (tmp_path / "run/trainer.safetensors").read_bytes() == saved
    for old, new in zip(before, trainer.model.parameters(), strict=True):
        assert torch.equal(old, new) or where == "loss"  # no step was taken


def test_a_file_that_vanishes_stops_the_run_by_its_name(tmp_path, write_set):
    config = tiny_config({"workers": 1})
    root = write_set("set", 2, 0)
    trainer = Trainer(config, open_sources(config, sets=[root]), tmp_path / "run", ALONE)
    (root / "images" / "m1.png").unlink()
    with pytest.raises(DatasetError, match=r"m1\.png") as error:
        trainer.fit(lambda progress: None)
    assert "Traceback" not in str(error.value)


# --- Gradients -------------------------------------------------------------------------------


def gradients(config, sources, out):
    """Those of the first step, with batch norm's running statistics, so that a batch's parts do
    not depend on each other."""
    trainer = Trainer(config, sources, out, ALONE)
    batch = next(trainer._batches())
    trainer.model.eval()
    losses = trainer._train_step(*batch)
    named = trainer.model.named_parameters()
    return losses, {name: parameter.grad for name, parameter in named}


def test_parts_of_a_batch_give_the_gradients_of_the_whole(tmp_path, write_set):
    training = {"batch": 6, "clip_norm": 1e9, "loss": {"dice": 1.0, "image": 0.5}}
    # Two of six manipulated: the parts have unequal numbers of them, which matters to Dice.
    root = write_set("set", 2, 4)
    results = []
    for parts in (1, 3):
        config = tiny_config(accumulate=parts, **training)
        sources = open_sources(config, sets=[root])
        results.append(gradients(config, sources, tmp_path / str(parts)))
    (whole_losses, whole), (part_losses, parts) = results
    assert part_losses == pytest.approx(whole_losses, rel=1e-4)
    assert whole_losses["dice"] > 0
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path, sources):
    with pytest.raises(ConfigError, match="2 cannot be divided into 3"):
        Trainer(tiny_config(accumulate=3), sources, tmp_path / "run", ALONE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_all_its_parameters(tmp_path, sources, variant):
    config = tiny_config()
    model = config.model.model_copy(update={"variant": variant})
    config = config.model_copy(update={"model": model})
    losses, grads = gradients(config, sources, tmp_path / "run")
    assert math.isfinite(losses["total"])
    assert [name for name, gradient in grads.items() if gradient is None] == []


def test_bfloat16_works_on_a_cpu_with_losses_in_float32(tmp_path, sources):
    trainer = Trainer(tiny_config(precision="bfloat16"), sources, tmp_path / "run", ALONE)
    kinds = []
    inner = trainer.loss

    def watch(output, target, manipulated):
        terms = inner(output, target, manipulated)
        kinds.append({term.dtype for term in terms})
        return terms

    seen = []
    trainer.model.side.stem.register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    trainer.loss = watch
    assert all(math.isfinite(loss) for loss in losses_of(trainer))
    assert kinds[0] == {torch.float32}
    assert seen[0] == torch.bfloat16
    assert all(parameter.dtype == torch.float32 for parameter in trainer.model.parameters())


# --- What is written -------------------------------------------------------------------------


def test_validation_scores_the_averaged_weights(tmp_path, write_set, photos):
    config = tiny_config()
    sources = open_sources(config, photos=photos, validation=write_set("val", 1, 1))
    sources = check_sets(sources, tmp_path / "run" / "data.json")
    reports = []
    trainer = Trainer(config, sources, tmp_path / "run", ALONE)
    trainer.fit(reports.append)
    validated = [report.validation for report in reports if report.validation]
    assert len(validated) == 2
    assert 0 <= validated[-1]["pixel_auc"] <= 1
    assert (validated[-1]["images"], validated[-1]["skipped"]) == (2, 0)
    assert trainer.folder.last_scores() == validated[-1]

    from fasa_cli.data.datasets import read_folder
    from fasa_cli.evaluation.localizers import ModelLocalizer
    from fasa_cli.evaluation.scoring import evaluate
    from fasa_cli.predictor import Predictor

    predictor = Predictor.from_checkpoint(tmp_path / "run/last.safetensors", "cpu")
    scores = evaluate(ModelLocalizer(predictor), read_folder(tmp_path / "val")).scores
    assert scores.pixel_auc == pytest.approx(validated[-1]["pixel_auc"], abs=1e-4)
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_a_run_leaves_records_that_can_be_used(tmp_path, write_set, photos):
    pytest.importorskip("tensorboard", reason="an optional extra")
    config = tiny_config(epochs=3)
    sources = open_sources(
        config, photos=photos, sets=[write_set("set")], validation=write_set("val")
    )
    out = tmp_path / "run"
    sources = check_sets(sources, out / "data.json")
    Trainer(config, sources, out, ALONE, tensorboard=True).fit(lambda progress: None)
    assert load_config(out / "config.yaml") == config
    run = json.loads((out / "run.json").read_text())
    assert run["libraries"]["torch"]
    assert [part["sha256"] for part in run["data"]] == [fact.sha256 for fact in sources.stats]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").open()]
    table = (out / "metrics.csv").read_text().splitlines()
    assert len(table) == 1 + len(lines) >= 4
    assert table[0].startswith("step,epoch,learning_rate,losses_total,")
    total = lines[0]["losses"]["total"]
    assert float(table[1].split(",")[3]) == pytest.approx(total, abs=1e-6)
    image = np.asarray(Image.open(out / "curves.png"))
    assert image.ndim == 3
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 20  # curves, not a blank
    card = (out / "MODEL_CARD.md").read_text()
    assert f"step {lines[-1]['step']} of {lines[-1]['step']}." in card
    assert "| set | set | 3 | 2 |" in card
    assert f"| pixel AUC | {lines[-1]['validation']['pixel_auc']:.4f} |" in card

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(out / "tensorboard"))
    events.Reload()
    logged = {event.step: event.value for event in events.Scalars("losses/total")}
    assert logged == {line["step"]: pytest.approx(line["losses"]["total"]) for line in lines}


def test_without_tensorboard_the_cure_is_said(tmp_path, sources, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"fasa-cli\[tensorboard\]"):
        Trainer(tiny_config(), sources, tmp_path / "run", ALONE, tensorboard=True)


def test_a_frozen_encoder_is_shared_and_not_in_the_state(tmp_path, sources):
    config = tiny_config()
    encoder = config.model.encoder.model_copy(update={"frozen": True})
    model = config.model.model_copy(update={"encoder": encoder})
    config = config.model_copy(update={"model": model})
    whole = losses_of(Trainer(config, sources, tmp_path / "whole", ALONE))
    trainer = Trainer(config, sources, tmp_path / "cut", ALONE)
    assert trainer.averaged.encoder is trainer.model.encoder
    first = losses_of(trainer, stop_at=4)
    assert not [name for name in trainer.folder.load_state() if ".encoder." in name]
    resumed = losses_of(Trainer(config, sources, tmp_path / "cut", ALONE))
    assert first[:3] + resumed == whole
    assert_equal_weights(tmp_path / "whole/last.safetensors", tmp_path / "cut/last.safetensors")


def test_photos_alone_still_start_where_they_did(tmp_path, sources):
    """The first samples of a seed are part of what a recipe means."""
    write_photo(tmp_path / "x.png")
    trainer = Trainer(tiny_config(), sources, tmp_path / "run", ALONE)
    rng = np.random.default_rng([0, 5])
    from fasa_cli.data.augmentation import augment

    expected = augment(trainer.samples.forger.forge(rng), trainer.config.data, rng)
    assert np.array_equal(trainer.samples.make(5).image, expected.image)


def test_checkpointing_changes_no_loss_and_may_be_switched_on_later(tmp_path, sources):
    def config(wanted):
        plain = tiny_config(checkpointing=wanted)
        side = SideConfig(name="test_convnext")
        changes = {"side": side, "input_size": 64}
        model = plain.model.model_copy(update=changes)
        return plain.model_copy(update={"model": model})

    whole = losses_of(Trainer(config(False), sources, tmp_path / "whole", ALONE))
    losses_of(Trainer(config(False), sources, tmp_path / "cut", ALONE), stop_at=4)
    trainer = Trainer(config(True), sources, tmp_path / "cut", ALONE)
    assert all(stage.grad_checkpointing for stage in trainer.model.side.stages)
    assert losses_of(trainer) == pytest.approx(whole[3:], rel=1e-5)


def test_checkpointing_is_refused_where_batch_norm_would_count_twice(tmp_path, sources):
    with pytest.raises(ConfigError, match="only for a side backbone of kind convnext"):
        Trainer(tiny_config(checkpointing=True), sources, tmp_path / "run", ALONE)

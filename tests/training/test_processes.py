"""Two processes on a CPU (gloo), started by torchrun as a user would."""

import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from fasa_cli.app import app
from fasa_cli.errors import ConfigError
from fasa_cli.training.processes import Processes, joined

ROOT = Path(__file__).parents[2]

# One step on the first batch of 8, its gradients saved. Batch norm uses its running statistics:
# on a CPU each process would normalise by its own half, and the halves must not matter here.
STEP = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from fasa_cli.training.processes import joined
from fasa_cli.training.sources import open_sources
from fasa_cli.training.trainer import Trainer
from tests.training.conftest import tiny_config

data, out = map(Path, sys.argv[1:3])
with joined("cpu") as processes:
    accumulate = int(sys.argv[3])
    config = tiny_config(batch=8, clip_norm=1e9, accumulate=accumulate, loss={"dice": 1.0})
    sources = open_sources(config, sets=[data])
    trainer = Trainer(config, sources, out, processes)
    batch = next(trainer._batches())
    assert len(batch[0]) == 8 // processes.count
    trainer.model.eval()
    losses = trainer._train_step(*batch)
    if processes.is_first:
        grads = {name: value.grad.contiguous() for name, value in trainer.model.named_parameters()}
        save_file(grads, out / "gradients.safetensors", {"total": str(losses["total"])})
"""


def in_two(*arguments, cwd):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


def test_two_with_four_give_the_gradients_of_one_with_eight(tmp_path, write_set, monkeypatch):
    # Three of eight manipulated: the halves have unequal numbers of them, which matters to Dice.
    root = write_set("set", 3, 5)
    script = tmp_path / "step.py"
    script.write_text(STEP)
    monkeypatch.setattr(sys, "argv", ["step.py", str(root), str(tmp_path / "one"), "1"])
    runpy.run_path(str(script))
    done = in_two(script, root, tmp_path / "two", 2, cwd=tmp_path)  # in two parts each, at that
    assert done.returncode == 0, done.stderr
    one = load_file(tmp_path / "one" / "gradients.safetensors")
    two = load_file(tmp_path / "two" / "gradients.safetensors")
    assert one.keys() == two.keys()
    assert sum(float(gradient.abs().sum()) for gradient in one.values()) > 0.1
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_a_run_of_two_writes_once_and_scores_each_image_once(
    tmp_path, write_set, photos, monkeypatch
):
    write_set("set", 3, 2), write_set("val", 3, 2)
    small = ("model.preset=tiny", "data.crop=32", "data.workers=0", "training.epochs=2")
    small += ("training.samples_per_epoch=4", "training.batch=4", "training.precision=float32")
    command = ["train", photos, "--data", "set", "--val", "val", "--device", "cpu"]
    for change in small:
        command += ["--set", change]
    done = in_two("-m", "fasa_cli", *command, "--out", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("4 steps on 2 x cpu") == 1
    lines = [json.loads(line) for line in (tmp_path / "two/metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        assert (line["validation"]["images"], line["validation"]["skipped"]) == (5, 0)
    assert json.loads((tmp_path / "two/run.json").read_text())["processes"] == 2

    # The scores are those that one process gives the same weights.
    from fasa_cli.data.datasets import read_folder
    from fasa_cli.evaluation.localizers import ModelLocalizer
    from fasa_cli.evaluation.scoring import evaluate
    from fasa_cli.predictor import Predictor

    path = tmp_path / "two/last.safetensors"
    predictor = Predictor.from_checkpoint(path, "cpu", postprocess=False)
    scores = evaluate(ModelLocalizer(predictor), read_folder(tmp_path / "val")).scores
    for name in ("pixel_f1", "pixel_iou", "pixel_auc"):
        assert getattr(scores, name) == pytest.approx(lines[-1]["validation"][name], abs=1e-3)

    # A finished run of two is one that a single process knows, too.
    monkeypatch.chdir(tmp_path)
    again = CliRunner().invoke(app, [*map(str, command), "--out", "two"])
    assert again.exit_code == 0, again.stderr
    assert "from step 4" in again.stderr


def test_alone_everything_is_ones_own():
    with joined("cpu") as processes:
        assert processes == Processes(torch.device("cpu"))
        assert processes.is_first
        assert processes.gather(3) == [3]
        assert processes.from_first("a") == "a"
        assert processes.sum(torch.tensor(2.0)).item() == 2
        model = torch.nn.Linear(2, 2)
        assert processes.wrap(model) is model


def test_several_processes_do_not_share_a_device(monkeypatch):
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        "fasa_cli.training.processes.resolve_device", lambda name: torch.device(name)
    )
    with pytest.raises(ConfigError, match="use cuda"), joined("cuda:1"):
        pass
    with pytest.raises(ConfigError, match="cuda or cpu"), joined("mps"):
        pass

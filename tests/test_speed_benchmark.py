"""The speed benchmark runs every part as a user runs it, on the smallest of everything."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import speed_cuda  # noqa: E402
import speed_peers  # noqa: E402
import speed_startup  # noqa: E402
import speed_step  # noqa: E402
from measuring import (  # noqa: E402
    Part,
    Spread,
    Table,
    Times,
    exponent,
    in_turns,
    in_words,
    machine,
    write_json,
)
from photos import make_photos  # noqa: E402

from fasa_cli.config import TINY, SideConfig  # noqa: E402
from fasa_cli.model.fasa import Fasa  # noqa: E402


def run(*arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert bool(done.returncode) == fails, done.stderr
    return done


# --- What the parts share ---


def test_functions_take_turns_in_a_shifting_order_and_warm_up_uncounted() -> None:
    called = ""

    def call(name: str) -> None:
        nonlocal called
        called += name

    times = in_turns({name: lambda name=name: call(name) for name in "abc"}, rounds=2, warmup=1)
    assert called == "abcbcacab"
    assert {name: len(values) for name, values in times.wall.items()} == {"a": 2, "b": 2, "c": 2}


def test_ratios_are_taken_within_a_round() -> None:
    times = Times({"a": [2.0, 40.0, 8.0], "b": [1.0, 10.0, 4.0], "c": [1.0, 10.0, 4.0]}, {}, "wall")
    assert times.ratio("a", "b") == Spread(2.0, 2.0, 3.0)
    assert times.ratio("a", "b", "c") == Spread(1.0, 1.0, 1.5)  # of the others together
    assert times.seconds("a") == Spread(8.0, 5.0, 24.0)


def test_exponent_is_that_of_the_power_law() -> None:
    sizes = [1, 3, 10, 100]
    assert exponent(sizes, [5 * size**1.5 for size in sizes]) == pytest.approx(1.5)


def test_tables_as_markdown() -> None:
    table = Table("Title", ("name", "x"), [("a", 0.12345), ("b", None)], note="Note.")
    assert table.markdown() == (
        "### Title\n\n| name | x |\n| --- | ---: |\n| a | 0.123 |\n| b | - |\n\nNote.\n"
    )


def test_results_of_other_parts_and_machines_are_kept(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    write_json(out, {"cuda": Part({"images": 3}), "scan": Part({"ratio": Spread(1, 1, 2)})})
    write_json(out, {"cuda": Part(skipped="no GPU"), "model": Part(skipped="no time")})
    found = json.loads(out.read_text())
    assert found["cuda"]["images"] == 3  # a reason does not replace what was measured elsewhere
    assert found["scan"]["ratio"] == {"median": 1, "low": 1, "high": 2}
    assert found["model"]["skipped"] == "no time"
    assert found["scan"]["machine"]["cores"] >= 1


def test_the_machine_is_described_without_its_name() -> None:
    described = machine()
    assert described["threads"] >= 1
    name = platform.node()
    assert len(name) < 4 or name not in json.dumps(described)
    assert described["cpu"] in in_words(described)


def test_photos_are_the_same_for_the_same_seed_and_of_all_sizes(tmp_path: Path) -> None:
    one, other = (make_photos(tmp_path / name, 4, (0.01, 0.16), seed=3) for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    sizes = sorted(np.prod(Image.open(path).size) for path in one)
    # The middles of four equal steps on a log scale from 0.01 to 0.16 megapixels.
    assert sizes == pytest.approx([14142, 28284, 56569, 113137], rel=0.02)


# --- The parts ---


def test_list_names_every_part() -> None:
    listed = run("--list").stdout
    for part in ("startup", "cpu", "model", "scan", "growth", "training", "step", "cuda", "peers"):
        assert f"\n{part} " in f"\n{listed}"


def test_the_stages_of_one_photo() -> None:
    found = speed_startup.one_photo(0.01, rounds=1)
    assert set(found) == {"import", "load", "read", "model", "write"}
    assert all(spread.median > 0 for spread in found.values())
    assert found["import"].median > found["write"].median


def test_the_cpu_part_holds_the_model_against_a_matrix_product(tmp_path: Path) -> None:
    out = tmp_path / "speed.json"
    run("--part", "cpu", "--rounds", "1", "--cpu-sizes", "64x96", "--out", str(out))
    found = json.loads(out.read_text())["cpu"]["64x96"]
    assert 0 < found["share_of_matmul"] < 1
    assert found["bfloat16_moves_probabilities_by"] < 0.1


def test_model_scan_and_peers(tmp_path: Path, tiny_weights: Path) -> None:
    out = tmp_path / "speed.json"
    done = run(
        *("--part", "model", "--presets", "tiny", "--native", "64x96", "--rounds", "2"),
        *("--part", "scan", "--photos", "2", "--megapixels", "0.01..0.02"),
        *("--weights", str(tiny_weights), "--device", "cpu", "--part", "peers"),
        *("--peer", "mean=numpy:mean", "--peer", "copy=cp {image} {out}", "--peer-photos", "2"),
        *("--out", str(out)),
    )
    found = json.loads(out.read_text())
    model = found["model"]["tiny cpu float32"]
    assert model["size"] == [64, 96]
    # Which is larger is the benchmark's to say: a busy machine may turn two runs of `tiny` round.
    assert model["dct_over_whole"]["median"] > 0
    assert model["whole_over_backbones"]["median"] > 0
    assert sum(model["shares"].values()) == pytest.approx(1, abs=0.01)
    scan = found["scan"]
    assert (scan["photos"], scan["folders"], scan["device"]) == (2, 1, "cpu")
    assert scan["command_over_larger"]["all"] > scan["scan_over_larger"]["all"] > 0
    assert scan["megapixels"] == pytest.approx(0.0, abs=0.05)
    peers = found["peers"]
    assert (peers["mean"]["kind"], peers["copy"]["kind"]) == ("function", "command")
    assert peers["mean"]["over_fasa"]["median"] < 1 > peers["copy"]["over_fasa"]["median"]
    assert peers["fasa scan"]["over_fasa"]["median"] == 1
    assert "fasa scan of 2 photos" in done.stdout


def test_growth_training_step_and_cuda(tmp_path: Path, tiny_weights: Path) -> None:
    out, picture = tmp_path / "speed.json", tmp_path / "growth.png"
    run(
        *("--part", "growth", "--sizes", "0.02,0.08", "--files", "2", "--picture", str(picture)),
        *("--weights", str(tiny_weights)),
        *("--part", "training", "--train-preset", "tiny", "--train-steps", "2"),
        *("--train-batch", "2", "--train-crop", "32", "--train-workers", "0"),
        *("--part", "step", "--step-preset", "tiny", "--part", "cuda", "--cuda-device", "cpu"),
        *("--cuda-presets", "tiny", "--batches", "2", "--matmul", "64", "--native", "32x64"),
        *("--rounds", "1", "--out", str(out)),
    )
    found = json.loads(out.read_text())
    photos = found["growth"]["photos"]
    assert [round(row["megapixels"], 2) for row in photos] == [0.02, 0.08]
    assert all(row["peak_mb"] > 100 and row["scan_cpu_seconds"] > 0 for row in photos)
    assert found["growth"]["files"][0]["analysed"] == 2
    assert found["growth"]["files_exponents"]["peak_mb"] is None  # one point has none
    assert Image.open(picture).format == "PNG"
    training = found["training"]
    assert training["steps"] == 2
    assert 0 <= training["data_wait_share"] <= 1
    memory = found["step"]
    plain = memory["float32, plain"]
    assert plain["sum_bytes"] == sum(memory["fixed_bytes"].values()) + plain["activation_bytes"]
    assert plain["activation_bytes"] > memory["bfloat16, plain"]["activation_bytes"]
    rows = found["cuda"]["tiny"]
    assert {row["batch"] for row in rows} == {2}
    assert all(row["images_per_second"] > 0 for row in rows)


def test_what_a_step_keeps_is_what_autograd_saves() -> None:
    torch.manual_seed(0)
    side = SideConfig(name="test_convnext")
    model = Fasa(TINY.model_copy(update={"side": side, "input_size": 64})).train()
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        speed_step.forward_loss(model, 2, torch.float32, False)
    weights = (*model.parameters(), *model.buffers())
    own = {tensor.untyped_storage().data_ptr() for tensor in weights}
    expected = sum(
        tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in own
    )
    kept = speed_step.kept_bytes(model, 2, torch.float32, False)
    assert kept == expected
    assert speed_step.kept_bytes(model, 2, torch.float32, True) < 0.8 * kept
    assert torch.isfinite(model(torch.rand(1, 3, 64, 64)).logits).all()  # no empty matrix is left


def test_without_a_gpu_the_cuda_part_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert "finds no CUDA device" in speed_cuda.measure(Namespace(cuda_device="cuda")).skipped


def test_a_peer_that_cannot_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="write it as NAME=COMMAND or NAME=module:function"):
        list(speed_peers.named(["x=true {image}", "nothing"]))
    with pytest.raises(SystemExit, match="set PYTHONPATH"):
        speed_peers.loaded("nowhere:f")
    with pytest.raises(SystemExit, match=r"false \{image\}: ended with 1"):
        speed_peers.by_command("false {image}", [tmp_path / "a.jpg"], tmp_path / "out")()


def test_a_command_gets_each_photo_or_their_folder(tmp_path: Path) -> None:
    photos = [tmp_path / "in" / name for name in ("a b.jpg", "c.jpg")]
    photos[0].parent.mkdir()
    for photo in photos:
        photo.touch()
    speed_peers.by_command("cp {image} {out}", photos, tmp_path / "each")()
    assert {path.name for path in (tmp_path / "each").iterdir()} == {"a b.jpg", "c.jpg"}
    speed_peers.by_command("cp -r {folder} {out}", photos, tmp_path / "once")()
    assert (tmp_path / "once" / "in" / "c.jpg").exists()

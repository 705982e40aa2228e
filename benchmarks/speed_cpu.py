"""`compact` on a CPU: megapixels per second and core, and the share of the matmul ceiling."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measuring import Part, Table, default_clock, in_turns
from torch.utils.flop_counter import FlopCounterMode

from fasa_cli.assets import shipped_weights
from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.weights import build_model
from fasa_cli.predictor import Predictor

SIDE = 2048  # of the square matrices that show the ceiling


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--cpu-sizes", default="512x512,768x1024,2048x2048", help="HxW,HxW")


def measure(options: argparse.Namespace) -> Part:
    """The shipped model as the Predictor runs it, beside a float32 matrix product, in turns."""
    path = shipped_weights()
    fast = Predictor.from_checkpoint(path, "cpu").model
    plain = build_model(read_checkpoint(path))
    matrices = torch.rand(2, SIDE, SIDE)
    cores = torch.get_num_threads()
    table = Table(
        f"compact on a CPU, {cores} threads",
        ("height x width", "MP / s / core", "GFLOP", "of matmul", "/ plain", "bf16 / float32"),
        note="Plain: norms and layout as in the checkpoint. bf16: under autocast; not used.",
    )
    part = Part({"threads": cores}, [table])
    for size in options.cpu_sizes.split(","):
        height, width = map(int, size.split("x"))
        image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            fast(image)
        work = counter.get_total_flops()
        functions: dict[str, Callable[[], Any]] = {
            "matmul": lambda: matrices[0] @ matrices[1],
            "model": lambda image=image: fast(image),  # type: ignore[misc]
            "plain": lambda image=image: plain(image),  # type: ignore[misc]
            "bfloat16": lambda image=image: in_bfloat16(fast, image),  # type: ignore[misc]
        }
        with torch.inference_mode():
            times = in_turns(functions, options.rounds, clock=default_clock())
            moved = (in_bfloat16(fast, image) - fast(image).probabilities).abs().max().item()
        seconds = times.seconds("model").median
        share = work / (2 * SIDE**3) / times.ratio("model", "matmul").median
        figures = {
            "megapixels_per_second_and_core": height * width / 1e6 / seconds / cores,
            "gflop": work / 1e9,
            "share_of_matmul": share,
            "over_plain": times.ratio("model", "plain"),
            "bfloat16_over_float32": times.ratio("bfloat16", "model"),
            "bfloat16_moves_probabilities_by": moved,
            "seconds": times,
        }
        part.figures[size] = figures
        speed = figures["megapixels_per_second_and_core"]
        row = (size, speed, work / 1e9, f"{share:.0%}", figures["over_plain"])
        table.rows.append((*row, figures["bfloat16_over_float32"]))
    return part


def in_bfloat16(model: Fasa, image: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model(image).probabilities

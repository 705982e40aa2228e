"""Images per second on a GPU by batch and precision, beside its measured matmul ceiling."""

from __future__ import annotations

import argparse
from typing import Any

import torch
from measuring import Part, Spread, Table, in_turns
from speed_model import as_predicted, autocast, example_batch, name_of, precisions, waiter
from torch.utils.flop_counter import FlopCounterMode

from fasa_cli.config import PRESETS
from fasa_cli.model.fasa import Fasa

AIM = 0.5  # of the bf16 matmul ceiling, for `paper` at its best batch
MATMUL = 8192  # rows of the square matrices whose product is the ceiling


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--cuda-presets", default="paper,compact")
    parser.add_argument("--batches", default="1,2,4,8,16,32,64", help="images per forward")
    parser.add_argument(
        "--cuda-device", default="cuda", help="cpu goes through the same code, very slowly"
    )
    parser.add_argument("--matmul", type=int, default=MATMUL, help="rows of the ceiling's matrices")


def measure(options: argparse.Namespace) -> Part:
    """Every precision and both memory layouts by batch, each until the memory is full."""
    device = options.cuda_device
    if device == "cuda" and not torch.cuda.is_available():
        return Part(skipped="PyTorch finds no CUDA device on this machine")
    part = Part()
    ceiling = ceilings(device, options.matmul, options.rounds)
    part.figures["matmul_tflops"] = ceiling
    best = ceiling["bfloat16"].median
    table = Table(
        "Forwards on the GPU",
        [
            "preset",
            "precision",
            "layout",
            "batch",
            "images/s",
            "TFLOP/s",
            "of bf16 matmul",
            "peak MB",
        ],
        note=f"Ceiling: {best:.3g} TFLOP/s, bf16 matmul of {options.matmul}². "
        f"Aim for paper at its best batch: {AIM:.0%}.",
    )
    for preset in options.cuda_presets.split(","):
        for row in forwards(preset, device, [*map(int, options.batches.split(","))], options):
            row["share_of_bf16_matmul"] = round(row["tflops"] / best, 4)
            part.figures.setdefault(preset, []).append(row)
            keys = ("precision", "layout", "batch", "images_per_second", "tflops")
            share = f"{row['share_of_bf16_matmul']:.1%}"
            table.rows.append((preset, *(row[key] for key in keys), share, row["peak_mb"]))
    part.tables = [table]
    return part


def ceilings(device: str, rows: int, rounds: int) -> dict[str, Spread]:
    """TFLOP/s of the product of two square matrices, by precision."""
    found = {}
    for precision in (torch.float32, torch.bfloat16, torch.float16):
        a, b = (torch.randn(rows, rows, device=device, dtype=precision) for _ in range(2))
        times = in_turns(
            {"matmul": lambda a=a, b=b: a @ b},  # type: ignore[misc]
            rounds=4 * rounds,
            warmup=3,
            synchronise=waiter(torch.device(device)),
        )
        found[name_of(precision)] = Spread.of(
            [2 * rows**3 / seconds / 1e12 for seconds in times.wall["matmul"]]
        )
    return found


def forwards(
    preset: str, device: str, batches: list[int], options: argparse.Namespace
) -> list[dict[str, Any]]:
    model = as_predicted(PRESETS[preset], device)
    model.requires_grad_(False)
    one = example_batch(model, 1, device, options.native)
    with FlopCounterMode(display=False) as counter:  # which inference mode would confuse
        model(one)
    work = counter.get_total_flops() / 1e12  # of one image; multiplications and additions
    rows = []
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
    for layout, memory_format in layouts.items():
        model = model.to(memory_format=memory_format)
        for precision in precisions("cuda"):
            for batch in batches:
                try:
                    image = one.expand(batch, -1, -1, -1).contiguous()
                    seconds, peak = forward(model, image, precision, options.rounds)
                except torch.cuda.OutOfMemoryError:
                    break  # larger ones will not fit either
                rows.append(
                    {
                        "precision": name_of(precision),
                        "layout": layout,
                        "batch": batch,
                        "size": list(one.shape[-2:]),
                        "images_per_second": round(batch / seconds.median, 3),
                        "seconds": seconds,
                        "tflops": round(work * batch / seconds.median, 3),
                        "peak_mb": peak,
                    }
                )
    return rows


def forward(
    model: Fasa, image: torch.Tensor, precision: torch.dtype, rounds: int
) -> tuple[Spread, int | None]:
    """Seconds of a forward and its peak memory in MB (None on a CPU)."""
    on_gpu = image.is_cuda
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode(), autocast(image.device.type, precision):
        times = in_turns(
            {"forward": lambda: model(image)},
            rounds,
            warmup=2 if on_gpu else 1,
            synchronise=waiter(image.device),
        )
    peak = round(torch.cuda.max_memory_allocated() / 1e6) if on_gpu else None
    return times.seconds("forward"), peak

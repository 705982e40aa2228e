"""Samples per second of training through the real Trainer, and its share of waiting for data."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from measuring import Part, Table
from photos import make_photos

from fasa_cli.config import config_from_dict
from fasa_cli.data.photos import PhotoPool
from fasa_cli.training.processes import Processes
from fasa_cli.training.sources import Sources
from fasa_cli.training.trainer import Progress, Trainer


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--train-preset", default="compact", help="that is trained for a while")
    parser.add_argument("--train-steps", type=int, default=12, help="how many steps")
    parser.add_argument("--train-batch", type=int, default=8)
    parser.add_argument("--train-crop", type=int, default=320, help="pixels")
    parser.add_argument("--train-workers", type=int, default=2, help="processes making samples")


def measure(options: argparse.Namespace) -> Part:
    """Train for a while on forgeries made of generated photos."""
    config = config_from_dict(
        {
            "model": {"preset": options.train_preset},
            "data": {"crop": options.train_crop, "workers": options.train_workers},
            "training": {
                "epochs": 1,
                "samples_per_epoch": options.train_steps * options.train_batch,
                "batch": options.train_batch,
                "warmup_steps": 1,
            },
        }
    )
    seen: list[Progress] = []
    with tempfile.TemporaryDirectory(prefix="fasa-training-") as text:
        make_photos(Path(text) / "photos", 24, (0.3, 1), seed=0)
        sources = Sources(PhotoPool(Path(text) / "photos"))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trainer = Trainer(config, sources, Path(text) / "run", Processes(device))
        trainer.fit(seen.append)
    last = seen[-1]
    figures = {
        "preset": options.train_preset,
        "device": str(device),
        "batch": options.train_batch,
        "crop": options.train_crop,
        "workers": config.data.workers,
        "steps": len(seen),
        "samples_per_second": round(last.samples_per_second, 3),
        "data_wait_share": round(last.data_wait_share, 4),
    }
    table = Table("Training", ("preset", "device", "batch", "crop", "samples/s", "data wait"))
    wait = f"{last.data_wait_share:.1%}"
    setting = [figures[key] for key in ("preset", "device", "batch", "crop")]
    table.rows.append((*setting, last.samples_per_second, wait))
    return Part(figures, [table])

"""Training (section 4.1): loop, schedule, weight averaging, validation, exact resume.

The n-th sample of a run is made with a generator seeded by (seed, n), so a run that is resumed
sees the samples it would have seen, whatever the number of workers.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fasa_cli import __version__
from fasa_cli.checkpoint import read_checkpoint
from fasa_cli.config import FasaConfig
from fasa_cli.data.augmentation import augment
from fasa_cli.data.autoencoder import read_autoencoder
from fasa_cli.data.datasets import Dataset as ImageDataset
from fasa_cli.data.photos import PhotoPool
from fasa_cli.data.synthesis import Forger
from fasa_cli.errors import CheckpointError, ConfigError, FasaError, OutputError
from fasa_cli.evaluation import evaluate
from fasa_cli.images import write_atomically
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.losses import FasaLoss, LossTerms
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.predictor import Predictor, resolve_device, to_unit_range

RUN_FILE, METRICS_FILE, STATE_FILE = "run.json", "metrics.jsonl", "trainer.safetensors"
LOG_EVERY = 10  # steps
LAST_WEIGHTS, BEST_WEIGHTS = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Progress:
    """What `fit` reports after every step; losses are before their weights."""

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    learning_rate: float
    samples_per_second: float
    data_wait_share: float
    validation: dict[str, Any] | None = None


class SyntheticSamples(Dataset[tuple[Tensor, Tensor]]):
    """Forgeries made on the fly: sample n is (H x W x 3 uint8 image, H x W uint8 mask)."""

    def __init__(self, forger: Forger, config: FasaConfig, length: int) -> None:
        self.forger = forger
        self.config = config
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.config.training.seed, index])
        sample = augment(self.forger.forge(rng), self.config.data, rng)
        return torch.from_numpy(sample.image), torch.from_numpy(sample.target_mask.astype(np.uint8))


class Trainer:
    """One training run in one folder; `fit` goes on from wherever the folder stands."""

    def __init__(
        self,
        config: FasaConfig,
        pool: PhotoPool,
        out: Path,
        device: str = "auto",
        init: Path | None = None,
        validation: ImageDataset | None = None,
        autoencoder: Path | None = None,
        encoder_weights: str | None = None,
        side_weights: str | None = None,
    ) -> None:
        """`init` is a checkpoint to start from; the model's configuration is then its own.
        `autoencoder` is the file that the kinds `rerender` and `regenerate` need. The weights
        arguments name pretrained backbones (see model/backbones.py); None: random.

        Raises:
            CheckpointError, DeviceError: `init`, `autoencoder` or `device` cannot be used.
            ConfigError: a kind of forgery is not known, or needs an autoencoder.
            OutputError: `out` holds a run of another configuration.
        """
        self.device = resolve_device(device)
        torch.manual_seed(config.training.seed)
        if init is not None:
            model = build_model(read_checkpoint(init), encoder_weights)
            config = config.model_copy(update={"model": model.config})
        else:
            model = Fasa(config.model, encoder_weights, side_weights)
        self.config = config
        self.out = out
        self.pool = pool
        self.validation = validation
        precision = resolve_precision(config.training.precision, torch.device("cpu"))
        renderer = read_autoencoder(autoencoder, precision) if autoencoder else None
        self.forger = Forger(pool, config.data, renderer)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.model).eval()
        self.loss = FasaLoss(config.training.loss)
        self.optimizer = build_optimizer(self.model, config)
        self.step = 0
        self.best = -math.inf
        training = config.training
        self.steps = training.epochs * max(1, training.samples_per_epoch // training.batch)
        self._open_run(init)

    def fit(self, report: Callable[[Progress], None]) -> Path:
        """Train to the end of the schedule; returns the averaged weights' path.

        Raises:
            FasaError: the loss is no longer a number; the last checkpoint is intact.
        """
        self.model.train()
        steps_per_epoch = self.steps // self.config.training.epochs
        waiting = working = 0.0
        started = time.perf_counter()
        for images, masks in self._batches():
            ready = time.perf_counter()
            waiting += ready - started
            terms = self._train_step(images, masks)
            losses = {name: value.item() for name, value in terms._asdict().items()}
            if not math.isfinite(losses["total"]):
                raise FasaError(
                    f"{self.out}: the loss is {losses['total']} at step {self.step}; the last "
                    "checkpoint is intact. Lower training.learning_rate and run again"
                )
            working += time.perf_counter() - ready
            epoch_ended = self.step % steps_per_epoch == 0
            validation = self._end_epoch() if epoch_ended else None
            report(
                Progress(
                    step=self.step,
                    steps=self.steps,
                    epoch=math.ceil(self.step / steps_per_epoch),
                    losses=losses,
                    learning_rate=self.optimizer.param_groups[0]["lr"],
                    samples_per_second=len(images) / max(1e-9, working + waiting),
                    data_wait_share=waiting / max(1e-9, working + waiting),
                    validation=validation,
                )
            )
            if epoch_ended or self.step % LOG_EVERY == 0:
                self._log(losses, validation)
            waiting = working = 0.0
            started = time.perf_counter()
        return self.out / LAST_WEIGHTS

    def _train_step(self, images: Tensor, masks: Tensor) -> LossTerms:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(
                self.step, self.steps, self.config.training.warmup_steps
            )
        image = to_unit_range(images.to(self.device))
        target = masks.to(self.device).unsqueeze(1).float()
        precision = resolve_precision(self.config.training.precision, self.device)
        with torch.autocast(self.device.type, dtype=precision, enabled=precision != torch.float32):
            output = self.model(image.contiguous(memory_format=torch.channels_last))
        terms = self.loss(output, target)
        self.optimizer.zero_grad(set_to_none=True)
        terms.total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.training.clip_norm)
        self.optimizer.step()
        self.step += 1
        average(self.averaged, self.model, self.config.training.ema, self.step)
        return terms

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        training, data = self.config.training, self.config.data
        length = self.steps * training.batch
        samples = SyntheticSamples(self.forger, self.config, length)
        remaining = range(self.step * training.batch, len(samples))
        return iter(
            DataLoader(
                samples,
                batch_size=training.batch,
                sampler=remaining,
                num_workers=data.workers,
                prefetch_factor=4 if data.workers else None,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=_single_threaded,
            )
        )

    def _end_epoch(self) -> dict[str, Any] | None:
        """Validate the averaged weights, then save everything."""
        scores: dict[str, Any] | None = None
        if self.validation is not None:
            evaluation = evaluate(Predictor(self.averaged, str(self.device)), self.validation)
            scores = {
                name: getattr(evaluation.scores, name)
                for name in ("pixel_f1", "pixel_iou", "pixel_auc", "false_alarm_share")
            }
            if (scores["pixel_f1"] or 0.0) > self.best:
                self.best = scores["pixel_f1"] or 0.0
                save_model(self.averaged, self.out / BEST_WEIGHTS, training=self._summary())
        save_model(self.averaged, self.out / LAST_WEIGHTS, training=self._summary())
        self._save_state()
        return scores

    def _summary(self) -> dict[str, Any]:
        return {
            "data": self.config.data.model_dump(mode="json"),
            "training": self.config.training.model_dump(mode="json"),
            "steps": self.step,
            "samples": self.step * self.config.training.batch,
            "photos": len(self.pool),
        }

    # --- The run's folder ---

    def _open_run(self, init: Path | None) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        run = {
            "config": self.config.model_dump(mode="json"),
            "init": init and read_checkpoint(init).sha256,
            "photos": len(self.pool),
        }
        if self.forger.autoencoder is not None:
            run["autoencoder"] = self.forger.autoencoder.sha256
        run_file = self.out / RUN_FILE
        if run_file.exists():
            before = json.loads(run_file.read_text(encoding="utf-8"))
            if {key: before.get(key) for key in run} != json.loads(json.dumps(run)):
                raise OutputError(
                    f"{self.out}: holds a training with another configuration, start or photos; "
                    "give another --out"
                )
            if (self.out / STATE_FILE).exists():
                self._load_state()
            self._trim_metrics()
            return
        run |= {"tool_version": __version__, "torch": torch.__version__, "device": str(self.device)}
        write_atomically(run_file, json.dumps(run, indent=2).encode())

    def _log(self, losses: dict[str, float], validation: dict[str, Any] | None) -> None:
        line = {"step": self.step, "losses": losses, "validation": validation}
        with (self.out / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _trim_metrics(self) -> None:
        """Drop what was logged after the state that is gone on from, and a half-written line."""
        path = self.out / METRICS_FILE
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                if json.loads(line)["step"] <= self.step:
                    kept.append(line + "\n")
        write_atomically(path, "".join(kept).encode())

    def _save_state(self) -> None:
        from safetensors.torch import save

        tensors = {
            "step": torch.tensor(self.step),
            "best": torch.tensor(self.best, dtype=torch.float64),
        }
        for prefix, module in (("model", self.model), ("averaged", self.averaged)):
            for name, tensor in module.state_dict().items():
                tensors[f"{prefix}.{name}"] = tensor.contiguous()
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, tensor in state.items():
                tensors[f"optimizer.{index}.{name}"] = tensor.contiguous()
        write_atomically(self.out / STATE_FILE, save(tensors))

    def _load_state(self) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.out / STATE_FILE
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: damaged ({error}); start again in another --out"
            ) from error
        self.step = int(tensors.pop("step"))
        self.best = float(tensors.pop("best"))
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.averaged.load_state_dict(parts["averaged"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def build_optimizer(model: Fasa, config: FasaConfig) -> torch.optim.Optimizer:
    """AdamW in three groups (section 4.1): decayed, not decayed, and the DCT's cutoffs.

    Ours: vectors (norms, biases, prototypes) are not decayed; the cutoffs have a rate of their own,
    since at the common one they hardly move.
    """
    training = config.training
    groups: dict[str, list[nn.Parameter]] = {"decayed": [], "plain": [], "cutoffs": []}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.endswith("cutoff_logits"):
            groups["cutoffs"].append(parameter)
        else:
            groups["decayed" if parameter.ndim > 1 else "plain"].append(parameter)
    rates = {"cutoffs": training.cutoff_learning_rate}
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": rates.get(name, training.learning_rate),
                "peak": rates.get(name, training.learning_rate),
                "weight_decay": training.weight_decay if name == "decayed" else 0.0,
            }
            for name, parameters in groups.items()
            if parameters
        ]
    )


def schedule(step: int, steps: int, warmup: int) -> float:
    """The learning rate's share of its peak: a linear warm-up, then a cosine to 0 (section 4.1)."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `averaged` towards `model`; early on faster, so that the random start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    own = averaged.state_dict()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            own[name].lerp_(tensor, 1 - decay)
        else:
            own[name].copy_(tensor)


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the forward pass: `auto` is bfloat16 on a CUDA device that has it."""
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in precisions:
        raise ConfigError(f"training.precision: {name!r}; use auto, float32 or bfloat16")
    return precisions[name]


def _single_threaded(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)

"""The training loop (section 4.1): steps, validation, checkpoints, exact resume."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fasa_cli import __version__
from fasa_cli.checkpoint import Checkpoint, read_checkpoint
from fasa_cli.config import FasaConfig
from fasa_cli.data.contact_sheet import contact_sheet
from fasa_cli.environment import environment
from fasa_cli.errors import ConfigError, DatasetError, FasaError
from fasa_cli.evaluation.localizers import ModelLocalizer
from fasa_cli.evaluation.metrics import false_alarms, mean
from fasa_cli.evaluation.scoring import evaluate
from fasa_cli.files import write_atomically
from fasa_cli.imaging.encode import encode_png
from fasa_cli.model.backbones import ConvNextSide
from fasa_cli.model.fasa import Fasa
from fasa_cli.model.losses import FasaLoss, LossTerms
from fasa_cli.model.weights import build_model, save_model
from fasa_cli.predictor import Predictor, to_unit_range
from fasa_cli.results import ImageScores
from fasa_cli.training.card import model_card
from fasa_cli.training.folder import BAD_BATCH, BEST, CARD, LAST, TENSORBOARD, TrainingFolder
from fasa_cli.training.memory import PREFETCHED, fit_to_memory, has_batch_norm
from fasa_cli.training.optimisation import average, build_optimizer, resolve_precision, schedule
from fasa_cli.training.processes import Processes
from fasa_cli.training.samples import TrainingSamples, single_threaded, stack, usable_workers
from fasa_cli.training.sources import Sources
from fasa_cli.training.state import Place, has_frozen_encoder, restore, state_tensors
from fasa_cli.training.throughput import Throughput

LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class Progress:
    """What `fit` reports after every step; losses are before their weights, over the whole batch.

    The throughput is that of all processes over the last steps, validation not counted.
    """

    step: int
    steps: int
    epoch: int
    losses: dict[str, float]
    learning_rate: float
    samples_per_second: float
    data_wait_share: float
    seconds_per_step: float
    validation: dict[str, Any] | None = None


class Trainer:
    """One training run in one folder; `fit` resumes from wherever the folder stands."""

    def __init__(
        self,
        config: FasaConfig,
        sources: Sources,
        out: Path,
        processes: Processes,
        *,
        init: Path | None = None,
        encoder_weights: str | None = None,
        side_weights: str | None = None,
        tensorboard: bool = False,
    ) -> None:
        """`init` is a checkpoint to start from; the model's configuration is then its own. The
        weights arguments name pretrained backbones (see model/presets.py); None: random.

        Raises:
            CheckpointError: `init` or the state in `out` cannot be used.
            ConfigError: a kind of forgery is not known, or needs an autoencoder; the batch cannot
                be divided, or does not fit into memory; checkpointing does not fit the model;
                TensorBoard is not installed.
            OutputError: `out` holds a run of another configuration, start or data.
        """
        training = config.training
        self.processes, self.device = processes, processes.device
        _check_batch(config, processes)
        torch.manual_seed(training.seed)
        start = read_checkpoint(init) if init else None
        model = _starting_model(config, start, encoder_weights, side_weights)
        self.start = _start_text(init, start, encoder_weights, side_weights)
        self.config = config.model_copy(update={"model": model.config})
        self.sources = sources
        self.samples = TrainingSamples(sources, self.config)
        self.steps_per_epoch = self.samples.order.steps_per_epoch
        self.steps = training.epochs * self.steps_per_epoch
        self.model = processes.with_shared_norms(model).to(self.device)
        self.model = self.model.to(memory_format=torch.channels_last)
        self.precision = resolve_precision(training.precision, self.device)
        self.model.train()
        parts, changed = fit_to_memory(
            self.model, config, self.precision, self.device, processes.count
        )
        self.parts = max(processes.gather(parts))
        self.notes = [changed] if changed else []
        self.averaged = _copy_to_average(self.model)
        self.loss = FasaLoss(training.loss)
        self.optimizer = build_optimizer(self.model, training)
        self.step = 0
        self.best = -math.inf
        self.folder = TrainingFolder(out)
        self._open(start.sha256 if start else None)
        self._wrapped = processes.wrap(self.model)
        self._board = _open_board(out, self.step) if tensorboard and processes.is_first else None

    def fit(self, report: Callable[[Progress], None]) -> Path:
        """Train to the end of the schedule; returns the averaged weights' path.

        Raises:
            FasaError: the loss is non-finite; the batch is described in the folder, and
                the last checkpoint is intact.
            DatasetError: a file cannot be read any more.
        """
        self.model.train()
        self._wrapped.train()
        interval = self.config.training.checkpoint_steps
        throughput = Throughput(self.config.training.batch)
        batches = self._batches()
        throughput.start()
        for batch in batches:
            throughput.data_came()
            if isinstance(batch, DatasetError):
                raise batch
            losses = self._train_step(*batch)
            throughput.step_ended()
            epoch_ended = self.step % self.steps_per_epoch == 0
            validation = self._validate() if epoch_ended and self.sources.validation else None
            progress = Progress(
                step=self.step,
                steps=self.steps,
                epoch=math.ceil(self.step / self.steps_per_epoch),
                losses=losses,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                samples_per_second=throughput.samples_per_second,
                data_wait_share=throughput.data_wait_share,
                seconds_per_step=throughput.seconds_per_step,
                validation=validation,
            )
            checkpoints = epoch_ended or bool(interval and self.step % interval == 0)
            if checkpoints or self.step % LOG_EVERY == 0:
                self._log(progress)
            if checkpoints:
                self._save(validation)
            report(progress)
            throughput.start()
        if self.processes.is_first:
            self.folder.finish(self.step)
        if self._board is not None:
            self._board.close()
        return self.folder.out / LAST

    # --- A step ---

    def _train_step(self, images: Tensor, masks: Tensor) -> dict[str, float]:
        """One optimiser step; a process gets its share of the batch, and takes it in parts."""
        training = self.config.training
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(self.step, self.steps, training.warmup_steps)
        parts = self.parts
        # So that the mean over all parts of all processes is the loss of the whole batch.
        manipulated = masks.flatten(1).any(1).sum().to(self.device)
        manipulated_per_part = float(self.processes.sum(manipulated)) / (
            parts * self.processes.count
        )
        self.optimizer.zero_grad(set_to_none=True)
        sums = torch.zeros(len(LossTerms._fields), device=self.device)
        shares = zip(images.chunk(parts), masks.chunk(parts), strict=True)
        for number, (image, mask) in enumerate(shares, start=1):
            with self._gradients_are_shared(number == parts):
                terms = self._losses(image, mask, manipulated_per_part)
                (terms.total / parts).backward()
            sums += torch.stack([term.detach() for term in terms])
        sums = self.processes.sum(sums) / (parts * self.processes.count)
        losses = dict(zip(LossTerms._fields, sums.tolist(), strict=True))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), training.clip_norm)
        if not (math.isfinite(losses["total"]) and torch.isfinite(norm)):
            raise self._non_finite(losses)
        self.optimizer.step()
        self.step += 1
        average(self.averaged, self.model, training.ema, self.step)
        return losses

    def _losses(self, images: Tensor, masks: Tensor, manipulated: float) -> LossTerms:
        image = to_unit_range(images.to(self.device, non_blocking=True))
        target = masks.to(self.device, non_blocking=True).unsqueeze(1).float()
        lower = self.precision != torch.float32
        with torch.autocast(self.device.type, dtype=self.precision, enabled=lower):
            output = self._wrapped(image.contiguous(memory_format=torch.channels_last))
        return self.loss(output, target, manipulated)

    def _gradients_are_shared(self, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Processes exchange gradients once per step, with the last part's."""
        if now or not isinstance(self._wrapped, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return self._wrapped.no_sync()

    def _non_finite(self, losses: dict[str, float]) -> FasaError:
        """Describe the batch, as a list and as a picture, before the run stops."""
        where = self.folder.out / f"{BAD_BATCH}.json"
        if self.processes.is_first:
            batch = self.config.training.batch
            numbers = range(self.step * batch, (self.step + 1) * batch)
            samples = [self.samples.make(number) for number in numbers]
            lines = [
                {"number": number, "from": sample.source, "name": sample.name}
                for number, sample in zip(numbers, samples, strict=True)
            ]
            shown = {name: str(value) for name, value in losses.items()}  # JSON has no NaN
            described = {"step": self.step + 1, "losses": shown, "samples": lines}
            write_atomically(where, json.dumps(described, indent=1).encode())
            write_atomically(where.with_suffix(".png"), encode_png(contact_sheet(samples)))
        self.processes.gather(None)  # the first one that ends takes all others with it
        return FasaError(
            f"{self.folder.out}: the loss is {losses['total']} at step {self.step + 1}, or its "
            f"gradient is not finite; {where} names the batch, and the last checkpoint is intact. "
            "Look at the batch, or lower training.learning_rate in another --out"
        )

    def _batches(self) -> Iterator[tuple[Tensor, Tensor] | DatasetError]:
        training, workers = self.config.training, usable_workers(self.config.data.workers)
        share = training.batch // self.processes.count
        first = self.processes.rank * share
        numbers = [
            list(range(step * training.batch + first, step * training.batch + first + share))
            for step in range(self.step, self.steps)
        ]
        return iter(
            DataLoader(
                self.samples,
                batch_sampler=numbers,
                collate_fn=stack,
                num_workers=workers,
                prefetch_factor=PREFETCHED if workers else None,
                pin_memory=self.device.type == "cuda",
                worker_init_fn=single_threaded,
            )
        )

    # --- Validation ---

    def _validate(self) -> dict[str, Any]:
        """Score the averaged weights; each process takes its share of the images, each once."""
        assert self.sources.validation is not None
        self.processes.copy_from_first(self.averaged)
        mine = self.sources.validation.share(self.processes.rank, self.processes.count)
        evaluation = evaluate(ModelLocalizer(Predictor(self.averaged, str(self.device))), mine)
        images: list[ImageScores] = []
        skipped = 0
        for scored, left in self.processes.gather((evaluation.images, len(evaluation.skipped))):
            images += scored
            skipped += left
        areas = [image.area for image in images if not image.manipulated]
        return {
            "pixel_f1": mean(image.pixel_f1 for image in images),
            "pixel_iou": mean(image.pixel_iou for image in images),
            "pixel_auc": mean(image.pixel_auc for image in images),
            "false_alarm_large_share": false_alarms(areas).large_share,
            "images": len(images),
            "skipped": skipped,
        }

    # --- The run's folder ---

    def _open(self, init: str | None) -> None:
        autoencoder = self.sources.autoencoder
        identity = {
            "configuration": self.config.model_dump(mode="json"),
            "start": init,
            "data": [
                {"role": fact.role, "images": fact.images, "sha256": fact.sha256}
                for fact in self.sources.stats
            ],
            "autoencoder": autoencoder.sha256 if autoencoder else None,
            "frozen encoder": self.model.encoder.sha256()
            if has_frozen_encoder(self.model)
            else None,
        }
        made_on = {
            "tool_version": __version__,
            **environment(),
            "device": str(self.device),
            "processes": self.processes.count,
            "names": [fact.name for fact in self.sources.stats],
        }
        if self.processes.is_first:
            free = () if has_batch_norm(self.model) else (("training", "accumulate"),)
            if note := self.folder.open(identity, made_on, free):
                self.notes.append(note)
        self.processes.gather(None)  # nobody reads before it is known to be this run
        if self.folder.has_state:
            tensors = self.folder.load_state()
            self.step, self.best = restore(tensors, self.model, self.averaged, self.optimizer)
        if self.processes.is_first:
            self.folder.drop_after(self.step)
        self.processes.gather(None)

    def _log(self, progress: Progress) -> None:
        if not self.processes.is_first:
            return
        line: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.epoch,
            "learning_rate": progress.learning_rate,
            "losses": progress.losses,
            "validation": progress.validation,
            "samples_per_second": round(progress.samples_per_second, 2),
            "data_wait_share": round(progress.data_wait_share, 3),
        }
        self.folder.log(line)
        if self._board is not None:
            for group in ("losses", "validation"):
                for name, value in (line[group] or {}).items():
                    if value is not None:
                        self._board.add_scalar(f"{group}/{name}", value, progress.step)
            for name in ("learning_rate", "samples_per_second", "data_wait_share"):
                self._board.add_scalar(f"training/{name}", line[name], progress.step)

    def _save(self, scores: dict[str, Any] | None) -> None:
        """Write a checkpoint: weights first, so that they are never older than the state."""
        improved = scores is not None and (scores["pixel_f1"] or 0.0) > self.best
        if improved and scores is not None:
            self.best = scores["pixel_f1"] or 0.0
        if not self.processes.is_first:
            return
        out = self.folder.out
        if improved:
            self._write_weights(out / BEST)
        self._write_weights(out / LAST)
        card = model_card(
            self.config,
            self.sources.stats,
            (self.step, self.steps),
            sum(parameter.numel() for parameter in self.model.parameters()),
            self.start,
            self.folder.last_scores(),
        )
        write_atomically(out / CARD, card.encode())
        self.folder.draw()
        place = Place(self.step, self.best)
        state = state_tensors(place, self.model, self.averaged, self.optimizer)
        self.folder.save_state(state)

    def _write_weights(self, path: Path) -> None:
        after = self.config.postprocess
        save_model(self.averaged, path, training=self._summary(), postprocess=after)

    def _summary(self) -> dict[str, Any]:
        return {
            "data": self.config.data.model_dump(mode="json"),
            "training": self.config.training.model_dump(mode="json"),
            "sources": [
                {"role": fact.role, "name": fact.name, "images": fact.images, "sha256": fact.sha256}
                for fact in self.sources.stats
            ],
            "steps": self.step,
            "samples": self.step * self.config.training.batch,
        }


def _check_batch(config: FasaConfig, processes: Processes) -> None:
    """
    Raises:
        ConfigError: the batch cannot be divided among processes and their parts.
    """
    batch, accumulate = config.training.batch, config.training.accumulate
    parts = processes.count * accumulate
    if batch % parts:
        raise ConfigError(
            f"training.batch: {batch} cannot be divided into {parts} equal parts "
            f"({processes.count} processes x training.accumulate {accumulate})"
        )


def _starting_model(
    config: FasaConfig,
    start: Checkpoint | None,
    encoder_weights: str | None,
    side_weights: str | None,
) -> Fasa:
    """The model of a checkpoint, or a new one on named backbones.

    Raises:
        CheckpointError: the weights cannot be used.
        ConfigError: checkpointing does not fit the side backbone.
    """
    if start is not None:
        model = build_model(start, encoder_weights)
    else:
        model = Fasa(config.model, encoder_weights, side_weights)
    if config.training.checkpointing:
        if not isinstance(model.side, ConvNextSide):
            raise ConfigError(
                "training.checkpointing: only for a side backbone of kind convnext; batch norm "
                "would count every batch twice"
            )
        model.side.recompute_blocks()
    return model


def _start_text(
    init: Path | None, start: Checkpoint | None, encoder_weights: str | None, side: str | None
) -> str:
    """What the run started from, for its records."""
    if start is not None:
        return f"{init} (sha256 {start.sha256})"
    backbones = ", ".join(name for name in (encoder_weights, side) if name)
    return f"pretrained backbones ({backbones})" if backbones else "random weights"


def _copy_to_average(model: Fasa) -> Fasa:
    """A copy for averaged weights; a frozen encoder is shared, since it never changes."""
    shared = {id(model.encoder): model.encoder} if has_frozen_encoder(model) else {}
    return copy.deepcopy(model, shared).eval()


def _open_board(out: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "--tensorboard needs TensorBoard; install fasa-cli[tensorboard]"
        ) from error
    return SummaryWriter(str(out / TENSORBOARD), purge_step=step + 1)

"""`fasa train`: train a localizer on forgeries made from photos, on data sets, or on both."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fasa_cli.commands import options
from fasa_cli.commands.display import Progress as Counter
from fasa_cli.commands.display import say, warn_of_slow_bfloat16
from fasa_cli.text import counted, duration

if TYPE_CHECKING:
    from tqdm import tqdm

    from fasa_cli.config import FasaConfig
    from fasa_cli.training.processes import Processes
    from fasa_cli.training.sources import Sources, SourceStats
    from fasa_cli.training.trainer import Progress

DEMONSTRATION = ("training.epochs=2", "training.samples_per_epoch=32", "training.batch=4")
FINE_TUNING = ("training.learning_rate=1e-5", "training.warmup_steps=0")
SHOWN_EVERY = 10  # steps

Photos = Annotated[
    Path | None,
    typer.Argument(metavar="PHOTOS", help="Folder of authentic photos to make forgeries from."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="DATASET",
        help="Data set to read, in any known layout; give it again for more.",
    ),
]
Masks = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Object masks: PHOTOS/sub/a.jpg has MASKS/sub/a.png."),
]
Validation = Annotated[
    Path | None,
    typer.Option("--val", metavar="DATASET", help="Data set that is scored after every epoch."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="What the paths of lists are relative to.",
        show_default="each list's folder",
    ),
]
Lenient = Annotated[
    bool, typer.Option("--lenient", help="Leave out what cannot be used instead of stopping.")
]
NoCheck = Annotated[
    bool, typer.Option("--no-check", help="Do not decode the data sets first to check them.")
]
Recipe = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="A recipe that comes with fasa: compact, opensdi, catnet-protocol."
    ),
]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Your own configuration (TOML or YAML) instead.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key: training.epochs=5."),
]
Autoencoder = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Autoencoder (.safetensors) for rerender, regenerate."),
]
SideWeights = Annotated[
    str | None,
    typer.Option(
        metavar="timm|FILE", help="Pretrained side backbone to start from (preset paper)."
    ),
]


def train(
    photos: Photos = None,
    data: Data = None,
    masks: Masks = None,
    validation: Validation = None,
    root: Root = None,
    recipe: Recipe = "compact",
    config: Config = None,
    overrides: Overrides = None,
    variant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="baseline, dct, psa, sfsa or full (Table 4)."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="training.epochs")] = None,
    batch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="training.batch, per step")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", metavar="RATE", min=0.0, help="training.learning_rate")
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="RUN", help="The run's folder; an unfinished run is resumed."
        ),
    ] = Path("runs/train"),
    init: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Weights to start from, with their architecture."),
    ] = None,
    autoencoder: Autoencoder = None,
    encoder_weights: options.EncoderWeights = None,
    side_weights: SideWeights = None,
    lenient: Lenient = False,
    no_check: NoCheck = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write events for TensorBoard, too.")
    ] = False,
    device: options.Device = "auto",
) -> None:
    """Train a localizer: on forgeries made on the fly from PHOTOS, on data sets as they were
    published (--data), or on both. The same command resumes a run that stopped.

    With neither it trains briefly on the example photos, to show the way. Several GPUs or machines:
    torchrun --nproc-per-node 4 -m fasa_cli train ...
    """
    from fasa_cli.training.folder import locked
    from fasa_cli.training.processes import joined
    from fasa_cli.training.trainer import Trainer

    named = {
        "model.variant": variant,
        "training.epochs": epochs,
        "training.batch": batch,
        "training.learning_rate": learning_rate,
    }
    changes = [*(overrides or ())]
    changes += [f"{key}={value}" for key, value in named.items() if value is not None]
    if photos is None and not data:
        photos, changes = _examples(), [*DEMONSTRATION, *changes]
        init = init or _shipped_start(resolve(recipe, config, changes))
        changes = [*(FINE_TUNING if init else ()), *changes]
    resolved = resolve(recipe, config, changes)
    if encoder_weights is None and init is None:
        encoder_weights = shipped_encoder(resolved)
    with joined(device) as processes, ExitStack() as stack:
        show_line = say if processes.is_first else silence
        sources = open_data(
            resolved,
            processes,
            out,
            photos=photos,
            masks=masks,
            sets=data or (),
            validation=validation,
            root=root,
            autoencoder=autoencoder,
            lenient=lenient,
            decode=not no_check,
        )
        if processes.is_first:
            stack.enter_context(locked(out))
        trainer = Trainer(
            resolved,
            sources,
            out,
            processes,
            init=init,
            encoder_weights=encoder_weights,
            side_weights=side_weights,
            tensorboard=tensorboard,
        )
        for note in trainer.notes:
            show_line(note)
        model = trainer.config.model
        if processes.is_first:
            warn_of_slow_bfloat16(resolved.training.precision, processes.device.type)
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        show_line(
            f"{model.preset}, variant {model.variant}, {parameters:,} parameters; "
            f"{counted(trainer.steps, 'step')} on {processes.count} x {processes.device}, from "
            f"step {trainer.step}"
        )
        if model.encoder.kind == "open_clip" and trainer.start == "random weights":
            show_line(
                "warning: CLIP starts from random weights and is frozen; --encoder-weights openai "
                "--side-weights timm take pretrained ones (fasa weights pull)"
            )
        if trainer.step == trainer.steps:
            show_line("nothing is left to do; --epochs with a larger number extends the run")
        with Shown(show_line) as shown:
            weights = trainer.fit(shown)
        show_line(f"weights: {weights}   (fasa scan PHOTOS --weights {weights})")


def _examples() -> Path:
    from fasa_cli.assets import shipped_examples

    return shipped_examples() / "authentic"


def _shipped_start(config: FasaConfig) -> Path | None:
    """The shipped weights, if they are of this architecture; says what the demonstration does."""
    from fasa_cli.assets import shipped_weights
    from fasa_cli.checkpoint import read_configuration

    known = "no photos or data given: a short demonstration on the example photos; "
    cure = "For a model of your own: fasa train PHOTOS --masks OBJECT_MASKS, or --data DATASET"
    weights = shipped_weights()
    if read_configuration(weights)[0] == config.model:
        say(f"{known}the shipped weights learn on from them, and scan as well as before. {cure}")
        return weights
    say(f"{known}from random weights, so that what it makes finds nothing. {cure}")
    return None


def resolve(recipe: str, config: Path | None, changes: Sequence[str]) -> FasaConfig:
    """The configuration of a recipe or a file, with changes."""
    from fasa_cli import assets
    from fasa_cli.config import load_config

    return load_config(config or assets.recipe(recipe), changes)


def shipped_encoder(config: FasaConfig) -> str | None:
    """Where a pretrained encoder is to be had that comes with fasa: in the shipped weights."""
    from fasa_cli.assets import shipped_weights

    encoder = config.model.encoder
    wanted = encoder.kind == "efficientnet_lite0" and config.model.includes("psa")
    return str(shipped_weights()) if wanted else None


def open_data(
    config: FasaConfig,
    processes: Processes,
    out: Path,
    *,
    photos: Path | None,
    masks: Path | None,
    sets: Sequence[Path],
    validation: Path | None,
    root: Path | None,
    autoencoder: Path | None,
    lenient: bool,
    decode: bool,
) -> Sources:
    """Open the data and check it, saying what it holds; one of several processes does."""
    from fasa_cli.training.checks import check_photos, check_sets
    from fasa_cli.training.folder import DATA
    from fasa_cli.training.sources import open_sources

    sources = open_sources(
        config,
        photos=photos,
        masks=masks,
        sets=sets,
        validation=validation,
        root=root,
        autoencoder=autoencoder,
        lenient=lenient,
    )
    left_out = check_photos(sources)
    if processes.is_first:
        for problem in left_out:
            say(f"left out: {problem}")
        total = sum(len(read.dataset) for read in sources.read)
        with Counter(total, "images checked") as counter:
            sources = check_sets(
                sources,
                out / DATA,
                workers=config.data.workers,
                lenient=lenient,
                decode=decode,
                advance=counter.advance,
            )
        for stats in sources.stats:
            _show_stats(stats)
        if sources.pool is not None and masks is not None:
            known = len(sources.pool.masks)
            say(f"object masks: {masks.name}, of {known} of {counted(len(sources.pool), 'photo')}")
        for name in sources.scored_on_what_is_learned():
            say(f"warning: {name} is both learned from and scored on; its scores say little")
    return sources.with_checks(processes.from_first(sources.checked))


def _show_stats(stats: SourceStats) -> None:
    for problem in stats.problems:
        say(f"left out: {problem}")
    text = f"{stats.role}: {stats.name}, {counted(stats.images, 'image')}"
    if stats.manipulated is not None:
        text += f", {stats.manipulated} manipulated"
    if stats.unmarked:
        text += f"; {stats.unmarked} masks mark nothing (fasa data check names them)"
    say(text)


class Shown:
    """A training as it goes: a bar in a terminal, with rate, time left and loss; elsewhere a line
    every ten steps, which reads well in a log. Validations get a line of their own."""

    def __init__(self, show_line: Callable[[str], None] = say, prefix: str = "") -> None:
        self._show_line, self._prefix = show_line, prefix
        self._bar: tqdm[NoReturn] | None = None
        self._has_bar = show_line is say and sys.stderr.isatty()

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Show a step."""
        last = progress.step == progress.steps
        left = (progress.steps - progress.step) * progress.seconds_per_step
        losses = "  ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        if self._has_bar:
            self._advance(progress)
        elif progress.step % SHOWN_EVERY == 0 or progress.validation is not None or last:
            self._show_line(
                f"{self._prefix}step {progress.step}/{progress.steps}  epoch {progress.epoch}  "
                f"{losses}  {progress.samples_per_second:.3g} samples/s, "
                f"{progress.data_wait_share:.0%} waiting for data, {duration(left)} left"
            )
        if progress.validation is not None:
            numbers = (f"{name} {_number(value)}" for name, value in progress.validation.items())
            self._note(
                f"{self._prefix}epoch {progress.epoch}, validation (native, threshold 0.5): "
                + "  ".join(numbers)
            )

    def _advance(self, progress: Progress) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=progress.steps,
                initial=progress.step - 1,
                desc=f"{self._prefix}training",
                unit="step",
                dynamic_ncols=True,
                file=sys.stderr,
            )
        self._bar.set_postfix_str(
            f"epoch {progress.epoch}, loss {progress.losses['total']:.3f}, "
            f"{progress.samples_per_second:.3g} samples/s",
            refresh=False,
        )
        self._bar.update()

    def _note(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        self._show_line(text)
        if self._bar is not None:
            self._bar.refresh()


def _number(value: float | int | None) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)


def silence(text: str) -> None:
    """What processes after the first say."""

"""What a run writes, all of it in one folder.

config.yaml          the resolved configuration; --config reads it
run.json             what must be equal to resume, and on what the run was made
data.json            what the check of the data found, hashes over pixels included
metrics.jsonl .csv   losses every few steps, scores after every epoch
curves.png           the same as curves
last.safetensors     averaged weights of the last checkpoint, for `fasa scan`
best.safetensors     those of the epoch that scored best on the validation set
trainer.safetensors  what training resumes from; a finished run is extended from it
MODEL_CARD.md        what the weights are, from what, and how they scored
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fasa_cli.config import FasaConfig
from fasa_cli.errors import CheckpointError, OutputError
from fasa_cli.files import csv_table, lock_held, renamed_when_done, write_atomically, write_lines
from fasa_cli.text import counted

CONFIG, RUN, DATA = "config.yaml", "run.json", "data.json"
METRICS, TABLE, CURVES = "metrics.jsonl", "metrics.csv", "curves.png"
LOCK = ".lock"
LAST, BEST, STATE = "last.safetensors", "best.safetensors", "trainer.safetensors"
CARD, BAD_BATCH, TENSORBOARD = "MODEL_CARD.md", "bad_batch", "tensorboard"

_LONGEST_VALUE = 60  # characters, in messages

# What samples and gradients do not depend on.
FREE = {
    ("data", "workers"),
    ("data", "cache_gigabytes"),
    ("training", "checkpoint_steps"),
    ("training", "checkpointing"),
}


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Make the folder, and keep a second training out of it.

    Raises:
        OutputError: it cannot be made, or another training is writing there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror})") from error
    held = f"{out}: another training is writing there; wait for it, or give another --out"
    with lock_held(out / LOCK, held):
        yield


class TrainingFolder:
    """The folder of one training. Only the first of several processes writes to it."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def open(
        self,
        identity: Mapping[str, Any],
        made_on: Mapping[str, Any],
        free: Iterable[tuple[str, str]] = (),
    ) -> str | None:
        """Start a run here, or resume one of the same `identity` (plain JSON values); settings
        in `FREE` and `free` may differ. More epochs extend the run: returns a sentence that says
        so.

        Raises:
            OutputError: the folder cannot be written, holds another run, or a finished one whose
                state is gone.
        """
        path = self.out / RUN
        wanted = json.loads(json.dumps(identity))
        if path.exists():
            before = self._read_run()
            note = self._extended(before, wanted, {*FREE, *free})
            if not self.has_state and before.get("finished"):
                raise OutputError(
                    f"{self.out}: holds a finished training without {STATE}, from which it would "
                    "go on; give another --out, with --init to start from its weights"
                )
            return note
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be made ({error.strerror})") from error
        self._write_run({**wanted, **made_on})
        return None

    def _extended(
        self, before: dict[str, Any], wanted: dict[str, Any], free: set[tuple[str, str]]
    ) -> str | None:
        """Check that `wanted` is the run that is here, or the same with more epochs."""
        differing = _differing(before, wanted, free)
        epochs = "training.epochs"
        old, new = differing.get(epochs, (0, 0))
        if list(differing) == [epochs] and old < new:
            extended = [*before.get("extended", []), {"epochs": old, "to": new}]
            self._write_run({**before, **wanted, "extended": extended})
            return (
                f"extended from {old} to {new} epochs; from here on the learning rate follows the "
                "longer schedule"
            )
        if differing:
            named = ", ".join(
                f"{key} ({_shown(there)} there, {_shown(here)} here)"
                for key, (there, here) in differing.items()
            )
            raise OutputError(
                f"{self.out}: holds a training with another {named}; give another --out"
                + (" (a run can be extended, not shortened)" if epochs in differing else "")
            )
        return None

    def finish(self, step: int) -> None:
        """Record that the run has come to its end, at this step."""
        run = self._read_run()
        if run.get("finished") != step:
            self._write_run({**run, "finished": step})

    def _write_run(self, run: Mapping[str, Any]) -> None:
        config = FasaConfig.model_validate(run["configuration"])
        write_atomically(self.out / CONFIG, dump_config(config).encode())
        write_atomically(self.out / RUN, json.dumps(run, indent=2).encode())

    def _read_run(self) -> dict[str, Any]:
        path = self.out / RUN
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{path}: damaged ({error}); give another --out") from error
        return values if isinstance(values, dict) else {}

    # --- Metrics ---

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line to the metrics; its "step" says what to drop when a run resumes from before.

        Raises:
            OutputError: the file cannot be written.
        """
        path = self.out / METRICS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the metrics, without a half-written one."""
        path = self.out / METRICS
        if not path.exists():
            return []
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and "step" in line:
                    lines.append(line)
        return lines

    def drop_after(self, step: int) -> None:
        """Drop what was logged after the state that training resumes from."""
        kept = [json.dumps(line) + "\n" for line in self.metrics() if line["step"] <= step]
        write_atomically(self.out / METRICS, "".join(kept).encode())

    def last_scores(self) -> dict[str, Any] | None:
        """The scores of the latest validation."""
        scores = [line["validation"] for line in self.metrics() if line.get("validation")]
        return scores[-1] if scores else None

    def draw(self) -> None:
        """Write the metrics as a table and as curves."""
        from fasa_cli.training.curves import draw_curves

        lines = self.metrics()
        if not lines:
            return
        rows = [_flat(line) for line in lines]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = ({name: row.get(name, "") for name in columns} for row in rows)
        write_lines(self.out / TABLE, csv_table(table))
        write_atomically(self.out / CURVES, draw_curves(lines))

    # --- What training resumes from ---

    @property
    def has_state(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return (self.out / STATE).exists()

    def save_state(self, tensors: dict[str, Tensor]) -> None:
        """Replace the last checkpoint as a whole, or leave it as it is.

        Raises:
            OutputError: it cannot be written.
        """
        with _replacing(self.out / STATE) as temporary:
            save_file(tensors, temporary)

    def load_state(self) -> dict[str, Tensor]:
        """
        Raises:
            CheckpointError: the file is damaged.
        """
        path = self.out / STATE
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: damaged ({error}); start again in another --out"
            ) from error


def _differing(
    before: Mapping[str, Any], wanted: Mapping[str, Any], free: set[tuple[str, str]]
) -> dict[str, tuple[Any, Any]]:
    """What differs between a run and what is wanted: dotted keys of the configuration, or other
    parts of its identity, with both values."""
    there, here = (_leaves(run.get("configuration", {})) for run in (before, wanted))
    for section, key in free:
        there.pop(f"{section}.{key}", None)
        here.pop(f"{section}.{key}", None)
    there |= _of_data(before)
    here |= _of_data(wanted)
    for key, value in wanted.items():
        if key not in ("configuration", "data"):
            there[key], here[key] = before.get(key), value
    return {
        key: (there.get(key), here.get(key))
        for key in [*here, *(key for key in there if key not in here)]
        if there.get(key) != here.get(key)
    }


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"training": {"batch": 2}} -> {"training.batch": 2}."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def _of_data(run: Mapping[str, Any]) -> dict[str, Any]:
    """{"data: photos": "2 images, sha256 0123abcd..."} of each source; several are numbered."""
    found: dict[str, Any] = {}
    for number, fact in enumerate(run.get("data") or [], start=1):
        name = f"data {number}: {fact['role']}"
        found[name] = f"{counted(fact['images'], 'image')}, sha256 {str(fact['sha256'])[:12]}"
    return found


def _shown(value: Any) -> str:
    text = "none" if value is None else json.dumps(value) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "..."


def dump_config(config: FasaConfig) -> str:
    """YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _flat(line: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"losses": {"mask": 1}} -> {"losses_mask": 1}; None is left out."""
    flat: dict[str, Any] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        elif value is not None:
            flat[prefix + name] = value
    return flat


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` when all went well."""
    try:
        with renamed_when_done(path) as temporary:
            yield temporary
    except (OutputError, SafetensorError) as error:
        raise OutputError(
            f"{path}: cannot be written ({error.__cause__ or error}); the last checkpoint is "
            "intact: make room and run the same command again"
        ) from error

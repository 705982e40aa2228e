"""What a run writes, all of it in one folder.

config.yaml          the resolved configuration; --config reads it
run.json             what must be equal to resume, and on what the run was made
data.json            what the check of the data found, hashes over pixels included
metrics.jsonl .csv   losses every few steps, scores after every epoch
curves.png           the same as curves
last.safetensors     averaged weights of the last checkpoint, for `fasa scan`
best.safetensors     those of the epoch that scored best on the validation set
trainer.safetensors  what training resumes from; a finished run no longer needs it
MODEL_CARD.md        what the weights are, from what, and how they scored
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fasa_cli.config import FasaConfig
from fasa_cli.errors import CheckpointError, OutputError
from fasa_cli.files import csv_table, renamed_when_done, write_atomically, write_lines

CONFIG, RUN, DATA = "config.yaml", "run.json", "data.json"
METRICS, TABLE, CURVES = "metrics.jsonl", "metrics.csv", "curves.png"
LAST, BEST, STATE = "last.safetensors", "best.safetensors", "trainer.safetensors"
CARD, BAD_BATCH, TENSORBOARD = "MODEL_CARD.md", "bad_batch", "tensorboard"

# What samples and gradients do not depend on.
FREE = {
    ("data", "workers"),
    ("data", "cache_gigabytes"),
    ("training", "checkpoint_steps"),
    ("training", "checkpointing"),
}


class TrainingFolder:
    """The folder of one training. Only the first of several processes writes to it."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def open(self, identity: Mapping[str, Any], made_on: Mapping[str, Any]) -> None:
        """Start a run here, or resume one of the same `identity` (plain JSON values); settings
        in `FREE` may differ.

        Raises:
            OutputError: the folder cannot be written, or holds another run.
        """
        path = self.out / RUN
        wanted = json.loads(json.dumps(identity))
        if path.exists():
            before = _without_free(self._read_run())
            compared = _without_free(wanted)
            other = [key for key in compared if before.get(key) != compared[key]]
            if other:
                raise OutputError(
                    f"{self.out}: holds a training with another {' and '.join(other)}; give "
                    "another --out"
                )
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.out}: cannot be made ({error.strerror})") from error
        config = FasaConfig.model_validate(wanted["configuration"])
        write_atomically(self.out / CONFIG, dump_config(config).encode())
        write_atomically(path, json.dumps({**wanted, **made_on}, indent=2).encode())

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


def _without_free(run: dict[str, Any]) -> dict[str, Any]:
    """A run's identity without the settings that another machine may need to change."""
    configuration = {
        section: {key: value for key, value in values.items() if (section, key) not in FREE}
        for section, values in run.get("configuration", {}).items()
    }
    return {**run, "configuration": configuration}


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

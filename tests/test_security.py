"""What an input, a weights file or a network could do to us: nothing."""

from __future__ import annotations

import ast
import csv
import json
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fasa_cli
from fasa_cli.app import app
from tests.conftest import write_photo

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(fasa_cli.__file__).parent
NETWORK = (
    "socket.__new__",
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "urllib.Request",
)
CODE = ("pickle.find_class",)
# The oldest version without a hole that is known to matter here, and which.
FLOORS = {
    "pillow": (12, 3),  # heap writes in paste, crop and colour transforms, bombs (CVE-2026-59199..)
    "opencv-python": (4, 12),  # heap write from a crafted JPEG (CVE-2025-53644)
    "torch": (2, 10),  # torch.load with weights_only (CVE-2026-24747), which is never called
    "tqdm": (4, 66, 3),  # CVE-2024-34062
    "pydantic": (2, 4),  # CVE-2024-3772
    "pyyaml": (5, 4),  # CVE-2020-14343
    "pyarrow": (23, 0, 1),  # CVE-2026-25087
    "numpy": (1, 22),  # CVE-2021-41496
}

_watched: list[str] | None = None  # an audit hook stays for ever, so it asks whether it is wanted


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watched is not None and event in (*NETWORK, *CODE):
        _watched.append(f"{event} {arguments!r:.100}")
        if event in NETWORK:
            raise PermissionError(f"{event} is blocked")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What was done meanwhile that opens a connection or runs foreign code; connections fail."""
    global _watched
    if not hasattr(sys, "_fasa_audit"):
        sys.addaudithook(_audit)
        sys._fasa_audit = True  # type: ignore[attr-defined]
    _watched = []
    try:
        yield _watched
    finally:
        _watched = None


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- Network and pickles --------------------------------------------------------------------


def test_the_watch_itself_sees() -> None:
    import socket

    with watched() as seen:
        with pytest.raises(PermissionError):
            socket.create_connection(("127.0.0.1", 9))
        pickle.loads(pickle.dumps(Path))
    assert any(line.startswith("socket") for line in seen)
    assert any(line.startswith("pickle.find_class") for line in seen)


def commands(weights: str) -> dict[str, list[str]]:
    """Every command but `weights pull`, with arguments that make it do its work."""
    model = ["--weights", weights, "--device", "cpu"]
    small = ["--set", "model.preset=tiny", "--set", "data.crop=32", "--set", "data.workers=0"]
    small += ["--set", "training.epochs=1", "--set", "training.samples_per_epoch=2"]
    small += ["--set", "training.batch=2", "--device", "cpu"]
    return {
        "scan": ["photos", "--prob", "--overlay", *model],
        "overlay": ["masks", "--out", "pictures"],
        "regions": ["masks", "--out", "regions.json"],
        "report": ["masks", "--out", "report.html"],
        "verify": ["masks", "--rerun", "1", "--device", "cpu"],
        "bundle": ["masks"],
        "doctor": model,
        "synth": ["photos", "--out", "forged", "--count", "2"],
        "evaluate": ["forged", "--out", "evaluation", *model],
        "robustness": ["forged", "--jpeg", "80", "--out", "sweep", *model],
        "data check": ["forged"],
        "data show": ["forged", "--out", "sheet.png"],
        "train": ["photos", "--out", "run", *small],
        "ablate": ["--data", "forged", "--val", "forged", "--out", "ablation", *small],
        "weights show": [weights],
        "calibrate": ["--authentic", "untouched", "--out", "c.json", *model],
        "inspect": ["photos"],
    }


def names(command: object, prefix: str = "") -> Iterator[str]:
    for name, sub in getattr(command, "commands", {}).items():
        nested = list(names(sub, f"{prefix}{name} "))
        yield from nested or [f"{prefix}{name}"]


def test_no_command_but_weights_pull_opens_a_connection_or_unpickles(tiny_weights: Path) -> None:
    for seed in range(3):
        write_photo(Path("photos", f"{seed}.png"), seed, size=(96, 80))
    for seed in range(50):
        write_photo(Path("untouched", f"{seed}.png"), seed)
    table = commands(str(tiny_weights))
    everything = set(names(typer.main.get_command(app)))
    assert everything - {"weights pull"} == set(table), "give a new command its arguments here"
    for name, arguments in table.items():
        with watched() as seen:
            result = CliRunner().invoke(app, [*name.split(), *arguments])
        assert result.exit_code == 0, f"{name}: {result.output}"
        assert seen == [], f"{name}: {seen}"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_can_unpickle_or_evaluate(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & set(found)
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            assert call not in ("eval", "exec", "compile", "os.system", "torch.load", "yaml.load")
            assert call not in ("cv2.imread", "__import__"), "read bytes, check them, decode those"
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if call == "np.load":
                assert keywords.get("allow_pickle") == "False"
            assert keywords.get("shell") != "True"


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickled_checkpoint_never_runs(zipped: bool) -> None:
    write_photo(Path("photos/a.png"))
    if zipped:
        import torch

        torch.save({"model": Bomb()}, "bomb.safetensors")
    else:
        Path("bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    for command in (["scan", "photos"], ["weights", "show"], ["doctor"]):
        option = [] if command[0] == "weights" else ["--weights"]
        result = CliRunner().invoke(app, [*command, *option, "bomb.safetensors"])
        assert result.exit_code in (1, 3)
        assert "pickled checkpoint" in result.output
    assert not Path("exploded").exists()


# --- Output that others open ----------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_table_is_a_formula(start: str, tiny_weights: Path) -> None:
    name = f"{start}HYPERLINK(1).png"
    write_photo(Path(name))
    options = ["--weights", str(tiny_weights), "--device", "cpu"]
    result = CliRunner().invoke(app, ["scan", *options, "--", f"./{name}"])
    assert result.exit_code == 0, result.output
    with Path("masks/_fasa/results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    for cell in row.values():
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or cell[1:].replace(".", "").isdigit()


def test_names_cannot_drive_a_terminal(tiny_weights: Path) -> None:
    Path("photos").mkdir()
    for name in ("\x1b]0;title\x07\x1b[2J.png", "\u202efdp.png", "\x9b31m.png", "a\rb.png"):
        write_photo(Path("photos", name))
        Path("photos", f"cut {name}").write_bytes(b"")
    options = ["--weights", str(tiny_weights), "--device", "cpu"]
    outputs = [CliRunner().invoke(app, ["scan", "photos", "--top", "9", *options])]
    for path in Path("photos").iterdir():
        path.write_bytes(b"changed")
    outputs.append(CliRunner().invoke(app, ["verify", "masks"]))
    outputs.append(CliRunner().invoke(app, ["scan", "photos", "--dry-run"]))
    for result in outputs:
        text = result.output.replace("\n", "")
        assert ".png" in text
        assert all(character.isprintable() for character in text), ascii(text)


def test_json_lines_are_ascii_whatever_the_name(tiny_weights: Path) -> None:
    write_photo(Path("photos", "\u2028\u202e\x1b.png"))
    options = ["--weights", str(tiny_weights), "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, ["scan", "photos", *options])
    assert result.stdout.isascii()
    assert json.loads(result.stdout)["name"] == "\u2028\u202e\x1b.png"


# --- Paths ----------------------------------------------------------------------------------


def test_outputs_are_not_written_through_a_link_out_of_the_folder(tiny_weights: Path) -> None:
    """A link in the place of a mask is replaced, not followed."""
    write_photo(Path("photos/a.png"))
    Path("victim").write_text("mine")
    Path("masks").mkdir()
    os.symlink(os.path.abspath("victim"), "masks/a.png.mask.png")
    options = ["--weights", str(tiny_weights), "--device", "cpu"]
    assert CliRunner().invoke(app, ["scan", "photos", *options]).exit_code == 1
    result = CliRunner().invoke(app, ["scan", "photos", "--overwrite", *options])
    assert result.exit_code == 0, result.output
    assert Path("victim").read_text() == "mine"
    assert not Path("masks/a.png.mask.png").is_symlink()


# --- Dependencies ---------------------------------------------------------------------------


@pytest.mark.skipif(not (PACKAGE.parent / "pyproject.toml").is_file(), reason="needs the checkout")
def test_dependencies_floors_have_no_known_holes() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["parquet"]]
    floors = {}
    for requirement in listed:
        name, _, version = requirement.split(";")[0].strip().partition(">=")
        floors[name.lower()] = tuple(int(part) for part in version.split("."))
    for name, floor in FLOORS.items():
        assert floors[name] >= floor, f"{name} is allowed from {floors[name]}, holes up to {floor}"

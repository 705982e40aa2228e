"""The plan of the house: imports go only down between rooms; starting imports little."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import fasa_cli
from tests.conftest import write_photo

PACKAGE = Path(fasa_cli.__file__).parent
# From the ground up. A room is a folder or a single module of the package; it imports only from
# rooms of the lines above its own.
ROOMS = (
    ("errors", "text", "environment"),
    ("assets", "config", "files", "results"),
    ("imaging", "postprocess", "checkpoint", "calibration"),
    ("model", "data", "inspection"),
    ("predictor",),
    ("scanning",),
    ("evaluation",),
    ("report", "training", "diagnosis", "api"),
    ("commands",),
    ("app",),
)
FLOORS = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
LIGHT = {
    "typer",
    "rich",
}  # what a command module may import at its top, beside the standard library

MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)


def room_of(module: str) -> str:
    """The room of a module, named without the package: its folder or itself."""
    return module.split(".")[0]


def imported(tree: ast.AST) -> set[str]:
    """Absolute names of the modules that the nodes below `tree` import."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def read(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))


def imports_of(module: str) -> set[str]:
    """Modules of the package that a module imports anywhere, named without the package."""
    own = {name.removeprefix("fasa_cli.") for name in imported(read(module))}
    return {name for name in own & set(MODULES) if name != "__init__"}


def test_imports_go_only_down_between_rooms() -> None:
    for module in MODULES:
        room = room_of(module)
        if module == "__init__":  # it offers what others hold, when it is asked for
            continue
        assert room in FLOORS, f"{module}: its room has no place in ROOMS"
        upward = [
            name
            for name in imports_of(module)
            if room_of(name) != room and FLOORS[room_of(name)] >= FLOORS[room]
        ]
        assert not upward, f"{module} imports {upward}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imports_of(module) - {module} for module in MODULES}
    list(graphlib.TopologicalSorter(graph).static_order())


def top_level_imports(tree: ast.Module) -> set[str]:
    """Those that run when the module is imported: not in functions, not for type checking only."""
    names: set[str] = set()
    for node in tree.body:
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not for_types and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            names |= imported(node)
    return names


@pytest.mark.parametrize(
    "module", [name for name in MODULES if room_of(name) in ("commands", "app")]
)
def test_commands_import_nothing_heavy(module: str) -> None:
    for name in top_level_imports(read(module)):
        library = name.split(".")[0]
        if library == "fasa_cli":
            own = room_of(name.removeprefix("fasa_cli").lstrip(".") or "__init__")
            assert own.startswith("__") or own in ("commands", "errors", "text"), (
                f"{module}: {name}"
            )
        else:
            assert library in LIGHT or library in sys.stdlib_module_names, f"{module}: {name}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["scan", "--help"],
        ["inspect", "--help"],
        ["train", "--help"],
        ["ablate", "--help"],
        ["evaluate", "--help"],
        ["robustness", "--help"],
        ["report", "--help"],
        ["data", "check", "--help"],
        ["synth", "--help"],
        ["verify", "--help"],
        ["doctor", "--help"],
        ["overlay", "--help"],
        ["regions", "--help"],
        ["--version"],
    ],
)
def test_starting_imports_no_heavy_library(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from fasa_cli.app import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'numpy', 'cv2', 'PIL', 'skimage', 'timm', 'matplotlib'}\n"
        "heavy |= {'fasa_cli.config'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a photo, weights, and what one process scanned with all postprocessing.

    That process imports torch, but nothing of what other presets or training need: importing timm
    costs as much again as importing torch; `compact` has convolutions only.
    """
    import torch

    from fasa_cli.config import TINY, PostprocessConfig
    from fasa_cli.model.fasa import Fasa
    from fasa_cli.model.weights import save_model

    folder = tmp_path_factory.mktemp("scanned")
    torch.manual_seed(0)
    after = PostprocessConfig(minimum_prominence=0.5, copy_move=True)
    save_model(Fasa(TINY).eval(), folder / "tiny.safetensors", postprocess=after)
    write_photo(folder / "photo.png")
    others = {"timm", "torchvision", "open_clip", "huggingface_hub", "skimage", "scipy"}
    others |= {"matplotlib", "pandas", "sympy", "torch._dynamo"}
    run_alone([scan_of(folder)], others, needed="torch")
    return folder


def scan_of(folder: Path) -> list[str]:
    arguments = ["scan", str(folder / "photo.png"), "--out", str(folder / "masks")]
    return [*arguments, "--weights", str(folder / "tiny.safetensors"), "--device", "cpu"]


def run_alone(commands: list[list[str]], unwanted: set[str], needed: str = "sys") -> None:
    """Run commands in a process of their own, and look at what it has imported at the end."""
    script = (
        "import sys\n"
        "from fasa_cli.app import app\n"
        f"for arguments in {commands!r}:\n"
        "    try: app(arguments)\n"
        "    except SystemExit as end: assert not end.code, (arguments, end.code)\n"
        f"assert {needed!r} in sys.modules\n"
        f"assert not {unwanted!r} & set(sys.modules), {unwanted!r} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_scan_needs_no_library_of_other_presets(scanned: Path) -> None:
    assert (scanned / "masks" / "_fasa" / "results.jsonl").read_text()


def test_what_reads_a_saved_scan_imports_no_torch(scanned: Path) -> None:
    run = str(scanned / "masks")
    commands = [
        scan_of(scanned),  # which resumes, with nothing left to do
        ["report", run],
        ["report", run, "--out", str(scanned / "report.html")],
        ["verify", run, "--weights", str(scanned / "tiny.safetensors")],
        ["overlay", run, "--out", str(scanned / "pictures")],
        ["regions", run, "--out", str(scanned / "regions.csv")],
        ["bundle", run, "--out", str(scanned / "bundle.zip")],
    ]
    run_alone(commands, {"torch", "timm", "skimage", "scipy", "matplotlib"})

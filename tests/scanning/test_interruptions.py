"""Scans that are killed, or run out of disk: a rerun gives what an uninterrupted scan gives."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fasa_cli.errors import OutputError
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions
from fasa_cli.scanning.scanner import scan
from tests.conftest import RedPredictor, scan_red, write_photo

ROOT = Path(__file__).parents[2]
# The stand-in model needs no torch, so a scan starts in a moment; the pause gives time to be shot.
SCAN = """
import sys, time
sys.path.insert(0, {root!r})
from tests.conftest import RedPredictor, scan_red
answer = RedPredictor._predict
RedPredictor._predict = lambda self, image: (time.sleep(0.01), answer(self, image))[1]
print("ready", flush=True)
scan_red(out="masks", probabilities=True)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed in range(25):
        write_photo(Path("photos", f"{seed % 3}/{seed:02}.png"), seed)
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def start() -> subprocess.Popen[str]:
    script = SCAN.format(root=str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def contents(out: str) -> dict[str, bytes]:
    """Every file that a scan leaves, without what tells the time or the process."""
    files = {}
    for path in sorted(Path(out).rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name == "_fasa/lock":
            continue
        data = path.read_bytes()
        if name == "_fasa/run.json":
            data = json.loads(data)["digest"].encode()
        elif name in ("_fasa/results.jsonl", "_fasa/results.csv"):
            data = b"\n".join(sorted(line.split(b"seconds")[0] for line in data.splitlines()))
            data = data if name.endswith("jsonl") else b""  # the csv has seconds in its midst
        files[name] = data
    return files


def test_kills_at_random_moments() -> None:
    expected = contents(str(scan_red(out="undisturbed", probabilities=True)))
    generator = random.Random(7)
    killed = 0
    while killed < 4:
        process = start()
        time.sleep(generator.uniform(0, 0.25))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            break
    with start() as process:
        pass
    assert process.returncode == 0
    assert killed
    assert contents("masks") == expected
    assert not list(Path("masks").rglob("*.tmp"))


def test_what_a_killed_scan_left_half_written_is_cleared_away() -> None:
    scan_red()
    for folder in ("masks", "masks/0", "masks/_fasa"):
        Path(folder, f".fasa-{'0f' * 16}.tmp").write_bytes(b"half")
    Path("masks/.mine.tmp").write_bytes(b"not fasa's")
    scan_red()
    assert [path.name for path in Path("masks").rglob("*.tmp")] == [".mine.tmp"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("limit", [0, 300, 4000])
def test_a_full_disk_stops_the_scan_and_loses_nothing(limit: int) -> None:
    import resource

    write_photo(Path("photos/2/99.png"), 99, size=(300, 300))  # its map is what no longer fits
    expected = contents(str(scan_red(out="undisturbed", probabilities=True)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OutputError, match="cannot be written"):
            scan_red(probabilities=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(Path("masks").rglob("*.tmp"))
    scan_red(probabilities=True)
    assert contents("masks") == expected


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write")
def test_a_read_only_output_is_one_error() -> None:
    found = discover(["photos"], Path("/proc/fasa"))
    with pytest.raises(OutputError, match=r"/proc/fasa.*cannot be written"):
        scan(RedPredictor(), found, ScanOptions(Path("/proc/fasa")))  # type: ignore[arg-type]


def test_two_processes_into_one_folder() -> None:
    pytest.importorskip("fcntl")
    first = start()
    while not Path("masks/_fasa/run.json").exists():
        assert first.poll() is None
        time.sleep(0.002)
    with pytest.raises(OutputError, match="another scan"):
        scan_red(probabilities=True)
    assert first.wait() == 0
    assert len(contents("masks")) > 25

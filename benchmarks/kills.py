"""Kill a scan at random moments, resume it, and compare with one that nobody disturbed.

    python benchmarks/kills.py --kills 50 --out benchmarks/results/kills.json

Every scan is a process of its own with an untrained `tiny` model, killed by SIGKILL after a random
time. A round goes on until a scan of it reaches its end; then every output must be there byte for
byte, every photo on record once, and nothing half written left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

from fasa_cli.config import TINY
from fasa_cli.model.fasa import Fasa
from fasa_cli.predictor import Predictor
from fasa_cli.scanning.discovery import discover
from fasa_cli.scanning.options import ScanOptions
from fasa_cli.scanning.scanner import scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    options = parser.parse_args()
    out = options.out and options.out.resolve()
    torch.set_num_threads(1)  # a fork has no use for the threads of its parent
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    predictor = Predictor(Fasa(TINY), "cpu")
    with tempfile.TemporaryDirectory(prefix="fasa-kills-") as folder:
        os.chdir(folder)
        make_photos(options.photos)
        start = time.perf_counter()
        wait_for(begin(predictor, "undisturbed"))
        seconds = time.perf_counter() - start
        result = shoot(predictor, options.kills, seconds, random.Random(options.seed))
    result |= {
        "photos": options.photos,
        "seed": options.seed,
        "undisturbed_seconds": round(seconds, 2),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    print(json.dumps(result, indent=1))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")
    raise SystemExit(1 if result["differences"] else 0)


def shoot(predictor: Predictor, kills: int, seconds: float, generator: random.Random) -> dict:
    """Rounds of kills, about five each, until there were `kills` of them."""
    expected = contents("undisturbed")
    killed, rounds, moments, differences = 0, 0, [], []
    while killed < kills:
        out, shots = f"round-{rounds}", min(5, kills - killed)
        while shots:
            process = begin(predictor, out)
            time.sleep(generator.uniform(0, seconds / 2))
            os.kill(process, signal.SIGKILL)
            if os.WIFEXITED(os.waitpid(process, 0)[1]):
                break  # it was faster
            shots, killed = shots - 1, killed + 1
            moments.append(lines(Path(out, "_fasa", "results.jsonl")))
        wait_for(begin(predictor, out))
        found = contents(out)
        differences += sorted(
            f"{out}/{name}"
            for name in expected.keys() | found.keys()
            if expected.get(name) != found.get(name)
        )
        rounds += 1
        print(f"{killed} kills in {rounds} rounds, {len(differences)} differences", flush=True)
    return {
        "kills": killed,
        "rounds": rounds,
        "lines_in_the_journal_when_killed": moments,
        "differences": differences,
    }


def begin(predictor: Predictor, out: str) -> int:
    process = os.fork()
    if process == 0:
        found = discover(["photos"], Path(out))
        scan(predictor, found, ScanOptions(Path(out), probabilities=True, overlay=True))
        os._exit(0)
    return process


def wait_for(process: int) -> None:
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"a scan that was left alone ended with {status}")


def make_photos(count: int) -> None:
    generator = np.random.default_rng(0)
    for number in range(count):
        folder = Path("photos", str(number % 4))
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (96, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:03}.png"), pixels)
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    Path("photos/notes.txt").write_text("text")


def contents(out: str) -> dict[str, object]:
    """What a scan leaves, without what tells the time."""
    files: dict[str, object] = {}
    for path in Path(out).rglob("*"):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name in ("_fasa/lock", "_fasa/results.csv"):
            continue
        files[name] = path.read_bytes()
    run = json.loads(files["_fasa/run.json"])  # type: ignore[arg-type]
    keys = ("found", "analysed", "failed", "skipped", "remaining", "kept")
    files["_fasa/run.json"] = (
        run["digest"],
        run["status"],
        {key: run["counts"][key] for key in keys},
    )
    files["_fasa/results.jsonl"] = [
        {**json.loads(line), "seconds": 0, "chain": ""}  # which holds the seconds
        for line in files["_fasa/results.jsonl"].splitlines()  # type: ignore[attr-defined]
    ]
    return files


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    main()

"""One `fasa scan` in a process of its own, and what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Runs the command line and tells when the scan began, when the model was first called, and when
# the last file had been written.
_SCRIPT = """
import json, sys, time
import fasa_cli.predictor, fasa_cli.scanning.scanner
from fasa_cli.app import main

moments = {}
predict, scan = fasa_cli.predictor.Predictor.predict_batch, fasa_cli.scanning.scanner.scan

def now():
    return time.perf_counter(), time.process_time()

def watched_predict(self, images):
    moments.setdefault("first", now())
    return predict(self, images)

def watched_scan(*arguments, **options):
    moments["begun"] = now()
    summary = scan(*arguments, **options)
    moments["ended"] = now()
    return summary

fasa_cli.predictor.Predictor.predict_batch = watched_predict
fasa_cli.scanning.scanner.scan = watched_scan
result, *sys.argv[1:] = sys.argv[1:]
try:
    main()
finally:
    with open(result, "w") as file:
        json.dump(moments, file)
"""


@dataclass(frozen=True)
class Seconds:
    """By the wall clock and of CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Watched:
    """`command` is the whole process; `scan` its work without start-up and loading; `pipeline`
    the part of that from the model's first call to the last write."""

    command: Seconds
    scan: Seconds
    pipeline: Seconds
    peak_mb: int
    analysed: int


def watch(
    source: Path, out: Path, model: Path, device: str = "cpu", more: Sequence[str] = ()
) -> Watched:
    """Scan `source` into `out`, with `more` options; one that fails ends the benchmark."""
    moments = out.with_name(f"{out.name}-moments.json")
    command = [sys.executable, "-c", _SCRIPT, str(moments), "scan", str(source), "--out", str(out)]
    command += ["--weights", str(model), "--device", device, *more]
    root = Path(__file__).resolve().parents[1]  # this checkout, not a copy that is installed
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    start = time.perf_counter()
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    said = process.stderr.read() if process.stderr else b""  # until the process closes it
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = said.decode(errors="replace")
        raise SystemExit(f"the scan of {source} ended with {process.returncode}:\n{text}")
    found = json.loads(moments.read_text())

    def between(begin: str) -> Seconds:
        return Seconds(*(b - a for a, b in zip(found[begin], found["ended"], strict=True)))

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    counts = json.loads((out / "_fasa" / "run.json").read_text())["counts"]
    return Watched(
        command=Seconds(wall, usage.ru_utime + usage.ru_stime),
        scan=between("begun"),
        pipeline=between("first"),
        peak_mb=round(usage.ru_maxrss * unit / 1e6),
        analysed=counts["analysed"],
    )

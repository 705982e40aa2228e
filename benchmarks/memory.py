"""Peak memory of `fasa scan`, against the number of files and against the size of one photo.

    python benchmarks/memory.py --files 1000,10000,100000 --megapixels 12,24,100 --out memory.json

Every figure is the peak resident set of one `fasa scan` in a process of its own. Without --weights
it uses untrained models, which take the same memory: `tiny` for the many files, `compact` for the
large photos.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SHAPE = (3, 4)  # height to width, as most cameras have it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", default="", help="numbers of files, such as 1000,10000")
    parser.add_argument("--megapixels", default="", help="sizes of one photo, such as 12,100")
    parser.add_argument("--weights", type=Path, help="for the photos; default: untrained compact")
    parser.add_argument("--out", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    figures: dict[str, object] = {
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "python": platform.python_version(),
        "files": [],
        "photos": [],
    }
    with tempfile.TemporaryDirectory(prefix="fasa-memory-") as folder:
        for count in map(int, filter(None, options.files.split(","))):
            line = scan_files(Path(folder), count)
            print(line, flush=True)
            figures["files"] += [line]  # type: ignore[operator]
        for size in map(float, filter(None, options.megapixels.split(","))):
            line = scan_photo(Path(folder), size, options.weights)
            print(line, flush=True)
            figures["photos"] += [line]  # type: ignore[operator]
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


def scan_files(folder: Path, count: int) -> dict[str, object]:
    """`count` pictures of 16 x 16 pixels, 1000 to a folder."""
    top = folder / f"files-{count}"
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    for number in range(count):
        if number % 1000 == 0:
            (top / f"{number // 1000:03}").mkdir(parents=True)
        (top / f"{number // 1000:03}" / f"{number:06}.png").write_bytes(data)
    return {"files": count, **measured(top, folder / f"out-{count}", weights(folder, "tiny"))}


def scan_photo(folder: Path, megapixels: float, given: Path | None) -> dict[str, object]:
    """One JPEG with shading, texture and noise."""
    scale = (megapixels * 1e6 / (SHAPE[0] * SHAPE[1])) ** 0.5
    height, width = (round(side * scale) for side in SHAPE)
    path = folder / f"photo-{megapixels:g}.jpg"
    script = (  # in a process of its own, whose memory is not counted
        "import sys, cv2, numpy as np\n"
        f"g = np.random.default_rng(0); h, w = {height}, {width}\n"
        "small = g.integers(40, 215, (h // 97 + 2, w // 97 + 2, 3), dtype=np.uint8)\n"
        "image = cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)\n"
        "noise = cv2.randn(np.empty((512, 512, 3), np.int8), 0, 6)\n"
        "for y in range(0, h, 512):\n"
        "    for x in range(0, w, 512):\n"
        "        part = image[y:y + 512, x:x + 512]\n"
        "        part[:] = cv2.add(part, noise[:part.shape[0], :part.shape[1]],"
        " dtype=cv2.CV_8U)\n"
        f"cv2.imwrite({str(path)!r}, image, [cv2.IMWRITE_JPEG_QUALITY, 90])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    out = folder / f"out-{megapixels:g}"
    figures = measured(path, out, given or weights(folder, "compact"))
    record = json.loads((out / "_fasa" / "results.jsonl").read_text())
    return {
        "megapixels": height * width / 1e6,
        "size": record["display_size"],
        "warnings": record["warnings"],
        **figures,
    }


def measured(source: Path, out: Path, model: Path) -> dict[str, object]:
    """Scan in another process: its peak memory in MB and its time."""
    command = [sys.executable, "-m", "fasa_cli", "scan", str(source), "--out", str(out)]
    command += ["--weights", str(model), "--device", "cpu"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    counts = json.loads((out / "_fasa" / "run.json").read_text())["counts"]
    if process.returncode or counts["failed"]:
        raise SystemExit(f"the scan of {source} ended with {process.returncode}: {counts}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return {
        "analysed": counts["analysed"],
        "peak_mb": round(usage.ru_maxrss * unit / 1e6),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "seconds": round(seconds, 1),
    }


def weights(folder: Path, preset: str) -> Path:
    """Untrained weights of a preset."""
    path = folder / f"{preset}.safetensors"
    if not path.exists():
        script = (
            "import torch\nfrom pathlib import Path\n"
            "from fasa_cli.config import PRESETS\nfrom fasa_cli.model.fasa import Fasa\n"
            "from fasa_cli.model.weights import save_model\n"
            f"torch.manual_seed(0)\nsave_model(Fasa(PRESETS[{preset!r}]), Path({str(path)!r}))\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
    return path


if __name__ == "__main__":
    main()

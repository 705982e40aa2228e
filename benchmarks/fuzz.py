"""Mutate valid image files by the thousand and decode them, under limits of time and memory.

    python benchmarks/fuzz.py --count 5000 --seed 1 --out benchmarks/results/fuzz.json
    python benchmarks/fuzz.py --inspect --out benchmarks/results/fuzz-inspect.json

Each file must end as a picture (--inspect: as an inspection) or as one ImageError of one line.
Anything else (another exception, a crash, a hang, memory above the limit) is counted, and its bytes
are kept with --keep FOLDER. Files are looked at in a child process; when one dies, the next
continues after the file that killed it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import signal
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

# Measure this checkout, not a copy that happens to be installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from fasa_cli.errors import ImageError
from fasa_cli.imaging.decode import decode_image
from fasa_cli.inspection.inspecting import inspect_bytes, section
from tests.imaging.samples import HEIC, HEIC_TURNED, HEIC_TWO, dng
from tests.inspection.files import exif_block, xmp_packet

MEMORY = 3 << 30  # bytes of address space; 40 megapixels fit, a bomb does not
MAX_PIXELS = 40_000_000
XMP = xmp_packet('xmp:CreatorTool="An editor"', body="<xmp:Label>one</xmp:Label>")
SECONDS = 20  # per file, and then the child is killed
SOUND = ("decoded", "inspected", "refused")
SPECIAL = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)


def seeds() -> dict[str, list[bytes]]:
    """Valid files by format, in the variants that are decoded differently."""
    generator = np.random.default_rng(0)
    shade = np.linspace(0, 200, 61)[None, :, None] + generator.integers(0, 50, (43, 61, 3))
    image = Image.fromarray(shade.astype(np.uint8))
    deep = Image.fromarray((shade[:, :, 0] * 257).astype(np.uint16))
    exif = Image.Exif()
    exif[274] = 6

    def saved(picture: Image.Image, name: str, **options: object) -> bytes:
        stream = io.BytesIO()
        picture.copy().save(stream, name, **options)
        return stream.getvalue()

    def frames(name: str) -> bytes:
        return saved(image, name, save_all=True, append_images=[image.rotate(180)])

    thumbnail = exif_block(saved(image, "JPEG"), Make="Maker", GPSLongitude=(1.0, 2.0, 3.0))
    extras = {}
    if find_spec("pillow_jxl"):
        import pillow_jxl  # noqa: F401  (registers itself)

        extras["JPEG XL"] = [saved(image, "JXL"), saved(image, "JXL", lossless=True)]
    if find_spec("rawpy"):
        extras["camera RAW"] = [dng(np.asarray(image.resize((96, 64))))]
    return {
        "JPEG": [
            saved(image, "JPEG", exif=exif),
            saved(image, "JPEG", exif=thumbnail, xmp=XMP, comment="quality = 75"),
            saved(image, "JPEG", progressive=True),
            saved(image.convert("CMYK"), "JPEG"),
            frames("MPO"),
        ],
        "PNG": [
            saved(image, "PNG", exif=exif),
            saved(image.convert("P"), "PNG", transparency=1),
            saved(deep, "PNG"),
            frames("PNG"),
        ],
        "TIFF": [
            saved(image, "TIFF"),
            saved(image, "TIFF", compression="tiff_lzw", exif=exif),
            saved(image, "TIFF", compression="jpeg"),
            saved(image, "TIFF", compression="tiff_adobe_deflate"),
            saved(image.convert("1"), "TIFF", compression="group4"),
            saved(image.convert("F"), "TIFF"),
            frames("TIFF"),
        ],
        "WebP": [
            saved(image, "WEBP", exif=exif),
            saved(image, "WEBP", lossless=True),
            frames("WEBP"),
        ],
        "GIF": [saved(image, "GIF"), frames("GIF")],
        "AVIF": [saved(image, "AVIF", exif=exif), frames("AVIF")],
        "HEIC": [HEIC, HEIC_TURNED, HEIC_TWO],
        **extras,
    }


def mutated(files: list[bytes], generator: np.random.Generator) -> bytes:
    """One of the files with one to four wounds; most are near its head, where structure is."""
    data = bytearray(files[generator.integers(len(files))])
    for _ in range(generator.integers(1, 5)):
        if not data:
            break
        end = len(data) if generator.random() < 0.4 else min(len(data), 200)
        place, length = int(generator.integers(end)), int(generator.integers(1, 40))
        kind = generator.integers(7)
        if kind == 0:
            data[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            data[place] = SPECIAL[generator.integers(len(SPECIAL))]
        elif kind == 2:
            data[place : place + length] = generator.bytes(length)
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            data[place:place] = data[place : place + length]
        elif kind == 5:
            del data[place:]
        else:
            other = files[generator.integers(len(files))]
            data[place:] = other[int(generator.integers(len(other))) :]
    return bytes(data)


def with_checksums(png: bytes) -> bytes:
    """The same chunks, each with the right checksum: else a mutated PNG is refused at its door."""
    data, place = bytearray(png), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(data)


def case(files: list[bytes], seed: int, number: int) -> bytes:
    data = mutated(files, np.random.default_rng((seed, number)))
    return with_checksums(data) if number % 2 and data.startswith(b"\x89PNG") else data


def inspected(data: bytes) -> str:
    """As `outcome`, of an inspection."""
    try:
        inspection = inspect_bytes(data, "mutated")
    except ImageError as error:
        text = str(error)
        sound = text.startswith("mutated: ") and "\n" not in text and text.isprintable()
        return "refused" if sound else "refused with an unreadable message"
    except BaseException as error:
        return f"raised {type(error).__name__}"
    try:
        json.dumps(section(inspection), allow_nan=False)
    except (TypeError, ValueError):
        return "inspected to what is no JSON"
    sound = all("\n" not in finding.text for finding in inspection.findings)
    return "inspected" if sound else "inspected with an unreadable finding"


def outcome(data: bytes) -> str:
    try:
        decoded = decode_image(data, "mutated", max_pixels=MAX_PIXELS)
    except ImageError as error:
        text = str(error)
        sound = text.startswith("mutated: ") and "\n" not in text and text.isprintable()
        return "refused" if sound else "refused with an unreadable message"
    except BaseException as error:
        return f"raised {type(error).__name__}"
    sound = decoded.pixels.dtype == np.uint8 and decoded.pixels.shape[2:] == (3,)
    return "decoded" if sound else "decoded to something else"


def child(
    files: list[bytes], seed: int, numbers: range, pipe: int, judge: Callable[[bytes], str]
) -> None:
    """Write one line per file to the pipe, before and after it is decoded."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # libraries in C complain there
    for number in numbers:
        data = case(files, seed, number)
        signal.alarm(SECONDS)
        start = time.perf_counter()
        ended = judge(data)
        milliseconds = (time.perf_counter() - start) * 1000
        signal.alarm(0)
        os.write(pipe, f"{number}\t{ended}\t{milliseconds:.2f}\n".encode())
    os._exit(0)


def fuzz(
    files: list[bytes],
    seed: int,
    count: int,
    keep: Path | None,
    name: str,
    judge: Callable[[bytes], str],
) -> dict:
    ends: Counter[str] = Counter()
    slowest = peak = 0.0
    done = 0
    while done < count:
        read, write = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(read)
            child(files, seed, range(done, count), write, judge)
        os.close(write)
        with os.fdopen(read) as lines:
            for line in lines:
                number, ended, milliseconds = line.rstrip("\n").split("\t")
                done = int(number) + 1
                slowest = max(slowest, float(milliseconds))
                ends[ended] += 1
                if keep and ended not in SOUND:
                    (keep / f"{name}-{number}").write_bytes(case(files, seed, int(number)))
        _, status, usage = os.wait4(process, 0)
        peak = max(peak, usage.ru_maxrss)
        if status:
            signal_number = os.WTERMSIG(status)
            ended = "hung" if signal_number == signal.SIGALRM else f"died of signal {signal_number}"
            ends[ended] += 1
            if keep:
                (keep / f"{name}-{done}").write_bytes(case(files, seed, done))
            done += 1
    return {
        "files": done,
        "ended": dict(sorted(ends.items())),
        "slowest_ms": round(slowest, 1),
        "peak_mb": round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, help="files per format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inspect", action="store_true", help="inspect instead of decoding")
    parser.add_argument("--format", help="only files of this format")
    parser.add_argument("--keep", type=Path, help="keep files that ended badly here")
    parser.add_argument("--out", type=Path, help="write the result here as JSON")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    results = {}
    judge = inspected if options.inspect else outcome
    for name, files in seeds().items():
        if options.format not in (None, name):
            continue
        results[name] = fuzz(files, options.seed, options.count, options.keep, name, judge)
        print(name, results[name], flush=True)
    total = sum((Counter(result["ended"]) for result in results.values()), Counter())
    bad = sum(number for end, number in total.items() if end not in SOUND)
    print(f"{total.total()} files: {dict(total)}; {bad} ended badly")
    if options.out:
        summary = {
            "seed": options.seed,
            "limits": {"seconds": SECONDS, "address_space": MEMORY, "pixels": MAX_PIXELS},
            "pillow": metadata.version("pillow"),
            "python": platform.python_version(),
            "files": total.total(),
            "ended": dict(sorted(total.items())),
            "formats": results,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(summary, indent=1) + "\n")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()

"""How many JPEG files `fasa inspect` reads a second, beside decoding them."""

from __future__ import annotations

import argparse
import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from measuring import Part, Table, in_turns
from photos import make_photos
from PIL import Image

from fasa_cli.imaging.decode import decode_image
from fasa_cli.inspection.inspecting import inspect_bytes
from fasa_cli.inspection.maps import make_maps
from tests.inspection.files import exif_block

AIM = 200  # files a second on a core, without maps
_MEGAPIXELS = ((0.2, 0.5), (1.0, 2.0), (12.0, 12.0))  # as the web, messengers and cameras have them


def add_options(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument("--inspect-photos", type=int, default=12, help="of each size")


def measure(options: argparse.Namespace) -> Part:
    """CPU seconds in turns: what one core does, whatever else the machine has to do."""
    rows, figures = [], {}
    for low, high in _MEGAPIXELS:
        with tempfile.TemporaryDirectory(prefix="fasa-speed-") as folder:
            paths = make_photos(Path(folder), options.inspect_photos, (low, high))
            plain = [path.read_bytes() for path in paths]
        with_thumbnails = [_with_thumbnail(data) for data in plain]
        functions: dict[str, Any] = {
            "no thumbnail": partial(_inspect, plain, True),
            "thumbnail": partial(_inspect, with_thumbnails, True),
            "headers": partial(_inspect, with_thumbnails, False),
            "decoding": partial(_decode, plain),
            "maps": partial(_map, plain[:1]),
        }
        times = in_turns(functions, options.rounds, clock="cpu")
        counts = {name: 1 if name == "maps" else len(plain) for name in functions}
        rates = {name: counts[name] / times.seconds(name).median for name in functions}
        size = f"{low:g} to {high:g}" if high > low else f"{low:g}"
        rows.append((size, *(rates[name] for name in functions)))
        figures[size] = {
            "files_per_second": rates,
            "decoding_over_inspecting": times.ratio("decoding", "no thumbnail"),
            "seconds": times,
        }
    table = Table(
        "fasa inspect: files a second on one core",
        ("megapixels", "no thumbnail", "thumbnail compared", "headers only", "decoding", "--maps"),
        rows,
        f"Aim: {AIM} without maps. A thumbnail is compared with the decoded picture; "
        "--no-previews reads headers only.",
    )
    return Part(figures, [table])


def _inspect(files: list[bytes], previews: bool) -> None:
    for data in files:
        inspect_bytes(data, "a.jpg", previews=previews)


def _decode(files: list[bytes]) -> None:
    for data in files:
        decode_image(data, "a.jpg")


def _map(files: list[bytes]) -> None:
    for data in files:
        make_maps(data, "a.jpg", inspect_bytes(data, "a.jpg", previews=False).jpeg)


def _with_thumbnail(data: bytes) -> bytes:
    """The same file with EXIF, and a thumbnail of what it shows."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.thumbnail((160, 160))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    block = exif_block(stream.getvalue(), Make="Maker", Model="Camera")
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
    return data[:2] + segment + data[2:]

"""What `fasa doctor` looks at: whether this installation can do its work, part by part.

Every check stands alone: what is missing is a finding, never the end of the examination. So heavy
libraries are imported within the checks.
"""

from __future__ import annotations

import io
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fasa_cli import __version__
from fasa_cli.assets import shipped_weights
from fasa_cli.errors import FasaError

if TYPE_CHECKING:
    from fasa_cli.predictor import Predictor

# What pyproject requires: the distribution, and what is imported of it.
LIBRARIES = {
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
    "open_clip_torch": "open_clip",
    "timm": "timm",
    "safetensors": "safetensors",
    "opencv-python": "cv2",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "simplejpeg": "simplejpeg",
    "pillow": "PIL",
    "pi-heif": "pi_heif",
    "matplotlib": "matplotlib",
    "filelock": "filelock",
    "pydantic": "pydantic",
    "pyyaml": "yaml",
    "rich": "rich",
    "tqdm": "tqdm",
    "typer": "typer",
}
OPTIONAL = {
    "pyarrow": "pyarrow",
    "pillow-jxl-plugin": "pillow_jxl",
    "rawpy": "rawpy",
    "c2pa-python": "c2pa",
}


@dataclass(frozen=True)
class CheckResult:
    """One line of the examination; `state` is ok, note (nothing is wrong) or problem."""

    check: str
    state: str
    text: str


def examine(weights: Path | None = None, device: str = "auto") -> Iterator[CheckResult]:
    """Check versions, devices, codecs, weights, folders, and a scan from end to end.

    `weights` is the weights file to check, by default the one that comes with fasa.
    """
    checks: list[tuple[str, Callable[[], Iterator[CheckResult]]]] = [
        ("version", _version),
        ("libraries", _libraries),
        ("devices", _devices),
        ("codecs", _codecs),
        ("weights", lambda: _weights(weights)),
        ("folders", _folders),
        ("scan", lambda: _scan(weights, device)),
    ]
    for name, check in checks:
        try:
            yield from check()
        except FasaError as error:
            yield CheckResult(name, "problem", str(error))
        except Exception as error:  # a doctor must not die of the patient
            yield CheckResult(name, "problem", f"{type(error).__name__}: {error}")


def _version() -> Iterator[CheckResult]:
    system = f"{platform.python_implementation()} {platform.python_version()}"
    yield CheckResult("version", "ok", f"fasa {__version__}, {system}, {platform.platform()}")


def _libraries() -> Iterator[CheckResult]:
    for name, module in {**LIBRARIES, **OPTIONAL}.items():
        missing = "note" if name in OPTIONAL else "problem"
        try:
            import_module(module)
            yield CheckResult("libraries", "ok", f"{name} {_distribution_version(name)}")
        except ModuleNotFoundError:
            cure = "optional" if name in OPTIONAL else f"pip install {name}"
            yield CheckResult("libraries", missing, f"{name} is not installed ({cure})")
        except Exception as error:  # a broken shared library raises nearly anything
            yield CheckResult("libraries", missing, f"{name} cannot be imported ({error})")


def _distribution_version(name: str) -> str:
    for candidate in (name, f"{name}-headless"):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _devices() -> Iterator[CheckResult]:
    import torch

    yield CheckResult("devices", "ok", f"cpu, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            gigabytes = properties.total_memory / 2**30
            yield CheckResult(
                "devices", "ok", f"cuda:{number}, {properties.name}, {gigabytes:.0f} GiB"
            )
    else:
        yield CheckResult("devices", "note", "no CUDA device")
    if torch.backends.mps.is_available():
        yield CheckResult("devices", "ok", "mps")


def _codecs() -> Iterator[CheckResult]:
    """Decode a small picture of every format, made here, by the code that decodes photos."""
    from PIL import Image

    from fasa_cli.imaging.decode import decode_image
    from fasa_cli.imaging.formats import SUPPORTED_FORMATS

    picture = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    for name in SUPPORTED_FORMATS:
        if name == "HEIC":  # nothing that comes with fasa can write one
            yield _heic()
            continue
        data = io.BytesIO()
        try:
            picture.save(data, name)
            decoded = decode_image(data.getvalue(), f"a {name} file")
            works = decoded.pixels.shape == (16, 24, 3) and decoded.pixels.std() > 40
        except (OSError, KeyError, FasaError) as error:
            yield CheckResult("codecs", "problem", f"{name} cannot be read ({error})")
        else:
            state = "ok" if works else "problem"
            yield CheckResult("codecs", state, name if works else f"{name} is decoded wrongly")


def _heic() -> CheckResult:
    try:
        import pi_heif

        if decoders := pi_heif.libheif_info()["decoders"]:
            return CheckResult("codecs", "ok", f"HEIC ({', '.join(decoders.values())})")
    except (ImportError, OSError, KeyError) as error:
        return CheckResult("codecs", "problem", f"HEIC cannot be read ({error})")
    return CheckResult("codecs", "problem", "HEIC cannot be read (libheif has no decoder)")


def _weights(weights: Path | None) -> Iterator[CheckResult]:
    from fasa_cli.checkpoint import read_checkpoint

    path = weights or shipped_weights()
    checkpoint = read_checkpoint(path)
    config = checkpoint.config
    text = f"{path}, {config.preset} ({config.variant}), sha256 {checkpoint.sha256}"
    yield CheckResult("weights", "ok", text)


def _folders() -> Iterator[CheckResult]:
    for what, folder in (("temporary", tempfile.gettempdir()), ("current", os.getcwd())):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".fasa-") as file:
                file.write(b"fasa")
                file.flush()
            yield CheckResult("folders", "ok", f"{what} folder {folder} can be written")
        except OSError as error:
            # A scan names its own --out; a current folder that is read-only is no fault.
            state = "problem" if what == "temporary" else "note"
            reason = error.strerror or error
            yield CheckResult("folders", state, f"{what} folder {folder}: {reason}")


def _scan(weights: Path | None, device: str) -> Iterator[CheckResult]:
    """Scan a picture made here in a temporary folder, and verify what came of it."""
    from PIL import Image

    from fasa_cli.scanning.discovery import discover
    from fasa_cli.scanning.options import ScanOptions
    from fasa_cli.scanning.saved_run import SavedRun
    from fasa_cli.scanning.scanner import scan
    from fasa_cli.scanning.verification import verify

    predictor, name = _predictor(weights, device)
    with tempfile.TemporaryDirectory(prefix="fasa-doctor-") as folder:
        photo, out = Path(folder, "photo.png"), Path(folder, "masks")
        Image.effect_noise((96, 64), 40).convert("RGB").save(photo)
        summary = scan(predictor, discover([str(photo)], out), ScanOptions(out))
        run = SavedRun(out)
        # Untrained weights are no file, so there is nothing that could be hashed again.
        wrong = [one for one in verify(run).findings if predictor.weights.path or one.path]
        if summary.analysed != 1 or wrong:
            failed = [failure.reason for failure in run.failures()]
            failed += [finding.reason for finding in wrong]
            yield CheckResult("scan", "problem", f"the test scan went wrong: {'; '.join(failed)}")
        else:
            seconds = f"{summary.seconds:.1f} s"
            text = f"a test picture was scanned and verified with {name} on {predictor.device}"
            yield CheckResult("scan", "ok", f"{text}, {seconds}")


def _predictor(weights: Path | None, device: str) -> tuple[Predictor, str]:
    """The weights' predictor, or one of an untrained model where they cannot be used."""
    from fasa_cli.config import TINY
    from fasa_cli.model.fasa import Fasa
    from fasa_cli.predictor import Predictor

    try:
        predictor = Predictor.from_checkpoint(weights or shipped_weights(), device)
        return predictor, predictor.weights.preset
    except FasaError:
        return Predictor(Fasa(TINY), device), "an untrained model (for want of weights)"

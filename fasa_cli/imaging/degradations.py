"""What happens to a photo after it leaves the editor: JPEG, blur, noise, resizing.

One code for training, synthesis and robustness sweeps (section 4.3). All work on H x W x 3 uint8
RGB at native resolution and return the same; severity 0 of blur and noise is the image itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

SUBSAMPLING = {
    "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def jpeg(image: np.ndarray, quality: int, subsampling: str = "420") -> np.ndarray:
    """Compress and decode at JPEG `quality` 1-100 with chroma `subsampling` 444, 422 or 420."""
    _check("JPEG quality", quality, 1, 100)
    parameters = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    parameters += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLING[subsampling]]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


def blur(image: np.ndarray, kernel: int) -> np.ndarray:
    """Gaussian blur with an odd `kernel` in pixels; sigma by OpenCV's rule, 0.15 k + 0.35."""
    if kernel in (0, 1):
        return image.copy()
    if kernel < 0 or kernel % 2 == 0:
        raise ValueError(f"a blur kernel is 0 or an odd number of pixels, not {kernel}")
    return cv2.GaussianBlur(image, (kernel, kernel), 0)


def gaussian_noise(image: np.ndarray, variance: float, rng: np.random.Generator) -> np.ndarray:
    """Add independent Gaussian noise of `variance` (in squared grey levels) to every sample."""
    if variance < 0:
        raise ValueError(f"a noise variance is not negative, as {variance} is")
    noise = rng.normal(0.0, variance**0.5, image.shape)
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def resize(image: np.ndarray, factor: float, interpolation: int | None = None) -> np.ndarray:
    """Scale both sides by `factor`; area averaging down and bicubic up by default."""
    if factor <= 0:
        raise ValueError(f"a resize factor is above 0, not {factor}")
    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if interpolation is None:
        interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=interpolation)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring an H x W bool mask to `size` (width, height) by the nearest pixel."""
    nearest = cv2.INTER_NEAREST_EXACT  # the plain one is off by up to half a pixel
    return cv2.resize(mask.astype(np.uint8), size, interpolation=nearest).astype(bool)


@dataclass(frozen=True)
class Degradation:
    """One degradation at one severity: a function of H x W x 3 uint8 images.

    `severity` is a JPEG quality, a blur kernel in pixels, a noise variance in squared grey levels,
    or the sides' size after `resize` in per cent. The same image always gets the same noise,
    wherever it stands in a data set and whatever its name.
    """

    kind: str
    severity: int

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: there is no such kind, or the severity is none of its own.
        """
        if self.kind not in _DEGRADATIONS:
            raise ValueError(f"no degradation {self.kind!r}; there are {', '.join(_DEGRADATIONS)}")
        if not self.is_clean:
            self(np.zeros((8, 8, 3), np.uint8))

    @property
    def is_clean(self) -> bool:
        """Whether it leaves the image as it is: severity zero."""
        identities = {"clean": (0,), "blur": (0, 1), "noise": (0,), "resize": (100,)}
        return self.severity in identities.get(self.kind, ())

    @property
    def name(self) -> str:
        """As in file names: clean, jpeg-50, blur-3."""
        return CLEAN.kind if self.is_clean else f"{self.kind}-{self.severity}"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The degraded image; that of `resize` has another size."""
        return image if self.is_clean else _DEGRADATIONS[self.kind](image, self.severity)


def _noise(image: np.ndarray, variance: int) -> np.ndarray:
    _check("a noise variance", variance, 0, 255**2)
    seed = [variance, zlib.crc32(image.tobytes())]
    return gaussian_noise(image, variance, np.random.default_rng(seed))


def _resize_per_cent(image: np.ndarray, size: int) -> np.ndarray:
    _check("a size in per cent", size, 1, 800)
    return resize(image, size / 100)


_DEGRADATIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "clean": lambda image, _: image,
    "jpeg": jpeg,
    "blur": blur,
    "noise": _noise,
    "resize": _resize_per_cent,
}
CLEAN = Degradation("clean", 0)


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is from {low} to {high}, not {value}")

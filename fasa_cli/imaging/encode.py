"""Arrays -> image files: PNG, JPEG and WebP, in memory.

Colour order is RGB everywhere; OpenCV's BGR never leaves this module.
"""

from __future__ import annotations

import cv2
import numpy as np

from fasa_cli.errors import ImageError

# Run lengths at level 1: of zlib's strategies the fastest, and for masks, 16-bit maps and photos
# no larger than the default.
_PNG_OPTIONS = [
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
]
# One filter for masks and maps, where trying all of them on every row takes half of the time: masks
# get no larger by it, maps by a tenth.
_PNG_GREY_OPTIONS = [*_PNG_OPTIONS, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
_MAX_JPEG_SIDE = 65500  # libjpeg's JPEG_MAX_DIMENSION
_MAX_WEBP_SIDE = 16383  # libwebp's WEBP_MAX_DIMENSION
_SAMPLING_FACTORS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


def encode_png(array: np.ndarray) -> bytes:
    """Encode H x W or H x W x 3 (RGB) uint8, or H x W uint16, as PNG without loss."""
    grey_ok = array.ndim == 2 and array.dtype in (np.uint8, np.uint16)
    if not (grey_ok or _is_rgb(array)):
        raise ValueError(f"no PNG from an array of {array.dtype} {array.shape}")
    return _encode(".png", array, _PNG_GREY_OPTIONS if array.ndim == 2 else _PNG_OPTIONS)


def encode_jpeg(array: np.ndarray, quality: int = 92, subsampling: str = "4:4:4") -> bytes:
    """Encode H x W x 3 RGB or H x W grey uint8 as JPEG.

    `quality` is 1-100; `subsampling` of the colour channels is "4:4:4" or "4:2:0".

    Raises:
        ImageError: a side is longer than a JPEG can hold.
    """
    if not (_is_rgb(array) or (array.ndim == 2 and array.dtype == np.uint8)):
        raise ValueError(f"no JPEG from an array of {array.dtype} {array.shape}")
    _check_sides(array, "JPEG", _MAX_JPEG_SIDE)
    factor = _SAMPLING_FACTORS[subsampling]
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return _encode(".jpg", array, options)


def encode_webp(array: np.ndarray, quality: int = 90) -> bytes:
    """Encode H x W x 3 RGB, H x W x 4 RGBA or H x W grey uint8 as WebP.

    `quality` is 1-100; above 100 is lossless.

    Raises:
        ImageError: a side is longer than a WebP can hold.
    """
    is_rgba = array.ndim == 3 and array.shape[2] == 4
    if array.dtype != np.uint8 or not (array.ndim == 2 or is_rgba or _is_rgb(array)):
        raise ValueError(f"no WebP from an array of {array.dtype} {array.shape}")
    _check_sides(array, "WebP", _MAX_WEBP_SIDE)
    return _encode(".webp", array, [cv2.IMWRITE_WEBP_QUALITY, quality])


def _check_sides(array: np.ndarray, format_name: str, longest: int) -> None:
    height, width = array.shape[:2]
    if max(height, width) > longest:
        raise ImageError(
            f"{width} x {height} pixels do not fit into a {format_name}, whose sides end at "
            f"{longest}; write PNG instead"
        )


def encode_mask(mask: np.ndarray) -> bytes:
    """Encode an H x W bool mask as 8-bit PNG: 0 unmarked, 255 marked."""
    if mask.dtype != bool:
        raise ValueError(f"a mask is bool, not {mask.dtype}")
    levels = mask.astype(np.uint8)
    levels *= 255
    return encode_png(levels)


def encode_probabilities(probabilities: np.ndarray) -> bytes:
    """Encode H x W floats in [0, 1] as 16-bit PNG, round(p * 65535)."""
    low, high = probabilities.min(), probabilities.max()
    if not (low >= 0 and high <= 1):  # NaN fails this too
        raise ValueError(f"probabilities lie in [0, 1], not in [{low}, {high}]")
    levels = np.empty(probabilities.shape, np.uint16)
    for row, one in zip(levels, probabilities, strict=True):  # a map in float64 would be large
        row[:] = np.rint(one.astype(np.float64) * 65535)
    return encode_png(levels)


def _is_rgb(array: np.ndarray) -> bool:
    return array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8


def _encode(suffix: str, array: np.ndarray, options: list[int]) -> bytes:
    if array.ndim == 3:
        swapped = cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR
        array = cv2.cvtColor(np.ascontiguousarray(array), swapped)
    done, encoded = cv2.imencode(suffix, array, options)
    if not done:
        raise ValueError(f"no {suffix} from an array of {array.dtype} {array.shape}")
    return encoded.tobytes()

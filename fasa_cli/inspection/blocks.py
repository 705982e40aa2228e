"""The 8 x 8 blocks of a JPEG's brightness: decoded pixels, and their DCT coefficients."""

from __future__ import annotations

import numpy as np

from fasa_cli.imaging.jpeg_tables import ZIGZAG
from fasa_cli.results import GRID


def dct_matrix() -> np.ndarray:
    """The 8 x 8 orthonormal DCT-II matrix, float32."""
    k, n = np.mgrid[:GRID, :GRID]
    matrix = np.cos((n + 0.5) * k * np.pi / GRID) * np.sqrt(2 / GRID)
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


DCT = dct_matrix()


def decoded_brightness(data: bytes) -> np.ndarray:
    """H x W uint8: the Y component of a JPEG as its decoder gives it, as stored, not turned.

    Raises:
        ValueError: it is damaged, or of a kind that the decoder does not read.
    """
    import simplejpeg

    grey = simplejpeg.decode_jpeg(data, "GRAY", fastdct=False, strict=False)
    return np.ascontiguousarray(grey[:, :, 0])


def block_coefficients(brightness: np.ndarray, count: int, shift: int = 0) -> np.ndarray:
    """rows x columns x count float32: the first `count` coefficients in zigzag order of each whole
    block, orthonormal, as JPEG scales them; the grid starts at (`shift`, `shift`)."""
    rows, columns = ((side - shift) // GRID for side in brightness.shape)
    whole = brightness[shift : shift + rows * GRID, shift : shift + columns * GRID]
    blocks = whole.reshape(rows, GRID, columns, GRID).swapaxes(1, 2).astype(np.float32) - 128
    coefficients = np.matmul(np.matmul(DCT, blocks), DCT.T)
    return coefficients.reshape(rows, columns, GRID * GRID)[:, :, ZIGZAG[:count]]

"""Which image format a file is of, by its content and not by its name."""

from __future__ import annotations

from importlib.util import find_spec

HEAD_BYTES = 64  # as many as sniff_format looks at

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIC": (".heic", ".heif", ".hif"),
}
SUPPORTED_FORMATS = tuple(_SUFFIXES)
_EXTRA_SUFFIXES = {
    "JPEG XL": (".jxl",),
    "camera RAW": (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"),
}
# Formats that are read where an extra is installed -> (its library's module, the extra).
_EXTRAS = {"JPEG XL": ("pillow_jxl", "jxl"), "camera RAW": ("rawpy", "raw")}
# Usual names of readable files, lower case; what a file is, sniff_format says.
IMAGE_SUFFIXES = frozenset(
    suffix for suffixes in (_SUFFIXES | _EXTRA_SUFFIXES).values() for suffix in suffixes
)

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"CR\x02\x00", "camera RAW"),  # Canon CR2, inside a TIFF header: must come before TIFF
    (0, b"IIU\x00", "camera RAW"),  # Panasonic
    (0, b"IIRO", "camera RAW"),  # Olympus
    (0, b"IIRS", "camera RAW"),
    (0, b"FUJIFILMCCD-RAW", "camera RAW"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),  # BigTIFF
    (0, b"MM\x00+", "TIFF"),
    (0, b"8BPS", "Photoshop PSD"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
)
_BRANDS = (
    ("AVIF", {b"avif", b"avis"}),
    ("HEIC", {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}),
    ("camera RAW", {b"crx "}),  # Canon CR3
)
_BMP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def why_unreadable(file_format: str) -> str | None:
    """Why files of a format that `sniff_format` names cannot be decoded here, and the cure, to be
    read after the format's name; None where they can."""
    if file_format in SUPPORTED_FORMATS:
        return None
    if file_format not in _EXTRAS:
        return "is not supported; convert it to PNG (lossless) first"
    module, extra = _EXTRAS[file_format]
    if find_spec(module) is not None:
        return None
    return f"needs a library that is not installed; run: pip install 'fasa-cli[{extra}]'"


def sniff_format(head: bytes) -> str | None:
    """Name the image format that a file's first `HEAD_BYTES` bytes announce, or None.

    The answer is one of `SUPPORTED_FORMATS`, or the name of a format that is known but read with an
    extra only ("JPEG XL", "camera RAW") or not at all ("JPEG 2000", "Photoshop PSD"), so that such
    a file can be reported instead of being passed over in silence; see `why_unreadable`.
    """
    for offset, signature, name in _SIGNATURES:
        if head.startswith(signature, offset):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _sniff_brand(head)
    return None


def _sniff_brand(head: bytes) -> str | None:
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, end, 4))}
    return next((name for name, known in _BRANDS if brands & known), None)

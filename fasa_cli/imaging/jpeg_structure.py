"""Whether the coded data of a JPEG are whole, as its decoder and its scans show.

One flipped bit can move everything after it, and a picture that is damaged so looks forged to a
localizer. Most decoders stay silent; libjpeg knows more: Huffman codes that do not exist, data that
end too early, bytes that are left over. What self-synchronises with the right number of blocks is
seen by no check of the syntax.
"""

from __future__ import annotations

from collections.abc import Iterator

from fasa_cli.imaging.jpeg_damage import Layout
from fasa_cli.results import GRID

END_OF_IMAGE = b"\xff\xd9"
_LEFT_OVER = "extraneous bytes before marker"  # in libjpeg's words
_START_OF_SCAN = 0xDA
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}  # frames whose coefficients come in several scans
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # tables and an extension have these
_RESTART_INTERVAL = 0xDD
_STANDALONE = {0x01, *range(0xD0, 0xDA)}
_LAST_COEFFICIENT = 63
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1"


def damage(data: bytes) -> str | None:
    """What is wrong with the coded data of a JPEG file, in a few words; None: nothing is known.

    For a file that Pillow can decode.
    """
    reason = _decoders_warning(data)
    if reason is None:
        return _missing_scans(data)
    return reason


def layout(data: bytes) -> Layout | None:
    """How the file's scan is cut into units; None where its header does not say."""
    restart = 0
    unit: tuple[int, int] | None = None
    for marker, segment in _segments(data):
        if marker == _RESTART_INTERVAL:
            restart = int.from_bytes(segment[:2], "big")
        elif marker in _FRAMES and len(segment) >= 6 + 3 * segment[5]:
            sampling = [segment[7 + 3 * i] for i in range(segment[5])]
            if len(sampling) == 1:  # blocks follow each other, whatever its sampling says
                sampling = [0x11]
            unit = (
                GRID * max((one & 15 for one in sampling), default=0),
                GRID * max((one >> 4 for one in sampling), default=0),
            )
        elif marker == _START_OF_SCAN:
            break
    return Layout(*unit, restart) if unit and min(unit) else None


def is_whole_without_end(data: bytes) -> bool:
    """Whether a file without an end-of-image marker holds all of its picture, as panoramas of
    some phones do, with bytes of another kind after it."""
    ended = data + END_OF_IMAGE
    reason = _decoders_warning(ended)
    return (reason is None or _LEFT_OVER in reason) and _missing_scans(ended) is None


def has_gain_map(data: bytes) -> bool:
    """Whether a JPEG file says that a gain map (ISO 21496-1, Ultra HDR) follows its picture."""
    applications = (contents for marker, contents in _segments(data) if 0xE0 <= marker <= 0xEF)
    return any(
        contents.startswith(_GAIN_MAP) or b"http://ns.adobe.com/hdr-gain-map/" in contents
        for contents in applications
    )


def _decoders_warning(data: bytes) -> str | None:
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, "GRAY", strict=True)
    except ValueError as error:
        try:  # a kind that this decoder does not read, such as CMYK, is no damage
            simplejpeg.decode_jpeg(data, "GRAY", strict=False)
        except ValueError:
            return None
        return " ".join(str(error).split())
    return None


def _missing_scans(data: bytes) -> str | None:
    """Progressive files bring coefficients band by band and bit by bit: do all arrive?"""
    progressive = False
    components: set[int] = set()
    lowest: dict[tuple[int, int], int] = {}  # (component, coefficient) -> lowest bit so far
    for marker, segment in _segments(data):
        if marker in _PROGRESSIVE and not components:
            progressive = True
            components = {segment[6 + 3 * i] for i in range(segment[5])}
        elif marker == _START_OF_SCAN and progressive:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            for component in (segment[1 + 2 * i] for i in range(count)):
                for coefficient in range(first, min(last, _LAST_COEFFICIENT) + 1):
                    lowest[component, coefficient] = bits & 15
    if not progressive:
        return None
    wanted = [(c, k) for c in components for k in range(_LAST_COEFFICIENT + 1)]
    missing = sum(lowest.get(one, 1) > 0 for one in wanted)
    if not missing:
        return None
    return f"scans are lost: {missing} of {len(wanted)} coefficients of a block are incomplete"


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, contents) of each segment up to the end of the image; entropy-coded data skipped."""
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 3:
        marker = data[position + 1]
        if marker in (0x00, 0xFF):  # a stuffed byte, or padding
            position += 1 if marker == 0xFF else 2
            continue
        if marker == END_OF_IMAGE[1]:
            return
        if marker in _STANDALONE:
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, data[position + 4 : position + 2 + length]
        position += 2 + max(length, 2)

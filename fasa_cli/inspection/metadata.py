"""All that a file says in EXIF, GPS, XMP, IPTC and text chunks, read within bounds.

What cannot be read leaves a line in `problems`; it never stops an inspection.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

from fasa_cli.imaging.limits import open_header
from fasa_cli.imaging.metadata import exif_of
from fasa_cli.imaging.png import chunks
from fasa_cli.imaging.profiles import profile_name
from fasa_cli.inspection.jpeg import segment_contents
from fasa_cli.inspection.records import JpegStructure
from fasa_cli.inspection.xmp import XmpError, read_xmp

_LONGEST_TEXT = 300  # characters of a value that are kept
_LONGEST_CHUNK = 1 << 20  # bytes of a text chunk, unpacked
_MOST_VALUES = 1000  # per group
_XMP_CHUNK = "XML:com.adobe.xmp"
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_THUMBNAIL_OFFSET, _THUMBNAIL_BYTES = 513, 514
_XMP_TAG = 700
_IPTC_NAMES = {
    5: "object name",
    25: "keywords",
    40: "special instructions",
    55: "date created",
    60: "time created",
    62: "digital creation date",
    65: "originating program",
    70: "program version",
    80: "by-line",
    90: "city",
    101: "country",
    105: "headline",
    110: "credit",
    115: "source",
    116: "copyright notice",
    120: "caption",
    122: "writer",
}
_CHARACTER_SETS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16", b"JIS\0\0\0\0\0": "iso2022_jp"}


@dataclass(frozen=True)
class FileMetadata:
    """What a file carries beside its pixels.

    `exif` and `gps` are the values by tag as Pillow types them; `xmp` by path, `text` by keyword;
    `groups` is all of it as text, for people. `thumbnail` is the JPEG of EXIF's first directory
    after the main one. `problems` are sentences about what could not be read.
    """

    exif: Mapping[int, Any] = field(default_factory=dict)
    gps: Mapping[int, Any] = field(default_factory=dict)
    xmp: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    thumbnail: bytes = b""
    photoshop_thumbnail: bytes = b""
    icc_profile: bytes = b""
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_all(data: bytes, file_format: str, structure: JpegStructure | None) -> FileMetadata:
    """Read everything; `structure` is that of a JPEG, None for other formats."""
    problems: list[str] = []
    is_opened = structure is None and file_format != "camera RAW"
    image = _opened(data, file_format, problems) if is_opened else None
    text = dict(_png_text(data)) if file_format == "PNG" else {}
    exif_bytes, exif = _exif(data, file_format, structure, image, problems)
    tags = _merged(exif)
    gps = _directory(exif, ExifTags.IFD.GPSInfo)
    xmp = _xmp(data, structure, image, text, problems)
    resources = _photoshop(data, structure, image, problems)
    iptc = _iptc(resources.get(0x0404, b""))
    profile = _profile(data, structure, image)
    thumbnail = _exif_thumbnail(exif, exif_bytes)
    photoshop_thumbnail = resources.get(0x040C, b"")[28:]
    groups = {
        "exif": _named(tags, ExifTags.TAGS),
        "gps": _named(gps, ExifTags.GPSTAGS),
        "xmp": dict(list(xmp.items())[:_MOST_VALUES]),
        "iptc": iptc,
        "text": {key: value[:_LONGEST_TEXT] for key, value in text.items() if key != _XMP_CHUNK},
    }
    if profile:
        groups["icc"] = {"profile": profile_name(profile), "bytes": str(len(profile))}
    if structure is not None and structure.comments:
        comments = enumerate(structure.comments, start=1)
        groups["comment"] = {str(n): comment[:_LONGEST_TEXT] for n, comment in comments}
    return FileMetadata(
        exif=tags,
        gps=gps,
        xmp=xmp,
        text=text,
        thumbnail=thumbnail,
        photoshop_thumbnail=photoshop_thumbnail,
        icc_profile=profile,
        groups={name: values for name, values in groups.items() if values},
        problems=tuple(problems),
    )


def text_of(value: Any) -> str:
    """A tag's value in a line; bytes that are no text as their number."""
    if isinstance(value, bytes):
        decoded = _decoded(value)
        return f"{len(value)} bytes" if decoded is None else decoded[:_LONGEST_TEXT]
    if isinstance(value, tuple | list):
        shown = ", ".join(text_of(one) for one in value[:20])
        return shown + (f", ... ({len(value)} values)" if len(value) > 20 else "")
    if isinstance(value, Mapping):
        return f"{len(value)} values"
    return str(value).split("\0")[0].strip()[:_LONGEST_TEXT]


def _opened(data: bytes, file_format: str, problems: list[str]) -> Image.Image | None:
    try:
        return open_header(data, file_format)
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged headers
        problems.append(f"the header cannot be read ({type(error).__name__})")
        return None


# --- EXIF -----------------------------------------------------------------------------------


def _exif(
    data: bytes,
    file_format: str,
    structure: JpegStructure | None,
    image: Image.Image | None,
    problems: list[str],
) -> tuple[bytes, Image.Exif]:
    """(the block from its TIFF header on, its tags)."""
    try:
        if structure is not None:
            blocks = segment_contents(data, structure, "EXIF")
            if not blocks:
                return b"", Image.Exif()
            exif = Image.Exif()
            exif.load(blocks[0])
            exif.get(ExifTags.Base.Make)
            return blocks[0][6:], exif
        if file_format == "camera RAW":  # its directories are EXIF's, whatever Pillow decodes
            exif = Image.Exif()
            exif.load(data)
            exif.get(ExifTags.Base.Make)
            return data, exif
        if image is not None:
            block = image.info.get("exif", b"")
            block = block if isinstance(block, bytes) else b""
            return block.removeprefix(b"Exif\0\0"), exif_of(image, data)
    except Exception as error:  # as above
        problems.append(f"EXIF cannot be read ({type(error).__name__})")
    return b"", Image.Exif()


def _directory(exif: Image.Exif, which: ExifTags.IFD) -> dict[int, Any]:
    try:
        return dict(exif.get_ifd(which))
    except Exception:  # as above; the other directories are still worth reading
        return {}


def _merged(exif: Image.Exif) -> dict[int, Any]:
    tags: dict[int, Any] = {}
    try:
        tags.update(exif.items())
    except Exception:  # as above
        tags = {}
    tags.update(_directory(exif, ExifTags.IFD.Exif))
    for pointer in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop):
        tags.pop(pointer, None)
    for pixels in (273, 279, 324, 325, 34377, 33723, _XMP_TAG, 34675):  # a TIFF's own
        tags.pop(pixels, None)
    return tags


def _exif_thumbnail(exif: Image.Exif, block: bytes) -> bytes:
    try:
        directory = exif.get_ifd(ExifTags.IFD.IFD1)
        start, length = directory.get(_THUMBNAIL_OFFSET), directory.get(_THUMBNAIL_BYTES)
    except Exception:  # as above
        return b""
    if not isinstance(start, int) or not isinstance(length, int) or start <= 0 or length <= 0:
        return b""
    return block[start : start + length]


def _named(tags: Mapping[int, Any], names: Mapping[int, str]) -> dict[str, str]:
    shown = list(tags.items())[:_MOST_VALUES]
    return {names.get(tag, f"0x{tag:04X}"): text_of(value) for tag, value in shown}


def _decoded(value: bytes) -> str | None:
    head, rest = value[:8], value[8 : 8 + 4 * _LONGEST_TEXT]
    try:
        if head in _CHARACTER_SETS:
            text = rest.decode(_CHARACTER_SETS[head])
        else:
            text = value[: 4 * _LONGEST_TEXT].rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError:
        return None
    text = text.split("\0")[0].strip()
    return text if text.isprintable() else None


# --- XMP, IPTC, profiles --------------------------------------------------------------------


def _xmp(
    data: bytes,
    structure: JpegStructure | None,
    image: Image.Image | None,
    text: Mapping[str, str],
    problems: list[str],
) -> dict[str, str]:
    packets: list[bytes] = []
    if structure is not None:
        found = segment_contents(data, structure, "XMP")
        packets += [packet[len(_XMP_HEAD) :] for packet in found[:4]]
        # The rest of a long packet: 32 bytes of its digest, its length, the place of each part.
        parts = segment_contents(data, structure, "XMP extension")
        if extension := b"".join(part[75:] for part in parts):
            packets.append(extension)
    elif _XMP_CHUNK in text:
        packets.append(text[_XMP_CHUNK].encode())
    elif image is not None:
        packet = image.info.get("xmp")
        if packet is None and isinstance(image, TiffImagePlugin.TiffImageFile):
            packet = image.tag_v2.get(_XMP_TAG)
        if isinstance(packet, bytes):
            packets.append(packet)
    properties: dict[str, str] = {}
    for packet in packets:
        try:
            properties.update(read_xmp(packet))
        except XmpError as error:
            problems.append(f"an XMP packet was not read: {error}")
    return properties


def _photoshop(
    data: bytes, structure: JpegStructure | None, image: Image.Image | None, problems: list[str]
) -> dict[int, bytes]:
    """Photoshop's image resources by number."""
    if structure is None:
        block = b""
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            value = image.tag_v2.get(34377)
            block = value if isinstance(value, bytes) else b""
    else:
        contents = segment_contents(data, structure, "Photoshop resources")
        block = b"".join(content[14:] for content in contents)
    resources: dict[int, bytes] = {}
    position = 0
    while block[position : position + 4] == b"8BIM" and position + 12 <= len(block):
        number = int.from_bytes(block[position + 4 : position + 6], "big")
        position += 6
        name = block[position] if position < len(block) else 0
        position += (name + 2) & ~1  # the name, its length before it, made even
        size = int.from_bytes(block[position : position + 4], "big")
        position += 4
        if position + size > len(block):
            problems.append("Photoshop's resources end before they should")
            break
        resources.setdefault(number, block[position : position + size])
        position += (size + 1) & ~1
    return resources


def _iptc(block: bytes) -> dict[str, str]:
    """The datasets of IPTC's Information Interchange Model, records 1 and 2."""
    found: dict[str, list[str]] = {}
    position = 0
    while position + 5 <= len(block) and block[position] == 0x1C and len(found) < _MOST_VALUES:
        record, number = block[position + 1], block[position + 2]
        size = int.from_bytes(block[position + 3 : position + 5], "big")
        if size & 0x8000:  # lengths of their own length; nothing that is shown needs them
            break
        value = block[position + 5 : position + 5 + size]
        name = _IPTC_NAMES.get(number) if record == 2 else None
        found.setdefault(name or f"{record}:{number}", []).append(text_of(value))
        position += 5 + size
    return {name: ", ".join(values)[:_LONGEST_TEXT] for name, values in found.items()}


def _profile(data: bytes, structure: JpegStructure | None, image: Image.Image | None) -> bytes:
    if structure is None:
        profile = image.info.get("icc_profile") if image is not None else None
        return profile if isinstance(profile, bytes) else b""
    parts = segment_contents(data, structure, "ICC profile")
    return b"".join(part[14:] for part in sorted(parts, key=lambda part: part[12:13]))


# --- PNG text -------------------------------------------------------------------------------


def _png_text(data: bytes) -> Iterator[tuple[str, str]]:
    """(keyword, text) of every text chunk, those after the pixels too."""
    texts = ((kind, one) for kind, one in chunks(data) if kind in (b"tEXt", b"zTXt", b"iTXt"))
    for kind, contents in islice(texts, _MOST_VALUES):
        keyword, _, rest = contents.partition(b"\0")
        yield keyword.decode("latin-1")[:80], _chunk_text(kind, rest)


def _chunk_text(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest[:_LONGEST_CHUNK].decode("latin-1")
    is_packed = kind == b"zTXt"
    if kind == b"iTXt":
        is_packed = rest[:1] == b"\1"
        parts = rest[2:].split(b"\0", 2)  # language, translated keyword, text
        rest = parts[2] if len(parts) == 3 else b""
    else:
        rest = rest[1:]  # the method
    if is_packed:
        try:
            rest = zlib.decompressobj().decompress(rest, _LONGEST_CHUNK)
        except zlib.error:
            return "(damaged)"
    return rest[:_LONGEST_CHUNK].decode("latin-1" if kind == b"zTXt" else "utf-8", "replace")

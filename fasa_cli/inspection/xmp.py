"""XMP packets (ISO 16684-1) as flat pairs of path and text; hostile XML ends in an error."""

from __future__ import annotations

from typing import NoReturn
from xml.etree import ElementTree

_LARGEST = 4 << 20  # bytes
_MOST_PROPERTIES = 5000
_LONGEST_TEXT = 500  # characters
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_CONTAINERS = {f"{_RDF}{name}" for name in ("RDF", "Description", "Seq", "Bag", "Alt")}
_PREFIXES = {
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/xap/1.0/sType/ResourceRef#": "stRef",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/camera-raw-settings/1.0/": "crs",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/xmp/note/": "xmpNote",
    "http://ns.adobe.com/hdr-gain-map/1.0/": "hdrgm",
    "http://ns.apple.com/HDRGainMap/1.0/": "HDRGainMap",
    "http://ns.google.com/photos/1.0/camera/": "GCamera",
    "http://ns.google.com/photos/1.0/container/": "Container",
    "http://ns.google.com/photos/1.0/container/item/": "Item",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
}


class XmpError(ValueError):
    """Not XML that is read: damaged, too large, or with declarations of its own."""


class _Builder(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> NoReturn:
        raise XmpError("it declares a document type, as XMP never does and entity bombs do")


def read_xmp(packet: bytes) -> dict[str, str]:
    """The properties of a packet, as in {"xmpMM:History[1]/stEvt:action": "saved"}.

    Raises:
        XmpError: the packet is damaged, too large, or declares a document type.
    """
    if len(packet) > _LARGEST:
        raise XmpError(f"it has {len(packet)} bytes, more than the limit of {_LARGEST}")
    parser = ElementTree.XMLParser(target=_Builder())
    try:
        parser.feed(packet.rstrip(b"\0 \r\n\t"))
        root = parser.close()
    except XmpError:
        raise
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise XmpError(f"it is no XML ({' '.join(str(error).split())[:100]})") from error
    return _flat(root)


def _flat(root: ElementTree.Element) -> dict[str, str]:
    properties: dict[str, str] = {}
    pending: list[tuple[ElementTree.Element, str]] = [(root, "")]
    while pending and len(properties) < _MOST_PROPERTIES:
        element, path = pending.pop()
        for name, value in element.attrib.items():
            if not name.startswith((_RDF, "{http://www.w3.org/XML", "{adobe:ns:meta/}")):
                properties[_joined(path, _name(name))] = value[:_LONGEST_TEXT]
        text = (element.text or "").strip()
        if text and path:
            properties[path] = text[:_LONGEST_TEXT]
        items = 0
        below = []
        for child in element:
            if child.tag in _CONTAINERS:
                below.append((child, path))
            elif child.tag == f"{_RDF}li":
                items += 1
                below.append((child, f"{path}[{items}]"))
            else:
                below.append((child, _joined(path, _name(child.tag))))
        pending.extend(reversed(below))
        if len(path) > _LONGEST_TEXT:  # nested without end
            raise XmpError("its properties are nested too deeply")
    return properties


def _joined(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _name(tag: str) -> str:
    """ "{uri}name" with the usual prefix of that namespace."""
    if not tag.startswith("{"):
        return tag
    uri, _, name = tag[1:].partition("}")
    prefix = _PREFIXES.get(uri) or uri.rstrip("/#").rsplit("/", 1)[-1]
    return f"{prefix}:{name}"

"""An inspection in lines of plain text."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fasa_cli.inspection.records import SEVERITIES, Inspection
from fasa_cli.text import counted

_SHOWN_VALUES = 60  # of metadata, for people; JSON has them all


def highest_severity(inspection: Inspection) -> str | None:
    """The highest severity among the findings; None without one."""
    met = {finding.severity for finding in inspection.findings}
    return next((severity for severity in reversed(SEVERITIES) if severity in met), None)


def short_line(inspection: Inspection) -> str:
    """One photo of many: how it is coded, and the findings above a note by their kinds."""
    kinds = [one.kind for one in inspection.findings if one.severity != "note"]
    worst = highest_severity(inspection)
    said = f"{worst}: {', '.join(dict.fromkeys(kinds))}" if kinds else "nothing above a note"
    return f"{inspection.path}: {_about(inspection)}; {said}"


def full_lines(inspection: Inspection) -> Iterator[str]:
    """Everything about one photo, for reading."""
    yield f"{inspection.path}: {_about(inspection)}, sha256 {inspection.sha256[:16]}..."
    yield ""
    for finding in inspection.findings:
        yield f"{finding.severity.upper():7} {finding.text}"
        yield f"        {finding.limits}"
    if not inspection.findings:
        yield "No finding."
    structure = inspection.jpeg
    if structure is not None:
        yield ""
        restarts = (
            f", restart markers every {counted(structure.restart_interval, 'block')} "
            f"({structure.restart_markers})"
            if structure.restart_interval
            else ""
        )
        yield (
            f"Coding: {structure.coding}, {structure.sampling}, {structure.precision} bits, "
            f"{structure.huffman} Huffman tables, {counted(structure.scans, 'scan')}{restarts}"
        )
        names = (one.content or one.name for one in structure.segments)
        yield f"Segments: {' '.join(name.replace(' ', '_') for name in names)}"
        for number, table in sorted(structure.tables.items()):
            shown = " ".join(map(str, table[:16]))
            yield f"Quantisation table {number}, zigzag order: {shown} ..."
    for preview in inspection.previews:
        fit = "not compared"
        if preview.correlation is not None:
            fit = f"correlation {preview.correlation:.3f}"
        if preview.difference is not None:
            fit += f", mean difference {preview.difference:.1f}"
        yield f"{preview.kind}: {preview.size[0]} x {preview.size[1]}, {preview.bytes} bytes; {fit}"
    if inspection.content_credentials is not None:
        yield ""
        yield "content credentials (C2PA):"
        for name, value in inspection.content_credentials.items():
            yield f"  {name}: {value if isinstance(value, str | int) else json.dumps(value)}"
    for group, values in inspection.metadata.items():
        yield ""
        yield f"{group}:"
        for name, value in list(values.items())[:_SHOWN_VALUES]:
            yield f"  {name}: {value}"
        if (more := len(values) - _SHOWN_VALUES) > 0:
            yield f"  ... {more} more; --json has them all"
    for one in inspection.maps.values():
        yield ""
        yield f"map {one['path']}"
        yield f"  {one['caption']}"


def _about(inspection: Inspection) -> str:
    width, height = inspection.size
    text = f"{inspection.format}, {width} x {height}"
    coding = inspection.coding
    if coding is None or coding.quality is None:
        return text
    return f"{text}, JPEG quality {'' if coding.is_exact else 'about '}{coding.quality}"

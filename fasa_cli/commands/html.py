"""What `fasa scan --report` and `fasa report` share: writing a scan's HTML report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import typer

from fasa_cli.commands.display import Progress, say
from fasa_cli.text import counted


def check_report(out: Path, redact: str, made: Path | None = None) -> None:
    """Refuse a report that could not be written before the work that it is to show.

    `made` is a folder that this work makes.

    Raises:
        typer.BadParameter: `out` is a folder, or its folder is missing.
        ConfigError: `redact` has other words than `paths`, `gps` and `none`.
    """
    from fasa_cli.report.redaction import parse_redactions

    parse_redactions(redact)
    will_be = made is not None and Path(os.path.abspath(out.parent)) == Path(os.path.abspath(made))
    if out.is_dir() or not (out.parent.is_dir() or will_be):
        reason = "is a folder" if out.is_dir() else "has no folder to lie in"
        raise typer.BadParameter(f"{out} {reason}; name a file such as report.html")


def write_report(
    run: Path,
    out: Path,
    redact: str,
    about: Mapping[str, str | None] | None = None,
    originals_at: Path | None = None,
) -> None:
    """Write the HTML report of the scan in `run` and say what is in it; its head holds `about`.
    Photos that were moved lie below `originals_at`.

    Raises:
        ConfigError: `redact` has other words than `paths`, `gps` and `none`.
        OutputError: there is no scan, or the report cannot be written.
    """
    from fasa_cli.report.page import MOST_ROWS, write_html_report
    from fasa_cli.report.redaction import parse_redactions
    from fasa_cli.scanning.saved_run import SavedRun

    hidden = parse_redactions(redact)
    listed = min(SavedRun(run).count_records(), MOST_ROWS)
    with Progress(listed, "photos in the report") as progress:
        known = {label: text for label, text in (about or {}).items() if text}
        summary = write_html_report(
            run,
            out,
            redact=hidden,
            advance=progress.advance,
            about=known,
            originals_at=originals_at,
        )
    say(
        f"report: {out}, {summary.bytes / 1e6:.1f} MB; of {counted(summary.photos, 'photo')} "
        f"{summary.listed} listed, {summary.thumbnails} pictured, {summary.previews} in large"
    )
    if summary.unreadable:
        say(
            f"{counted(summary.unreadable, 'photo')} gone or changed, whose pictures are missing; "
            "--originals-at DIR names where photos lie now"
        )

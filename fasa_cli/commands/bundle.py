"""`fasa bundle`: a scan as one evidence zip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasa_cli.commands.display import say


def bundle(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a scan wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", show_default="RUN.zip")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="An HTML report.", show_default="RUN/report.html if any"),
    ] = None,
    originals: Annotated[
        bool, typer.Option("--originals", help="Also pack the photos themselves.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
) -> None:
    """Pack a scan's records and outputs with a manifest and SHA256SUMS; photos only when asked.

    The same scan gives the same bytes. Every file is checked against its recorded sha256 as it is
    packed; one that differs stops the bundle.
    """
    from fasa_cli.custody import REPORT
    from fasa_cli.custody import bundle as pack
    from fasa_cli.saved_run import SavedRun

    saved = SavedRun(run)
    target = out or run.resolve().with_name(run.resolve().name + ".zip")
    if target.is_dir() or (target.exists() and not overwrite):
        raise typer.BadParameter(f"{target} exists; name another --out, or --overwrite")
    if report is None and (run / REPORT).is_file():
        report = run / REPORT
    packed = pack(saved, target, report, originals)
    say(
        f"{target}: {packed.files} files, {packed.bytes / 1e6:.1f} MB; "
        + (f"{packed.originals} photos" if originals else "no photos (--originals packs them)")
        + ("" if report else "; no report")
    )
    say(f"sha256 {packed.sha256}")
    if saved.description.get("status") != "complete":
        say("the scan is not complete; what is packed is what there is")

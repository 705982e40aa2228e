"""`fasa bundle`: a scan as one evidence zip, or as a BagIt bag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fasa_cli.commands.display import say
from fasa_cli.commands.options import OriginalsAt
from fasa_cli.text import counted


def bundle(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a scan wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", show_default="RUN.zip, with --bagit RUN.bag"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="An HTML report of this scan.",
            show_default="RUN/report.html, or the one written last",
        ),
    ] = None,
    originals: Annotated[
        bool, typer.Option("--originals", help="Also pack the photos themselves.")
    ] = False,
    originals_at: OriginalsAt = None,
    sign: Annotated[
        Path | None,
        typer.Option("--sign", metavar="KEY", help="Sign SHA256SUMS with a private Ed25519 key."),
    ] = None,
    bagit: Annotated[
        bool, typer.Option("--bagit", help="A folder in BagIt form, for archives.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
) -> None:
    """Pack a scan's records and outputs with a manifest and SHA256SUMS; photos only when asked.

    The same scan gives the same bytes. Every file is checked against its recorded sha256 as it is
    packed; one that differs stops the bundle. Whoever gets it checks it with fasa verify.
    """
    from fasa_cli.scanning.bundle import bag, report_of
    from fasa_cli.scanning.bundle import bundle as pack
    from fasa_cli.scanning.saved_run import SavedRun
    from fasa_cli.scanning.signing import read_private_key

    key = read_private_key(sign) if sign else None
    saved = SavedRun(run, originals_at)
    target = out or run.resolve().with_name(run.resolve().name + (".bag" if bagit else ".zip"))
    if target.is_dir() or (target.exists() and (bagit or not overwrite)):
        cure = "name another --out" if bagit or target.is_dir() else "--out, or --overwrite"
        raise typer.BadParameter(f"{target} exists; {cure}")
    report = report or report_of(saved)
    packed = (bag if bagit else pack)(saved, target, report=report, originals=originals, key=key)
    say(
        f"{target}: {counted(packed.files, 'file')}, {packed.bytes / 1e6:.1f} MB; "
        + (
            counted(packed.originals, "photo")
            if originals
            else "no photos (--originals packs them)"
        )
        + (f"; report {report}" if report else "; no report")
        + ("; signed" if key else "")
    )
    if packed.sha256:
        say(f"sha256 {packed.sha256}")
    if saved.description.get("status") != "complete":
        say("the scan is not complete; what is packed is what there is")

"""fasa inspect: what photos' files say of their own history, without the model."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasa_cli.commands._exit_codes import ExitCode
from fasa_cli.commands._scan_options import FilesFrom, Inputs, Null
from fasa_cli.commands.display import Progress, by_kind, printable, say
from fasa_cli.text import counted

if TYPE_CHECKING:
    from fasa_cli.inspection.archive import ArchivePhoto


class Severity(str, Enum):
    """How much a finding asks for an explanation."""

    low = "low"
    medium = "medium"
    high = "high"


def inspect(
    inputs: Inputs = None,
    files_from: FilesFrom = None,
    null: Null = False,
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON Lines.")] = False,
    previews: Annotated[
        bool,
        typer.Option(
            "--previews/--no-previews",
            help="Compare thumbnails and previews with the picture; without, no pixel is decoded.",
        ),
    ] = True,
    maps: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Also write maps of earlier compressions (double compression, JPEG ghosts, grids) "
            "as pictures; seconds a photo.",
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Lay another version over each photo and say where they differ; with --maps as a "
            "picture, too.",
        ),
    ] = None,
    find_in: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Look for the photos that each was made from here."),
    ] = None,
    fail_on: Annotated[
        Severity | None,
        typer.Option(
            metavar="low|medium|high",
            help="Exit with 10 if any finding is of this severity or above.",
        ),
    ] = None,
) -> None:
    """Say what photos' files record of their own history: coding, metadata, previews, marks.

    No model runs, and nothing here is a verdict: every finding says what it does not show. Exit
    codes: 0 all inspected; 3 some inputs were not; 4 no image found; 10 --fail-on reached.
    """
    from fasa_cli.errors import ImageError
    from fasa_cli.files import json_line
    from fasa_cli.inspection.archive import with_origins
    from fasa_cli.inspection.inspecting import inspect_file, with_maps
    from fasa_cli.inspection.records import SEVERITIES
    from fasa_cli.inspection.summary import full_lines, highest_severity, short_line
    from fasa_cli.inspection.versions import read_brightness, with_version
    from fasa_cli.scanning.discovery import discover, read_path_list

    inputs = inputs or []
    if not inputs and files_from is None:
        raise typer.BadParameter("name at least one file or folder", param_hint="INPUTS")
    listed = read_path_list("-", null) if "-" in inputs else []
    listed += read_path_list(files_from, null) if files_from is not None else []
    found = discover([text for text in inputs if text != "-"], maps, listed)
    if not found.sources and not found.failures:
        say("no image found; name photos, or folders with photos")
        raise typer.Exit(ExitCode.NO_IMAGE)
    archive = None if find_in is None else _read_archive(find_in)
    if compare is not None:
        read_brightness(str(compare))  # an error here is no photo's
    failed = [(failure.path, failure.reason) for failure in found.failures]
    is_single = len(found.sources) == 1 and not found.failures
    severities: dict[str, int] = {}
    with Progress(len(found.sources), "images") as progress:
        for source in found.sources:
            progress.advance()
            try:
                inspection = inspect_file(source.path, previews)
                if maps is not None:
                    inspection = with_maps(inspection, maps, source.name)
                if compare is not None:
                    inspection = with_version(inspection, str(compare), maps, source.name)
                if archive is not None:
                    inspection = with_origins(inspection, archive)
            except ImageError as error:
                failed.append((source.path, str(error).removeprefix(f"{source.path}: ")))
                continue
            worst = highest_severity(inspection) or "nothing"
            severities[worst] = severities.get(worst, 0) + 1
            if json:
                sys.stdout.write(json_line(inspection))
                continue
            lines = full_lines(inspection) if is_single else [short_line(inspection)]
            for line in lines:
                sys.stdout.write(printable(line) + "\n")
    for path, reason in failed:
        say(f"failed: {path}: {reason}")
    if not is_single:
        say(
            f"{counted(sum(severities.values()), 'image')} inspected, {len(failed)} failed; "
            f"highest severity{by_kind(severities)}"
        )
    if failed:
        raise typer.Exit(ExitCode.INCOMPLETE)
    reached = fail_on and SEVERITIES[SEVERITIES.index(fail_on.value) :]
    if reached and any(severity in severities for severity in reached):
        raise typer.Exit(ExitCode.SCORE_REACHED)


def _read_archive(folder: Path) -> list[ArchivePhoto]:
    from fasa_cli.inspection.archive import read_archive
    from fasa_cli.scanning.discovery import discover

    if not folder.is_dir():
        raise typer.BadParameter(f"{folder}: no such folder", param_hint="--find-in")
    paths = [source.path for source in discover([str(folder)], None).sources]
    with Progress(len(paths), "archive photos") as progress:
        photos, failed = read_archive(paths, progress.advance)
    for path, reason in failed:
        say(f"left out of the archive: {path}: {reason}")
    if not photos:
        say(f"no photo in {folder} that can be read; name another --find-in")
        raise typer.Exit(ExitCode.NO_IMAGE)
    return photos

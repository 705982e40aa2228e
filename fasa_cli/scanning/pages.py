"""Every page of a file as an image of its own: documents in TIFF, animations, bursts."""

from __future__ import annotations

from pathlib import Path

from fasa_cli.imaging.decode import count_pages
from fasa_cli.results import Failure
from fasa_cli.scanning.discovery import Discovery, Source

MOST_PAGES = 10_000  # of a file; a few bytes can declare more


def with_all_pages(found: Discovery) -> Discovery:
    """The same discovery, in which a file of several pages stands once for each.

    The first keeps the file's name, the second is called name~page2, and so on.
    """
    sources: list[Source] = []
    failures = list(found.failures)
    names = {source.name for source in found.sources}
    for source in found.sources:
        count = _count(source.path)
        if count > MOST_PAGES:
            reason = f"has {count} pages, more than the limit of {MOST_PAGES}; split it first"
            failures.append(Failure(source.path, "too many pages", reason, "discovery"))
        elif count == 1:
            sources.append(source)
        else:
            sources.append(Source(source.path, source.name, 0))
            for page in range(1, count):
                name = f"{source.name}~page{page + 1}"
                if name in names:
                    reason = f"another input is called {name}, as its page {page + 1} would be"
                    failures.append(Failure(source.path, "collision", reason, "discovery"))
                else:
                    sources.append(Source(source.path, name, page))
    return Discovery(tuple(sources), tuple(failures), found.skipped)


def _count(path: str) -> int:
    try:
        return count_pages(Path(path).read_bytes())
    except OSError:  # the scan says why
        return 1

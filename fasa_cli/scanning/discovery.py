"""Which images a scan covers, in which order, and what each one's outputs are called.

Files found in a folder or by a glob are inputs when their name or their content says image; named
files always are. Nothing but regular files is ever opened. Linked folders are not followed, and
neither an output folder nor a data set's ground truth is an input.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from fasa_cli.errors import ConfigError
from fasa_cli.imaging.formats import HEAD_BYTES, IMAGE_SUFFIXES, sniff_format
from fasa_cli.results import Failure, Skipped
from fasa_cli.text import without_byte_order_mark

RUN_FOLDER = "_fasa"  # within an output folder: what describes the run
OUTPUT_SUFFIXES = {
    "mask": ".mask.png",
    "probabilities": ".prob.png",
    "network": ".network.png",
    "copy_move": ".copy-move.png",
    "network_mask": ".network-mask.png",
    "copy_move_mask": ".copy-move-mask.png",
    "overlay": ".overlay.jpg",
}
GROUND_TRUTH_BESIDE = {"masks": "images", "gt": "tp"}  # as IMDL-BenCo and most data sets do

_LONGEST_NAME = 255 - max(map(len, OUTPUT_SUFFIXES.values()))  # bytes; the limit of file systems
_FOLDS_CASE = sys.platform in ("win32", "darwin")


@dataclass(frozen=True)
class Source:
    """An image to analyse: `path` to open, `name` (with /) to put its outputs under, and which
    `page` of the file, from 0; None: the one that is shown first."""

    path: str
    name: str
    page: int | None = None


@dataclass(frozen=True)
class Discovery:
    """What a scan's inputs amount to, in a fixed order: folder by folder, sorted by name."""

    sources: tuple[Source, ...]
    failures: tuple[Failure, ...]
    skipped: tuple[Skipped, ...]

    @property
    def found(self) -> int:
        """Everything that was met: to be analysed, failed already, and skipped."""
        return len(self.sources) + len(self.failures) + len(self.skipped)


@dataclass(frozen=True)
class _Candidate:
    """A source without a name as yet: `below` is its path below the input folder `root`, if any.

    `root` and `absolute` are absolute paths.
    """

    path: str
    absolute: str
    root: str | None
    below: str


_Met = _Candidate | Failure | Skipped


def discover(inputs: Sequence[str], out: Path | None, listed: Iterable[str] = ()) -> Discovery:
    """List the images of files, folders and globs (`inputs`) and of a list of paths (`listed`).

    `out` is where outputs will go, if there will be any; it is not an input. Listed paths are never
    globs.

    Raises:
        ConfigError: an input folder is `out` or lies within it.
    """
    walker = _Walker(out)
    candidates: dict[str, _Candidate] = {}  # by absolute path: duplicates are analysed once
    failures: list[Failure] = []
    skipped: list[Skipped] = []
    for met in walker.walk(inputs, listed):
        if isinstance(met, Failure):
            failures.append(met)
        elif isinstance(met, Skipped):
            skipped.append(met)
        else:
            candidates.setdefault(met.absolute, met)
    sources: list[Source] = []
    for named in _with_names(list(candidates.values()), walker.roots, out):
        if isinstance(named, Failure):
            failures.append(named)
        else:
            sources.append(named)
    return Discovery(tuple(sources), tuple(failures), tuple(skipped))


def read_path_list(source: str, null: bool = False) -> list[str]:
    """The paths in a file, or on stdin for `-`: one per line, or separated by NUL bytes.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        data = without_byte_order_mark(data)
    except OSError as error:
        raise ConfigError(f"{source}: cannot read this list of paths ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: marked as UTF-16, and is not; save it as UTF-8") from error
    lines = data.split(b"\0") if null else (line.rstrip(b"\r") for line in data.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line]


# --- Walking --------------------------------------------------------------------------------


class _Walker:
    """Meets files; `out` is known so that it can be left out."""

    def __init__(self, out: Path | None) -> None:
        self._out = None if out is None else os.path.realpath(out)
        self._why_not = cache(self._find_reason)  # globs ask again for every match
        self.roots: list[str] = []  # absolute paths of the folders that were walked

    def walk(self, inputs: Iterable[str], listed: Iterable[str]) -> Iterator[_Met]:
        for text in inputs:
            is_pattern = glob.has_magic(text) and not os.path.lexists(text)
            yield from self._glob(text) if is_pattern else self._named(text)
        for text in listed:
            yield from self._named(text)

    def _named(self, text: str) -> Iterator[_Met]:
        try:
            mode = os.stat(text).st_mode
        except FileNotFoundError:
            yield _failure(text, "missing", "no such file or folder")
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
            yield _failure(text, "unreadable", _reason(error))
        else:
            if stat.S_ISDIR(mode):
                yield from self._root(str(Path(text)))
            elif stat.S_ISREG(mode):
                path = str(Path(text))
                yield _Candidate(path, os.path.abspath(path), None, os.path.basename(path))
            else:
                yield _failure(text, "special file", f"a {_special(mode)}, not a regular file")

    def _root(self, folder: str) -> Iterator[_Met]:
        yield from self._unusable_root(folder) or self._folder(folder, folder)

    def _unusable_root(self, folder: str) -> list[Failure]:
        """Why nothing below this folder can be an input, as a list of one or none."""
        if self._out and Path(os.path.realpath(folder)).is_relative_to(self._out):
            raise ConfigError(
                f"--out {self._out}: holds the input folder {folder}, and an output folder is "
                "never scanned; choose another --out"
            )
        if _holds_run(folder):
            return [_failure(folder, "scan output", "holds the results of an earlier scan")]
        self.roots.append(os.path.abspath(folder))
        return []

    def _folder(self, root: str, top: str) -> Iterator[_Met]:
        """Each folder's files by name, then its folders; a stack, since trees can be deep."""
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                names = sorted(os.listdir(folder))
            except OSError as error:
                yield _failure(folder, "unreadable", f"cannot be listed ({_reason(error)})")
                continue
            folders = []
            for name in names:
                path = name if folder == os.curdir else os.path.join(folder, name)
                if not os.path.isdir(path):
                    yield self._file(root, path)
                elif self._is_out(path):
                    continue
                elif reason := self._why_not(path):
                    yield from _skip_folder(reason)
                else:
                    folders.append(path)
            pending.extend(reversed(folders))

    def _file(self, root: str, path: str) -> _Met:
        """A file that was met, not named: an input only if it is an image or claims to be one."""
        name = os.path.basename(path)
        # ._a.jpg is no photo but what macOS leaves beside a.jpg on foreign disks.
        suffix = os.path.splitext(name)[1].lower()
        claims = suffix in IMAGE_SUFFIXES and not name.startswith("._")
        try:
            mode = os.stat(path).st_mode
            if not stat.S_ISREG(mode):
                return Skipped(path, "special file", f"a {_special(mode)}, not a regular file")
            if claims or _is_image(path):
                below = path if root == os.curdir else path[len(root) :].lstrip(os.sep)
                return _Candidate(path, os.path.abspath(path), os.path.abspath(root), below)
            return Skipped(path, "not an image", "neither its name nor its content is one")
        except OSError as error:
            if os.path.islink(path) and not claims:
                return Skipped(path, "broken link", _reason(error))
            return _failure(path, "unreadable", _reason(error))

    def _glob(self, pattern: str) -> Iterator[_Met]:
        base, rest = _split_pattern(pattern)
        if unusable := self._unusable_root(base):
            yield from unusable
            return
        try:
            matches = sorted(Path(base).glob(rest), key=lambda match: match.parts)
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(f"{pattern}: not a glob that can be read ({error})") from error
        if not matches:
            yield _failure(pattern, "missing", "nothing matches this glob")
        walked: Path | None = None
        for match in matches:
            if walked and walked in match.parents:  # `**` matches a folder and what it holds
                continue
            yield from self._match(base, match)
            if match.is_dir():
                walked = match

    def _match(self, base: str, match: Path) -> Iterator[_Met]:
        """What a walk of `base` would have made of this file or folder."""
        depth = len(match.relative_to(base).parts)
        way = [str(folder) for folder in [match, *match.parents][:depth] if folder.is_dir()]
        reason = next(filter(None, map(self._why_not, way)), None)
        if any(map(self._is_out, way)):
            return
        if not match.is_dir():
            yield replace(reason, path=str(match)) if reason else self._file(base, str(match))
        elif reason:
            yield from _skip_folder(replace(reason, path=str(match)))
        else:
            yield from self._folder(base, str(match))

    def _is_out(self, folder: str) -> bool:
        return os.path.realpath(folder) == self._out

    def _find_reason(self, folder: str) -> Skipped | None:
        """Why a folder that was met is not entered, or None."""
        if os.path.islink(folder):
            return Skipped(folder, "linked folder", "links to folders are not followed")
        if _holds_run(folder):
            return Skipped(folder, "scan output", "holds the results of an earlier scan")
        parent, name = os.path.split(folder)
        if images := GROUND_TRUTH_BESIDE.get(name.lower()):
            beside = (os.path.join(parent, other) for other in (images, images.capitalize()))
            if any(map(os.path.isdir, beside)):
                return Skipped(folder, "ground truth", f"masks that belong to {images}")
        return None


def _skip_folder(reason: Skipped) -> Iterator[Skipped]:
    """Ground truth is counted file by file, since its files are images; other folders as one."""
    if reason.kind != "ground truth":
        yield reason
        return
    for folder, folders, names in os.walk(reason.path):
        folders.sort()
        for name in sorted(names):
            yield replace(reason, path=os.path.join(folder, name))


def _holds_run(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, RUN_FOLDER, "run.json"))


def _is_image(path: str) -> bool:
    with open(path, "rb") as file:
        return sniff_format(file.read(HEAD_BYTES)) is not None


def _special(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "FIFO", stat.S_ISSOCK: "socket", stat.S_ISBLK: "block device"}
    return next((name for test, name in kinds.items() if test(mode)), "character device")


def _split_pattern(pattern: str) -> tuple[str, str]:
    """(folder, pattern below it): the parts before the first that has a wildcard, and the rest."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return str(Path(*parts[:first])), str(Path(*parts[first:]))


def _failure(path: str, kind: str, reason: str) -> Failure:
    return Failure(path, kind, reason, stage="discovery")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


# --- Names ----------------------------------------------------------------------------------


def _with_names(
    candidates: Sequence[_Candidate], roots: Sequence[str], out: Path | None
) -> Iterator[Source | Failure]:
    """Give every source a name of its own; equal ones get a part of their path's hash."""
    labels = _root_labels(list(dict.fromkeys(roots)))
    plain = [_name(candidate, labels) for candidate in candidates]
    counts = Counter(map(_folded, plain))
    inputs = {_folded(candidate.absolute) for candidate in candidates}
    taken: set[str] = set()
    top = None if out is None else os.path.abspath(out)
    for candidate, name in zip(candidates, plain, strict=True):
        if counts[_folded(name)] > 1:
            name = f"{name}~{_path_hash(candidate.absolute)}"
        target = None if top is None else os.path.join(top, *name.split("/"))
        if _folded(name) in taken:
            yield _failure(candidate.path, "collision", f"another input is called {name}, too")
        elif target and any(_folded(target + end) in inputs for end in OUTPUT_SUFFIXES.values()):
            reason = "its mask would overwrite another input; choose another --out"
            yield _failure(candidate.path, "collision", reason)
        else:
            yield Source(candidate.path, name)
        taken.add(_folded(name))


def _root_labels(roots: Sequence[str]) -> dict[str, str]:
    """What the names from each input folder start with: nothing when there is only one."""
    if len(roots) < 2:
        return {}
    labels = {root: os.path.basename(root) or "root" for root in roots}
    counts = Counter(map(_folded, labels.values()))
    return {
        root: f"{label}~{_path_hash(root)}" if counts[_folded(label)] > 1 else label
        for root, label in labels.items()
    }


def _name(candidate: _Candidate, labels: dict[str, str]) -> str:
    label = labels.get(candidate.root or "")
    # A glob such as a*/../b can put ".." between; no name may lead out of the output folder.
    parts = [part for part in candidate.below.split(os.sep) if part not in ("..", ".")]
    parts[-1] = _shortened(parts[-1])
    return "/".join([label, *parts] if label else parts)


def _shortened(name: str) -> str:
    """A file name that leaves room for the longest suffix, cut and hashed if it has to be."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST_NAME - len("~01234567"):
        return name
    head = data[: _LONGEST_NAME - 2 * len("~01234567")].decode("utf-8", "ignore")
    return f"{head}~{_path_hash(name)}"


def _folded(name: str) -> str:
    """What the file system takes for the same name."""
    return unicodedata.normalize("NFC", name).casefold() if _FOLDS_CASE else name


def _path_hash(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]

"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fasa_cli.errors import OutputError
from fasa_cli.files import write_atomically, write_lines


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_atomically(path, b"old")
    write_atomically(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.png"]


def test_the_longest_file_name_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("a" * 255), b"x")


def test_failed_writing_keeps_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=r"a\.png: cannot be written \(No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_writing_into_a_missing_folder_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.png: cannot be written"):
        write_atomically(tmp_path / "missing" / "a.png", b"x")


def test_lines_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "lines"
    write_lines(target, ["one\n", "\udcff\n"])
    assert target.read_bytes() == b"one\n\\udcff\n"

    def broken():
        yield "two\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_lines(target, broken())
    assert target.read_bytes() == b"one\n\\udcff\n"
    assert list(tmp_path.iterdir()) == [target]

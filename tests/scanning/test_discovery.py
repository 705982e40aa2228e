"""What is an input, in which order, and what its outputs are called."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from fasa_cli.errors import ConfigError
from fasa_cli.scanning.discovery import Discovery, discover, read_path_list
from tests.conftest import write_photo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def photos(*paths: str) -> None:
    for seed, path in enumerate(paths):
        write_photo(Path(path), seed)


def names(found: Discovery) -> list[str]:
    return [source.name for source in found.sources]


def kinds(found: Discovery) -> Counter[str]:
    return Counter(item.kind for item in (*found.failures, *found.skipped))


def find(*inputs: str, out: str = "masks", listed: tuple[str, ...] = ()) -> Discovery:
    return discover(inputs, Path(out), listed)


def test_a_folder_is_mirrored_in_sorted_order() -> None:
    photos("photos/b.jpg", "photos/a.jpg", "photos/z/c.png", "photos/k/l/d.jpg")
    found = find("photos")
    assert names(found) == ["a.jpg", "b.jpg", "k/l/d.jpg", "z/c.png"]
    assert found.sources[0].path == os.path.join("photos", "a.jpg")
    assert found.found == 4


def test_content_decides_and_suffixes_claim() -> None:
    photos("photos/really.png")
    os.rename("photos/really.png", "photos/really.dat")
    Path("photos/claims.JPG").write_text("text")
    Path("photos/notes.txt").write_text("text")
    Path("photos/._really.jpg").write_bytes(b"\x00\x05\x16\x07")
    Path("photos/phone.bin").write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")
    found = find("photos")
    assert names(found) == ["claims.JPG", "phone.bin", "really.dat"]
    assert kinds(found) == {"not an image": 2}


def test_named_files_are_always_tried() -> None:
    Path("notes.txt").write_text("text")
    assert names(find("notes.txt")) == ["notes.txt"]


def test_what_is_missing_is_a_failure() -> None:
    photos("a.jpg")
    found = find("gone.jpg", "a.jpg", "none/*.jpg", "", "nul\0.jpg")
    assert names(found) == ["a.jpg"]
    assert kinds(found) == {"missing": 3, "unreadable": 1}


def test_special_files_are_never_opened() -> None:
    photos("photos/a.jpg")
    os.mkfifo("photos/pipe.jpg")
    assert kinds(find("photos")) == {"special file": 1}
    named = find("photos/pipe.jpg")
    assert (named.sources, kinds(named)) == ((), {"special file": 1})


def test_links_to_folders_are_not_followed() -> None:
    photos("photos/a.jpg", "photos/sub/b.jpg")
    os.symlink("..", "photos/sub/loop")
    os.symlink("a.jpg", "photos/link.jpg")
    os.symlink("nowhere", "photos/dangling")
    os.symlink("nowhere", "photos/dangling.jpg")
    found = find("photos")
    assert names(found) == ["a.jpg", "link.jpg", "sub/b.jpg"]
    assert kinds(found) == {"linked folder": 1, "broken link": 1, "unreadable": 1}


def test_a_folder_that_cannot_be_listed_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("photos/a.jpg", "photos/shut/b.jpg")
    listdir = os.listdir

    def refuse(folder: str) -> list[str]:
        if folder.endswith("shut"):
            raise PermissionError(13, "Permission denied", folder)
        return listdir(folder)

    monkeypatch.setattr(os, "listdir", refuse)
    found = find("photos")
    assert (names(found), kinds(found)) == (["a.jpg"], {"unreadable": 1})


def test_outputs_are_no_inputs() -> None:
    photos("photos/a.jpg", "photos/masks/a.jpg.mask.png", "photos/old/a.jpg.mask.png")
    os.mkdir("photos/old/_fasa")
    Path("photos/old/_fasa/run.json").write_text("{}")
    found = find("photos", out="photos/masks")
    assert (names(found), kinds(found)) == (["a.jpg"], {"scan output": 1})
    assert kinds(find("photos/old")) == {"scan output": 1}


@pytest.mark.parametrize("inputs", ["photos", "photos/sub", "photos/*.jpg", "."])
def test_the_output_folder_cannot_be_an_input(inputs: str) -> None:
    photos("photos/a.jpg", "photos/sub/b.jpg")
    with pytest.raises(ConfigError, match="choose another --out"):
        find(inputs, out="photos" if inputs != "." else ".")


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("Tp", "Gt"), ("tp", "gt")])
def test_ground_truth_is_skipped_file_by_file(images: str, masks: str) -> None:
    photos(f"set/{images}/a.jpg", f"set/{masks}/a.png", f"set/{masks}/more/b.png", "set/x/gt/c.png")
    found = find("set")
    assert sorted(names(found)) == sorted([f"{images}/a.jpg", "x/gt/c.png"])
    assert kinds(found) == {"ground truth": 2}
    assert names(find(f"set/{masks}")) == ["a.png", "more/b.png"]  # who names it means it
    by_glob = find("set/**/*.*")
    assert (sorted(names(by_glob)), kinds(by_glob)) == (sorted(names(found)), kinds(found))


def test_several_folders_are_told_apart() -> None:
    photos("one/a.jpg", "two/a.jpg", "deep/one/a.jpg")
    assert names(find("one", "two")) == ["one/a.jpg", "two/a.jpg"]
    found = names(find("one", "deep/one"))
    assert [name.split("~")[0] for name in found] == ["one", "one"]
    assert len({name.split("/")[0] for name in found}) == 2
    assert all(name.endswith("/a.jpg") for name in found)


def test_named_files_of_one_name_are_told_apart() -> None:
    photos("one/a.jpg", "two/a.jpg", "b.jpg")
    found = names(find("one/a.jpg", "two/a.jpg", "b.jpg"))
    assert found[2] == "b.jpg"
    assert all(len(name) == len("a.jpg~01234567") for name in found[:2])
    assert found[:2] == names(find("two/a.jpg", "one/a.jpg"))[::-1]  # order decides nothing


def test_a_file_met_twice_is_analysed_once() -> None:
    photos("photos/a.jpg", "photos/sub/b.jpg")
    found = find("photos", "photos/a.jpg", "./photos/../photos/a.jpg", "photos")
    assert names(found) == ["a.jpg", "sub/b.jpg"]


def test_globs() -> None:
    photos("photos/a.jpg", "photos/b.png", "photos/sub/c.jpg", "photos/sub/deep/d.jpg", "x[1].jpg")
    Path("photos/notes.txt").write_text("text")
    assert names(find("photos/*.jpg")) == ["a.jpg"]
    assert names(find("photos/**/*.jpg")) == ["a.jpg", "sub/c.jpg", "sub/deep/d.jpg"]
    assert names(find("photos/*/*.jpg")) == ["sub/c.jpg"]
    assert names(find("photos/s*")) == ["sub/c.jpg", "sub/deep/d.jpg"]
    everything = ["a.jpg", "b.png", "sub/c.jpg", "sub/deep/d.jpg"]
    assert sorted(names(find("photos/**"))) == everything
    assert sorted(names(find("photos/**/*"))) == everything
    assert kinds(find("photos/*")) == {"not an image": 1}
    assert names(find("x[1].jpg")) == ["x[1].jpg"]  # it exists, so it is a name
    assert kinds(find(listed=("photos/*.jpg",))) == {"missing": 1}  # lists hold names


@pytest.mark.parametrize("pattern", ["photos/*/../../a.jpg", "../*/a.jpg", "photos/*/../b/a.jpg"])
def test_names_never_lead_out_of_the_output_folder(pattern: str) -> None:
    photos("a.jpg", "photos/b/a.jpg", "photos/c/a.jpg")
    for name in names(find(pattern)):
        assert ".." not in name.split("/")
        assert not name.startswith("/")


def test_dots_as_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("photos/sub/a.jpg", "photos/b.jpg")
    monkeypatch.chdir("photos/sub")
    assert names(find("..")) == ["b.jpg", "sub/a.jpg"]
    assert names(find(".")) == ["a.jpg"]
    assert names(find(".", os.path.abspath("../b.jpg"))) == ["a.jpg", "b.jpg"]


def test_an_output_over_an_input_is_refused() -> None:
    photos("a.jpg", "a.jpg.mask.png")
    found = find("a.jpg", "a.jpg.mask.png", out=".")
    assert (names(found), kinds(found)) == (["a.jpg.mask.png"], {"collision": 1})


def test_odd_and_long_names() -> None:
    odd = ["new\nline.jpg", "\u202egpj.exe.jpg", os.fsdecode(b"\xff\xfe.jpg"), "=1+1.jpg", "-x.jpg"]
    long = ["x" * 251 + ".jpg", "\N{SNOWMAN}" * 83 + ".jpg"]
    photos(*(f"photos/{name}" for name in odd), "photos/plain.jpg")
    for name in long:
        os.rename("photos/plain.jpg", f"photos/{name}")
        photos("photos/plain.jpg")
    found = names(find("photos"))
    assert set(odd) <= set(found)
    assert len(found) == len(set(found)) == len(odd) + len(long) + 1
    assert all(len(os.fsencode(name + ".overlay.jpg")) <= 255 for name in found)


def test_case_is_kept_apart_only_where_the_disk_does(monkeypatch: pytest.MonkeyPatch) -> None:
    photos("one/a.jpg", "two/A.jpg")
    assert names(find("one/a.jpg", "two/A.jpg")) == ["a.jpg", "A.jpg"]
    monkeypatch.setattr("fasa_cli.scanning.discovery._FOLDS_CASE", True)
    assert len({name.lower() for name in names(find("one/a.jpg", "two/A.jpg"))}) == 2


def test_path_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"a.jpg\r\n\nb b.jpg\n\xff.jpg"
    (tmp_path / "list").write_bytes(data)
    expected = ["a.jpg", "b b.jpg", os.fsdecode(b"\xff.jpg")]
    assert read_path_list(str(tmp_path / "list")) == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb.jpg\0c.jpg\0")))
    assert read_path_list("-", null=True) == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(ConfigError, match="gone"):
        read_path_list("gone")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_that_windows_wrote_names_its_files(tmp_path, encoding):
    (tmp_path / "list.txt").write_bytes("a.jpg\r\nsub/b ä.jpg\r\n".encode(encoding))
    assert read_path_list(str(tmp_path / "list.txt")) == ["a.jpg", "sub/b ä.jpg"]


def test_a_list_that_is_no_utf16_is_refused_by_name(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfea")
    with pytest.raises(ConfigError, match=r"list\.txt"):
        read_path_list(str(tmp_path / "list.txt"))

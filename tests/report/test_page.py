"""The report's data: what is in it, what is left out, and what nobody shall find in it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image
from skimage import draw

from fasa_cli.errors import ConfigError, OutputError
from fasa_cli.report import page
from fasa_cli.report.page import write_html_report
from fasa_cli.report.redaction import ShownText, parse_redactions
from fasa_cli.scanning.saved_run import SavedRun
from tests.conftest import scan_red, write_photo

HOSTILE = [
    "</script><script>alert(1)</script>.png".replace("/", "\u2215"),
    "<img src=x onerror=alert(1)>.png",
    "\u202egnp.exe.png",
    "new\nline & \"quote' `.png",
    os.fsdecode(b"\xff\xfe.png"),
    "<!-- data -->.png",
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Elements(HTMLParser):
    """The elements of a page as a browser's parser would see them: tag, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found:
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


def report(**options: Any) -> tuple[str, dict[str, Any]]:
    """The page that is made of the scan in masks/, and its data."""
    write_html_report(Path("masks"), Path("report.html"), **options)
    page = Path("report.html").read_text(encoding="utf-8")
    (data,) = [
        text for tag, attributes, text in Elements(page).found if attributes.get("id") == "data"
    ]
    return page, json.loads(data)


def picture(page: str, name: str) -> np.ndarray:
    (text,) = re.findall(f'<script type="text/plain" id="{name}">([^<]*)</script>', page)
    with Image.open(io.BytesIO(base64.b64decode(text))) as image:
        return np.asarray(image)


def red_photo(path: str, level: int, box: tuple[int, int, int, int] = (20, 10, 30, 25)) -> None:
    """A grey-blue photo of 120 x 90 pixels with a red box (x, y, width, height) in it."""
    pixels = np.full((90, 120, 3), (20, 90, 140), np.uint8)
    x, y, width, height = box
    pixels[y : y + height, x : x + width] = (level, 20, 20)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


# --- What it holds --------------------------------------------------------------------------


def test_photos_come_by_score_with_what_is_known_of_them() -> None:
    for name, level in (("b.png", 200), ("sub/a.png", 250), ("c.png", 40)):
        red_photo(f"photos/{name}", level)
    Path("photos/cut.jpg").write_bytes(b"\xff\xd8\xff")
    Path("photos/notes.txt").write_text("text")
    scan_red("photos", "gone.jpg", probabilities=True)
    page, data = report()
    assert [photo["name"] for photo in data["photos"]] == ["sub/a.png", "b.png", "c.png"]
    assert data["counts"] == {
        "photos": 3,
        "marked": 2,
        "failures": 2,
        "skipped": {"not an image": 1},
        "unlisted": 0,
        "unlisted_failures": 0,
        "thumbnails": 3,
        "previews": 3,
        "unreadable": 0,
    }
    assert {failure["name"] for failure in data["failures"]} == {"gone.jpg", "photos/cut.jpg"}
    assert all(failure["reason"] for failure in data["failures"])
    photo = data["photos"][0]
    assert photo["score"] == pytest.approx(250 / 255, abs=1e-6)
    assert photo["area"] == pytest.approx(30 * 25 / (120 * 90), abs=1e-6)
    assert photo["regions"][0]["box"] == [20, 10, 30, 25]
    assert photo["sha256"] == hashlib.sha256(Path("photos/sub/a.png").read_bytes()).hexdigest()
    assert data["threshold"] == 0.5
    assert dict(data["run"])["Weights SHA-256"] == "0" * 64
    assert "cleared" in page


def test_pictures_and_outlines_lie_on_the_photo() -> None:
    red_photo("photos/a.png", 250)
    with Image.open("photos/a.png") as image:
        exif = Image.Exif()
        exif[274] = 6
        image.save("photos/a.png", exif=exif)
    scan_red(probabilities=True)
    page, data = report()
    photo = data["photos"][0]
    assert photo["size"] == [90, 120]
    preview, heat = picture(page, "p0"), picture(page, "h0")
    assert preview.shape == (120, 90, 3)
    red = preview[:, :, 0].astype(int) - preview[:, :, 2] > 90
    opaque = heat[:, :, 3] > 127
    assert heat.shape == (120, 90, 4)
    assert (red & opaque).sum() / (red | opaque).sum() > 0.9
    (path,) = photo["outlines"]
    corners = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
    outlined = draw.polygon2mask((120, 90), corners[:, ::-1] - 0.5)
    mask = cv2.imread("masks/a.png.mask.png", -1) > 0
    assert (outlined & ~mask).sum() == 0
    assert outlined.sum() >= mask.sum() - 2 * (30 + 25)  # it runs through the border pixels


def test_outlines_keep_holes() -> None:
    red_photo("photos/a.png", 250)
    pixels = np.array(Image.open("photos/a.png"))
    pixels[18:28, 28:40] = (20, 90, 140)
    Image.fromarray(pixels).save("photos/a.png")
    scan_red()
    (path,) = report()[1]["photos"][0]["outlines"]
    assert path.count("M") == path.count("Z") == 2


def test_noise_does_not_fill_the_file_with_outlines() -> None:
    write_photo(Path("photos/noise.png"), size=(400, 300))
    scan_red()
    outlines = report()[1]["photos"][0]["outlines"]
    assert 0 < sum(map(len, outlines)) <= page._PREVIEW_OUTLINES


def test_a_scan_of_masks_only_has_no_heat_map() -> None:
    red_photo("photos/a.png", 250)
    scan_red()
    _, data = report()
    assert data["photos"][0]["pictures"] == "tp"


def test_photos_that_are_gone_are_told() -> None:
    red_photo("photos/a.png", 250)
    red_photo("photos/b.png", 240)
    scan_red()
    Path("photos/a.png").unlink()
    red_photo("photos/b.png", 241)
    _, data = report()
    assert [photo["pictures"] for photo in data["photos"]] == ["", ""]
    assert "cannot be read" in data["photos"][0]["problem"]
    assert "has changed" in data["photos"][1]["problem"]
    assert data["counts"]["unreadable"] == 2


def test_a_scan_without_a_photo() -> None:
    Path("photos").mkdir()
    Path("photos/cut.jpg").write_bytes(b"")
    scan_red()
    _, data = report()
    assert data["photos"] == []
    assert len(data["failures"]) == 1


def test_what_is_no_scan_is_refused() -> None:
    with pytest.raises(OutputError, match="holds no scan"):
        write_html_report(Path("masks"), Path("report.html"))
    assert not Path("report.html").exists()


# --- Bounds ---------------------------------------------------------------------------------


def test_large_pictures_are_for_the_most_suspicious() -> None:
    for number in range(6):
        red_photo(f"photos/{number}.png", 150 + 10 * number)
    scan_red(probabilities=True)
    page, data = report(previews=2)
    assert [photo["pictures"] for photo in data["photos"]] == ["tph", "tph", "t", "t", "t", "t"]
    assert data["counts"]["previews"] == 2
    assert 'id="p2"' not in page


@pytest.mark.parametrize("kilobytes", [100, 150, 600])
def test_the_file_keeps_to_its_size(kilobytes: int) -> None:
    for number in range(20):
        write_photo(Path(f"photos/{number:02}.png"), number, size=(80, 60))
    scan_red(probabilities=True, threshold=1.0)
    summary = write_html_report(Path("masks"), Path("r.html"), max_bytes=1000 * kilobytes)
    assert summary.bytes == Path("r.html").stat().st_size <= 1000 * kilobytes
    assert summary.listed == summary.photos == 20
    assert 0 < summary.previews <= summary.thumbnails <= 20
    assert (kilobytes == 600) == (summary.thumbnails == 20)


def test_photos_beyond_the_list_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_ROWS", 3)
    monkeypatch.setattr(page, "_MOST_FAILURES", 1)
    for number in range(5):
        red_photo(f"photos/{number}.png", 150 + 10 * number)
    scan_red("photos", "gone.jpg", "lost.jpg")
    _, data = report()
    assert [photo["name"] for photo in data["photos"]] == ["4.png", "3.png", "2.png"]
    assert (data["counts"]["unlisted"], data["counts"]["photos"]) == (2, 5)
    assert (data["counts"]["unlisted_failures"], data["counts"]["failures"]) == (1, 2)


# --- Hostile names and what is left out -----------------------------------------------------


def test_names_cannot_become_markup() -> None:
    red_photo("photos/plain.png", 250)
    scan_red()
    expected = [(tag, sorted(attributes)) for tag, attributes, _ in Elements(report()[0]).found]
    for name in HOSTILE:
        red_photo(f"hostile/{name}", 250)
        Path("hostile", f"cut {name}").write_bytes(b"\xff\xd8\xff")
    Path("masks").rename("before")
    scan_red("hostile", "gone <script>alert(3)</script>")
    page, data = report()
    found = [(tag, sorted(attributes)) for tag, attributes, _ in Elements(page).found]
    blocks = [element for element in found if element == ("script", ["id", "type"])]
    shown = [photo["name"] for photo in data["photos"]] + [
        item["name"] for item in data["failures"]
    ]
    assert [e for e in found if e not in blocks] == [e for e in expected if e not in blocks]
    assert not set("<>&") & set(page.split('id="data">')[1].split("</script>")[0])
    for character in ("\u202e", "\udcff", "\n"):
        assert not any(character in name for name in shown)
    assert "\\u202egnp.exe.png" in shown


def test_the_policy_allows_its_own_script_alone() -> None:
    red_photo("photos/a.png", 250)
    scan_red()
    elements = Elements(report()[0]).found
    (policy,) = [
        attributes["content"] or ""
        for tag, attributes, _ in elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes, _ in elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def private_scan() -> None:
    """Absolute paths and a position: what a newsroom would not want to hand on."""
    block = Image.Exif()
    block.get_ifd(ExifTags.IFD.GPSInfo).update(
        {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    )
    folder = Path("jane doe/source x").absolute()
    write_photo(folder / "a.png")
    with Image.open(folder / "a.png") as image:
        image.save(folder / "a.jpg", exif=block)
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    scan_red(str(folder), str(folder / "gone.jpg"))


def test_paths_and_positions_are_left_out_unless_asked(tmp_path: Path) -> None:
    private_scan()
    page, data = report()
    for secret in (
        "jane",
        str(tmp_path),
        str(tmp_path.parent),
        str(Path.home()),
        "52.52",
    ):
        assert secret not in page
    assert data["redacted"] == ["gps", "paths"]
    assert dict(data["run"])["Command"].startswith("fasa scan …/")
    by_name = {photo["name"]: photo for photo in data["photos"]}
    assert by_name["a.jpg"]["position"] == "in the file, left out here"
    assert by_name["a.png"]["position"] == ""
    assert {item["name"] for item in data["failures"]} >= {"cut.jpg", "gone.jpg"}


def test_nothing_is_left_out_when_asked(tmp_path: Path) -> None:
    private_scan()
    _, data = report(redact=parse_redactions("none"))
    assert str(tmp_path) in dict(data["run"])["Folder"]
    assert "jane doe" in data["photos"][0]["path"]
    assert "52.520000, 13.405000" in {photo["position"] for photo in data["photos"]}


def test_photos_that_are_gone_do_not_tell_where_they_were(tmp_path: Path) -> None:
    private_scan()
    Path("jane doe").rename("elsewhere")
    page, data = report()
    assert "cannot be read" in data["photos"][0]["problem"]
    assert "jane" not in page
    assert str(tmp_path) not in page


def test_redactions_are_read() -> None:
    assert parse_redactions("paths, gps") == {"paths", "gps"}
    assert parse_redactions("gps") == {"gps"}
    assert parse_redactions("none") == parse_redactions("") == frozenset()
    with pytest.raises(ConfigError, match="names"):
        parse_redactions("paths,names")


def test_absolute_paths_in_commands() -> None:
    red_photo("photos/a.png", 250)
    shown = ShownText(True, SavedRun(scan_red()))
    words = [
        "/home/jane/bin/fasa",
        "scan",
        "a b/c",
        "/srv/jane doe/x y",
        "--out=C:\\jane\\o",
        "../up",
    ]
    assert shown.command(words) == "…/fasa scan 'a b/c' …/x y --out=…/o …/up"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jane/a b/c.jpg: gone", "…/c.jpg: gone"),
        (r"C:\Users\jane\c.jpg is gone", "…/c.jpg is gone"),
        ("in '/tmp/x/y'", "in '…/y'"),
        ("12/13 of them, 4:2:0", "12/13 of them, 4:2:0"),
        ("a/b.jpg: damaged", "a/b.jpg: damaged"),
    ],
)
def test_absolute_paths_in_messages(text: str, shown: str) -> None:
    red_photo("photos/a.png", 250)
    assert ShownText(True, SavedRun(scan_red())).text(text) == shown
    assert ShownText(False, SavedRun(Path("masks"))).text(text) == text


def test_the_report_says_what_scores_mean_and_why_regions_are_marked(tmp_path: Path) -> None:
    from tests.scanning.test_assessment import calibration, write_scene

    write_scene(Path("photos/forged.png"), 250)
    write_scene(Path("photos/plain.png"))
    ours = calibration(tmp_path / "c.json")
    scan_red(calibration=ours)
    case = {"Case": "<b>12</b>", "Examiner": "A & B", "Note": ""}
    text, data = report(about=case)
    assert data["about"] == [["Case", "<b>12</b>"], ["Examiner", "A & B"]]
    assert "<b>12</b>" not in text
    first, second = data["photos"]
    assert (first["band"], second["band"]) == ("strong", "none")
    assert first["one_in"] == "1 in 151"
    assert "1 in 151" in first["meaning"][0]
    (region,) = first["regions"]
    assert "1 in 151" in region["meaning"]
    assert [speaks for speaks, _ in region["findings"]] == ["against"]
    assert first["same"] == second["same"] == 1
    assert [row[:2] for row in data["bands"]] == [["strong", 1], ["moderate", 1], ["weak", 1]]
    assert {row[2] for row in data["bands"]} == {"fewer than 1"}
    assert "150 untouched" in data["calibration"]
    assert ["Calibration SHA-256", ours.sha256] in data["run"]


def test_without_a_calibration_the_report_says_so() -> None:
    red_photo("photos/a.png", 250)
    scan_red()
    _, data = report()
    assert data["bands"] == []
    assert "no calibration" in data["calibration"]
    assert "no calibration" in data["photos"][0]["meaning"][0]

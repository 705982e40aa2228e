"""The report in a real browser: it works, says nothing on the console, and asks for nothing."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasa_cli.report.page import write_html_report
from tests.conftest import RedPredictor, scan_red

webdriver = pytest.importorskip("selenium.webdriver", reason="the extra test brings Selenium")
waiting = pytest.importorskip("selenium.webdriver.support.wait")

CHROME = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROME and DRIVER),
    reason="no Chromium with chromedriver here (Debian: apt install chromium chromium-driver)",
)
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
DESKTOP, PHONE = (1280, 900), (390, 844)
HOSTILE = "</script><img src=x onerror=document.title=1>\u202e\n.png".replace("/", "\u2215")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for switch in (*SWITCHES, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get("data:,")
    driver.get_log("performance")  # what the browser asked for itself when it started
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report on 30 photos, a hostile name among them, and 2 failures."""
    folder = tmp_path_factory.mktemp("report")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("photos").mkdir()
        for number in range(29):
            red_box(f"photos/{number:02}.png", 100 + 5 * number, 4 + number)
        red_box(f"photos/{HOSTILE}", 255, 60)
        Path("photos/broken.jpg").write_bytes(b"\xff\xd8\xff")
        scan_red("photos", "gone.jpg", probabilities=True)
        write_html_report(Path("masks"), Path("report.html"))
    finally:
        os.chdir(before)
    return (folder / "report.html").as_uri()


def red_box(path: str, level: int, width: int) -> None:
    """A photo of 160 x 120 pixels with a red box, its left edge in the middle."""
    pixels = np.full((120, 160, 3), (10, 90, 140), np.uint8)
    pixels[40:80, 80 : 80 + width] = (level, 20, 20)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def page(browser: Any, report: str) -> Iterator[Any]:
    """The report, freshly opened at desktop width; afterwards nothing may have gone wrong."""
    yield opened(browser, report)
    assert browser.get_log("browser") == []
    requests = [url for url in requested(browser) if not url.startswith("data:")]
    assert requests
    assert {url.split("#")[0] for url in requests} == {report}


def opened(browser: Any, address: str, size: tuple[int, int] = DESKTOP) -> Any:
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("data:,")
    browser.get(address)
    return browser


def requested(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def run(page: Any, script: str) -> Any:
    return page.execute_script(f"const $ = (id) => document.getElementById(id); {script}")


def until(page: Any, condition: str) -> None:
    """Wait for what a link leads to: the browser tells the page of it only later."""
    waiting.WebDriverWait(page, 10).until(lambda page: run(page, f"return {condition}"))


def open_photo(page: Any, index: int) -> None:
    page.get(f"{page.current_url}#photo-{index}")
    until(page, "!$('photo').hidden")


def names(page: Any) -> list[str]:
    return run(page, "return [...document.querySelectorAll('.card-name')].map(n => n.textContent)")


def choose(page: Any, control: str, value: str) -> list[str]:
    """Set a control as a person would and return the names that are shown."""
    run(
        page,
        f"$('{control}').value = {json.dumps(value)};"
        f"$('{control}').dispatchEvent(new Event('input', {{bubbles: true}}))",
    )
    return names(page)


def press(page: Any, *keys: str) -> None:
    webdriver.ActionChains(page).send_keys(*keys).perform()


def picture(page: Any, element: str) -> np.ndarray:
    """What an element looks like: H x W x 3 uint8."""
    png = page.find_element("css selector", element).screenshot_as_png
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


# --- The contact sheet ----------------------------------------------------------------------


def test_it_opens_on_the_most_suspicious_and_shows_the_failures(page: Any) -> None:
    assert "photos have marks; 2\u00a0files were not analysed" in run(
        page, "return $('headline').textContent"
    )
    shown = names(page)
    assert shown[0] == "<∕script><img src=x onerror=document.title=1>\\u202e\\n.png"
    assert shown[1:4] == ["28.png", "27.png", "26.png"]
    assert len(shown) == 24
    listed = run(
        page, "return [...document.querySelectorAll('#failure-list li')].map(n => n.innerText)"
    )
    assert ["gone.jpg" in listed[0], "broken.jpg" in listed[1]] == [True, True]
    assert "no such file" in listed[0]
    failures, sheet = run(
        page, "return ['failures', 'sheet'].map(id => $(id).getBoundingClientRect().top)"
    )
    assert failures < sheet
    assert run(page, "return document.images.length") == 0  # no name became an element


def test_sorting_sorts(page: Any) -> None:
    assert choose(page, "sort", "name")[1:4] == ["00.png", "01.png", "02.png"]
    assert choose(page, "sort", "score-up")[:2] == ["00.png", "01.png"]
    assert choose(page, "sort", "area-up")[5:8] == ["00.png", "06.png", "07.png"]  # 6 are unmarked
    assert choose(page, "sort", "area")[1] == "28.png"
    assert set(choose(page, "sort", "status")[:2]) == {"photos/broken.jpg", "gone.jpg"}


def test_filters_filter(page: Any) -> None:
    assert choose(page, "name", "1.PNG") == ["21.png", "11.png", "01.png"]
    assert choose(page, "name", "nothing") == []
    assert "No photo fits" in run(page, "return $('empty').innerText")
    run(page, "document.querySelector('#empty button').click()")
    assert len(names(page)) == 24
    choose(page, "size", "60")
    marked, unmarked = choose(page, "status", "marked"), choose(page, "status", "unmarked")
    assert len(marked) + len(unmarked) == 30
    assert unmarked == [f"{number:02}.png" for number in range(5, -1, -1)]
    assert set(choose(page, "status", "failed")) == {"photos/broken.jpg", "gone.jpg"}
    choose(page, "status", "all")
    assert choose(page, "score", "0.9")[1:] == ["28.png", "27.png", "26.png"]
    choose(page, "score", "0")
    assert len(choose(page, "area", "6")) == 1 + sum(
        (4 + n) * 40 / 19200 >= 0.06 for n in range(6, 29)
    )
    assert run(page, "return $('found').textContent").endswith("of 32")


def test_pages_turn(page: Any) -> None:
    first = names(page)
    assert run(page, "return $('page').textContent") == "Page 1 of 2"
    run(page, "$('page-on').click()")
    second = names(page)
    assert len(second) == 8
    assert not set(first) & set(second)
    assert run(page, "return [$('page-on').disabled, $('page-back').disabled]") == [True, False]


# --- One photo ------------------------------------------------------------------------------


def test_the_slider_moves_and_uncovers_the_photo(page: Any) -> None:
    run(page, "document.querySelector('.card').click()")
    until(page, "!$('photo').hidden")
    covered = picture(page, "#stage")
    height, width = covered.shape[:2]
    slider = page.find_element("id", "compare")
    slider.send_keys("\ue010")  # End
    assert slider.get_attribute("value") == "100"
    bare = picture(page, "#stage")
    box = np.s_[int(height * 0.4) : int(height * 0.6), int(width * 0.6) : int(width * 0.8)]
    np.testing.assert_allclose(bare[box].mean(axis=(0, 1)), (255, 20, 20), atol=12)
    assert np.abs(covered[box] - bare[box]).mean() > 20
    stage = page.find_element("id", "stage")
    webdriver.ActionChains(page).move_to_element_with_offset(
        stage, width // 2 - 5, height // 4
    ).click_and_hold().move_to_element_with_offset(
        stage, -width // 4, height // 4
    ).release().perform()
    assert 20 <= int(slider.get_attribute("value")) <= 30
    left = run(page, "return parseFloat($('handle').style.left)")
    assert left == int(slider.get_attribute("value"))
    np.testing.assert_allclose(picture(page, "#stage")[box], covered[box], atol=2)


def test_marks_lie_on_the_photo(page: Any) -> None:
    """The outline of the box, as drawn, against where the box is in the photo."""
    open_photo(page, 0)
    run(page, "$('opacity').value = 0; $('opacity').dispatchEvent(new Event('input'))")
    stage, path = run(
        page,
        """return ['#stage', '.stage .outline-line'].map(s => {
        const box = document.querySelector(s).getBoundingClientRect();
        return [box.left, box.top, box.width, box.height]; })""",
    )
    scale = stage[2] / 160
    expected = [stage[0] + 80 * scale, stage[1] + 40 * scale, 60 * scale, 40 * scale]
    np.testing.assert_allclose(path, expected, atol=1.1 * scale)
    run(page, "$('outline').click()")
    assert run(page, "return $('outlines').getBoundingClientRect().width") == 0


def test_zoom_and_regions(page: Any) -> None:
    open_photo(page, 1)
    before = picture(page, "#stage")
    press(page, "+")
    assert run(page, "return $('zoom-shown').textContent") == "1.5×"
    assert np.abs(picture(page, "#stage") - before).mean() > 1
    press(page, "0")
    np.testing.assert_allclose(picture(page, "#stage"), before, atol=2)
    run(page, "document.querySelector('#region-rows button').click()")
    x, y, width, height = map(float, run(page, "return $('marks').getAttribute('viewBox')").split())
    assert x <= 80
    assert y <= 40
    assert x + width >= 80 + 32
    assert y + height >= 80
    assert width < 160
    assert run(page, "return document.querySelectorAll('.region.chosen').length") == 1


def test_what_is_there_twice_is_listed_and_shown(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    identity = ((1.0, 0.0, 100.0), (0.0, 1.0, 60.0))
    from fasa_cli.results import CopyMovePair

    pair = CopyMovePair(((10, 20, 30, 20), (110, 80, 30, 20)), identity, 0.875, 12)
    monkeypatch.setattr(RedPredictor, "pairs", (pair,))
    Path("photos").mkdir()
    red_box("photos/a.png", 200, 20)
    scan_red("photos", probabilities=True)
    write_html_report(Path("masks"), Path("report.html"))
    address = Path("report.html").resolve().as_uri()
    page = opened(browser, address)
    open_photo(page, 0)
    assert run(page, "return $('copies').hidden") is False
    assert run(page, "return $('copy-rows').innerText").split() == (
        ["30", "×", "20", "px"] * 2 + ["12", "0.875"]
    )
    run(page, "document.querySelectorAll('#copy-rows button')[1].click()")
    x, y, width, height = map(float, run(page, "return $('marks').getAttribute('viewBox')").split())
    assert 0 < x <= 110
    assert 0 < y <= 80
    assert x + width >= 140
    assert y + height >= 100
    assert browser.get_log("browser") == []
    requests = {url.split("#")[0] for url in requested(browser) if not url.startswith("data:")}
    assert requests == {address}


def test_the_keyboard_is_enough(page: Any) -> None:
    run(page, "document.querySelector('.card').focus()")
    press(page, "\ue007")  # Enter
    until(page, "document.activeElement.id === 'photo-name'")
    press(page, "\ue014")  # right
    assert run(page, "return $('photo-name').textContent") == "28.png"
    press(page, "\ue014", "\ue012")  # right, left
    assert run(page, "return [$('photo-name').textContent, $('place').textContent]") == [
        "28.png",
        "2 of 30",
    ]
    press(page, "\ue00c")  # Escape
    assert run(page, "return [$('overview').hidden, document.activeElement.id]") == [
        False,
        "card-1",
    ]


def test_facts_and_provenance_are_shown(page: Any) -> None:
    text = run(page, "return $('overview').innerText")
    assert "What a score means, and what it does not" in text
    assert "0" * 64 in text
    open_photo(page, 2)
    facts = run(page, "return $('file').innerText")
    assert "160 × 120 pixels" in facts
    assert "PNG" in facts
    assert "Small: 160 x 120" in run(page, "return $('warnings').innerText")


# --- Looks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("part", ["", "#photo-0"], ids=["sheet", "photo"])
def test_it_fits_the_screen(
    page: Any, report: str, part: str, size: tuple[int, int], scheme: str
) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(page, report + part, size)
    width, inner = run(page, "return [document.documentElement.scrollWidth, innerWidth]")
    assert width == inner == size[0]
    shot = page.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("L"))
    assert pixels.shape[1] == size[0]
    assert (np.median(pixels) > 200) == (scheme == "light")
    assert pixels.std() > 15
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("part", ["", "#photo-0"], ids=["sheet", "photo"])
def test_it_prints(page: Any, report: str, part: str) -> None:
    opened(page, report + part)
    printed = page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    document = base64.b64decode(printed)
    assert document.startswith(b"%PDF")
    pages = document.count(b"/Type /Page\n")
    marked = page.execute_script(
        "return photos.filter((one) => one.pictures.includes('p') && one.region_count).length"
    )
    assert marked  # each has a page of its own after the sheet
    assert pages == 1 if part else 3 + marked <= pages <= 5 + marked


def test_without_a_photo_it_says_so(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("photos/notes.txt").write_text("text")
    scan_red()
    write_html_report(Path("masks"), Path("report.html"))
    opened(browser, Path("report.html").absolute().as_uri())
    assert "The scan found no photos" in run(browser, "return $('empty').innerText")
    assert run(browser, "return $('failures').hidden")
    assert browser.get_log("browser") == []

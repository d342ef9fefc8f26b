"""The page in a real browser without a screen: everything that a person does there, and nothing from elsewhere.

`EIAD_BROWSER=1` says that a browser must be there: without one the tests fail instead of being skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.masks import MaskFile, decode_mask
from eval.assistant.serve import served
from eval.judgements.judgement import Finding
from tests.eval.assistant.asking import answer, fill
from tests.eval.assistant.redness import MakeAssistant, WritePhoto, make_hesitant

ROOT = Path(__file__).resolve().parents[3]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
LARGE, SMALL = (240, slice(10, 20), slice(30, 50)), (250, slice(30, 34), slice(5, 9))
WAIT = 120_000  # milliseconds, on a busy machine

pytestmark = pytest.mark.slow


def give_up(why: str) -> None:
    """Fails where a browser must be there, and skips elsewhere."""
    if os.environ.get("EIAD_BROWSER") == "1":
        pytest.fail(f"EIAD_BROWSER=1, but {why}")
    pytest.skip(why)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    for module in ("gradio", "playwright"):
        try:
            __import__(module)
        except ImportError:
            give_up(
                f"{module} is not installed: pip install -r scripts/requirements/{{app,dev}}.txt -c constraints.txt"
            )
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        give_up("there is no browser: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield found
        found.close()


class Tab:
    """A tab on the page, which notes every address elsewhere that it asked for."""

    def __init__(self, browser: Any, address: str, width: int = 1280) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(WAIT)
        self.elsewhere: list[str] = []
        self.page.on("request", lambda request: self._note(request.url, address))
        self.page.goto(address)
        self.page.wait_for_selector("#files")

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.elsewhere.append(url)

    def drop(self, *photos: Path) -> None:
        """Drops photos, and waits until one is shown."""
        self.page.set_input_files("#files input[type=file]", [str(photo) for photo in photos])

    def says(self, part: str, *words: str) -> None:
        """Waits until a part of the page holds some words."""
        for word in words:
            self.page.wait_for_function(
                "([part, word]) => document.querySelector(part)?.innerText.includes(word)", arg=[part, word]
            )

    def click(self, name: str) -> None:
        """Clicks the button of a name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def choose(self, label: str) -> None:
        """Chooses a radio button."""
        self.page.get_by_label(label).click()

    def picture(self) -> str:
        """The address of the picture that is shown; another picture has another."""
        return self.page.get_attribute("#view img", "src") or ""

    def another_picture(self, before: str) -> str:
        """Waits until another picture is shown."""
        self.page.wait_for_function(
            "before => { const img = document.querySelector('#view img'); return img && img.src !== before; }",
            arg=before,
        )
        return self.picture()

    def slide(self, part: str, value: str) -> None:
        """Types a value beside a slider."""
        box = self.page.locator(f"{part} input[type=number]")
        box.fill(value)
        box.press("Enter")
        box.blur()


def test_everything_that_a_person_does(
    browser: Any, make_assistant: MakeAssistant, write_photo: WritePhoto, tmp_path: Path, calibration: Any
) -> None:
    assistant = make_assistant(port=0, calibration=calibration)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nonsense")
    evil = write_photo("<img src=x onerror=alert(1)>.png", LARGE, SMALL)
    with served(assistant.config, assistant) as address:
        tab = Tab(browser, address)
        tab.drop(evil, write_photo("sound.png"), write_photo("close.png", (126, *LARGE[1:])), broken)
        tab.says("#verdict", "defect", "score 0.98")
        tab.says("#notice", "broken.png", "does not decode")
        tab.says("#photos", "onerror", "sound.png")

        before = tab.picture()
        tab.choose("2: defect, bottom left, 16 pixels")
        before = tab.another_picture(before)
        tab.choose("heat")
        before = tab.another_picture(before)
        tab.slide("#threshold", "0.1")
        tab.says("#count", "flags 40 of the 40")
        tab.slide("#threshold", "0.99")
        tab.says("#verdict", "ok")
        tab.says("#count", "flags 0 of the 40")
        tab.slide("#threshold", "0.5")
        tab.says("#verdict", "defect")

        tab.click("Any defect?")
        tab.says("#talk", "visible defect in this image?")
        tab.page.fill("#question textarea", "And where is it?")
        tab.click("Ask")
        tab.says("#talk", "And where is it?")

        tab.click("Redraw the mask")
        tab.page.wait_for_selector("#canvas canvas")
        tab.page.locator("#canvas canvas").scroll_into_view_if_needed()
        box = tab.page.locator("#canvas canvas").bounding_box()
        tab.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.85)
        tab.page.mouse.down()
        tab.page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.85, steps=5)
        tab.page.mouse.up()
        tab.click("Save the mask")
        tab.says("#notice", "Judgement 1: redrawn")

        tab.page.fill("#name input", "deep hole")
        tab.page.press("#name input", "Enter")
        tab.click("Wrong class")
        tab.says("#notice", "Judgement 2: wrong class")
        tab.click("Most uncertain next")
        tab.says("#verdict", "score 0.494")
        tab.click("Fine after all")
        tab.says("#notice", "Judgement 3: fine")

        tab.page.locator("#export").get_by_role("button").first.click()
        tab.click("COCO")
        tab.says("#notice", "3 judgements of 2 photos")

        second = Tab(browser, address, width=390)
        second.says("#verdict", "Drop a photo to begin")  # nothing of the first tab's
        assert second.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not tab.elsewhere and not second.elsewhere
    drawn, named, fine = assistant.log
    assert (drawn.finding, drawn.user, drawn.verdict) == (Finding.redrawn, "ann", "defect")
    assert [region.name for region in named.regions] == ["deep hole", "deep hole"] and fine.finding is Finding.fine
    path = assistant.log.mask_path(drawn)
    mask = decode_mask(MaskFile(path)) if path is not None else None
    assert mask is not None and mask[10:20, 30:50].all() and mask.sum() > 216  # what was there, and what was drawn


def test_what_a_person_saw_is_judged_and_what_they_typed_stays_with_its_photo(
    browser: Any, make_assistant: MakeAssistant, write_photo: WritePhoto, calibration: Any
) -> None:
    assistant, parrot = make_hesitant(make_assistant, calibration=calibration)
    parrot.may_end.set()
    with served(assistant.config, assistant) as address:
        tab = Tab(browser, address)
        tab.drop(write_photo("a.png", LARGE), write_photo("b.png", (251, *SMALL[1:])))
        tab.says("#verdict", "a.png", "score 0.941")
        tab.says("#photos", "b.png: defect")
        tab.slide("#threshold", "99")  # beyond the end: the end
        tab.says("#count", "Threshold 1 flags 0")
        tab.says("#verdict", "ok")
        tab.click("Accept")
        tab.says("#notice", "Judgement 1: accepted")
        assert [one.verdict for one in assistant.log] == ["ok"]  # as it stands there, not as it began

        tab.page.fill("#question textarea", "<img src=x> & <b>bold</b>?")
        tab.click("Ask")
        tab.says("#talk", "<img src=x> & <b>bold</b>? <b>[0]</b>")
        assert tab.page.locator("#talk img[src=x]").count() == 0

        tab.page.fill("#name input", "crack")
        tab.page.press("#name input", "Enter")
        tab.page.locator("#photos button").nth(1).click()
        tab.says("#verdict", "b.png")
        assert tab.page.input_value("#name input") == ""


def test_the_tables_of_a_report_scroll_on_a_phone_and_the_page_does_not(browser: Any) -> None:
    cells = "".join(f"<td>a number of column {index}</td>" for index in range(9))
    table = f"<table><thead><tr>{cells}</tr></thead><tbody><tr>{cells}</tr></tbody></table>"
    css = (ROOT / "eval" / "report" / "templates" / "report.css").read_text(encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_content(f"<style>{css}</style><section>{table}</section>")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.querySelector('table').scrollWidth") > 390  # it is wider than the page


def test_a_tab_that_is_closed_in_the_middle_of_an_answer_leaves_the_others_what_they_need(
    browser: Any, make_assistant: MakeAssistant, write_photo: WritePhoto
) -> None:
    assistant, parrot = make_hesitant(make_assistant)
    photo = write_photo("part.png", LARGE)
    with served(assistant.config, assistant) as address:
        tab = Tab(browser, address)
        tab.drop(photo)
        tab.says("#verdict", "defect")
        tab.click("Accept")
        tab.says("#notice", "Judgement 1: accepted")
        tab.click("Any defect?")
        assert parrot.begun.wait(60)
        tab.page.close()
        parrot.may_end.set()

        other = Tab(browser, address)
        other.drop(photo)
        other.says("#verdict", "defect")
        other.click("Any defect?")
        other.says("#talk", "visible defect in this image?")
        other.click("Fine after all")
        other.says("#notice", "Judgement 2: fine")
    assert [one.finding for one in assistant.log] == [Finding.accepted, Finding.fine]


def test_a_full_queue_is_said_on_the_page(browser: Any, make_assistant: MakeAssistant, write_photo: WritePhoto) -> None:
    assistant, parrot = make_hesitant(make_assistant, waiting=1)
    photo = write_photo("part.png", LARGE)
    with served(assistant.config, assistant) as address:
        tab = Tab(browser, address)
        tab.drop(photo)
        tab.says("#verdict", "defect")
        taken = fill(address, photo, waiting=1)
        tab.click("Any defect?")
        tab.says("body", "busy", "try again")  # in Gradio's words
        parrot.may_end.set()
        assert all("[0]" in answer(address, event) for event in taken)
        tab.click("Any defect?")
        tab.says("#talk", "visible defect in this image?")

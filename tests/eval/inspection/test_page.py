from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from eval.inspection import page
from eval.inspection.decision import Verdict
from eval.inspection.results import Results
from eval.inspection.rows import RegionRow, Row

SUMMARY = {
    "photos": 3,
    "verdicts": {"ok": 1, "defect": 1, "unsure": 0, "unreadable": 1},
    "source": "EIAD",
    "category": "",
    "threshold_stands_for": "Threshold 0.5: the middle of a probability.",
    "skipped": {"no images": 2},
    "warnings": ["Scores have drifted & more <b>."],
}


class Checker(HTMLParser):
    """Whether every element is closed in its turn; keeps the sources of pictures and the rows' verdicts."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.pictures: list[str] = []
        self.verdicts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "img":
            self.pictures.append(values["src"] or "")
        if tag == "tr" and "data-verdict" in values:
            self.verdicts.append(values["data-verdict"] or "")
        if tag not in ("img", "meta", "input", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    results = Results(tmp_path)
    ok = Row(image="a b.png", name="a b.png", key="k", verdict=Verdict.ok, score=0.1, threshold=0.5)
    ok = replace(ok, description="fine", thumbnail=results.write_thumbnail("a b", np.zeros((9, 9, 3), np.uint8)))
    region = RegionRow(box=(1, 2, 3, 4), area=4, place="left", name="hard_crack", action="scrap")
    bad = replace(ok, name="<i>.png", verdict=Verdict.defect, score=0.9, regions=(region,), said="No!", present=False)
    lost = Row(image="c", name="c.png", key="", verdict=Verdict.unreadable, threshold=0.5, error="Corrupt image")
    return [ok, bad, lost]


def read(folder: Path) -> tuple[str, Checker]:
    text = (folder / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.stack
    return text, checker


def test_what_needs_a_person_comes_first_and_nothing_is_loaded_from_elsewhere(rows: list[Row], tmp_path: Path) -> None:
    page.write_page(tmp_path, rows, SUMMARY)
    text, checker = read(tmp_path)
    assert checker.verdicts == ["unreadable", "defect", "ok"]
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in checker.pictures)
    assert not re.search(r"""(src|href)=["'](https?:|//)""", text)
    assert "&lt;i&gt;.png" in text and "<i>.png" not in text and "drifted &amp; more &lt;b&gt;" in text
    assert "hard crack · left" in text and "Corrupt image" in text and "3 photos" in text


def test_words_that_contradict_the_verdict_are_not_quoted(rows: list[Row], tmp_path: Path) -> None:
    page.write_page(tmp_path, rows, SUMMARY)
    assert "No!" not in read(tmp_path)[0]
    agreeing = [replace(row, present=True, said="A crack.") for row in rows]
    page.write_page(tmp_path, agreeing, SUMMARY)
    assert read(tmp_path)[0].count("A crack.") == 1
    for said, shown in (("A crack at the left.", 1), ("A crack at the top left.", 0)):  # the region is at the left
        page.write_page(tmp_path, [replace(row, present=True, said=said) for row in rows], SUMMARY)
        assert read(tmp_path)[0].count(said) == shown
    composed = "The image shows an industrial product. There is a crack at the left."
    page.write_page(tmp_path, [replace(row, present=True, said=composed) for row in rows], SUMMARY)
    assert composed not in read(tmp_path)[0]


def test_many_photos_leave_their_pictures_in_the_folder(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "SELF_CONTAINED", 2)
    page.write_page(tmp_path, rows, SUMMARY)
    text, checker = read(tmp_path)
    assert checker.pictures == ["thumbnails/a%20b.jpg"] * 2 and "data:image" not in text
    assert (tmp_path / "thumbnails" / "a b.jpg").is_file() and "Pictures are in thumbnails/" in text

from eval.assistant.words import caption, list_regions, list_turns, say_notices, say_verdict
from eval.inspection.decision import Verdict
from eval.inspection.rows import RegionRow, Row
from eval.judgements.judgement import Finding
from models.chat.protocol import Turn

EVIL = "<img src=x onerror=alert(1)>"


def row(**values: object) -> Row:
    given = {"image": "i", "name": EVIL, "key": "", "verdict": Verdict.defect, "threshold": 0.5, "score": 0.7}
    return Row(**{**given, **values})  # type: ignore[arg-type]


def test_whatever_comes_from_outside_is_escaped() -> None:
    said = say_verdict(row(description=EVIL, said=EVIL, present=True, reason=EVIL, warnings=(EVIL,)), "a.png")
    said += say_verdict(row(verdict=Verdict.unreadable, error=EVIL), "a.png") + say_notices([EVIL])
    assert "<img" not in said and said.count("&lt;img src=x") == 6


def test_a_verdict_holds_score_threshold_and_probability() -> None:
    told = row(description="There is a scratch.", probability=0.913, said="It is scratched.", present=True)
    said = say_verdict(told, "a<b.png")
    for part in (
        "a&lt;b.png",
        "defect",
        "score 0.7, threshold 0.5",
        "91 %",
        "There is a scratch.",
        "EDDM: “It is scratched.”",
    ):
        assert part in said
    assert "EDDM" not in say_verdict(row(said="It is scratched.", present=False), "a.png")  # it contradicts the verdict


def test_defects_are_listed_by_name_place_and_area() -> None:
    region = RegionRow(box=(0, 0, 4, 4), area=16, place="top left", name="deep_scratch", action="ask")
    nameless = RegionRow(box=(5, 0, 7, 2), area=4, place="top", name=None, action="ask")
    assert list_regions([region, nameless]) == [
        ("all of them", -1),
        ("1: deep scratch, top left, 16 pixels", 0),
        ("2: defect, top, 4 pixels", 1),
    ]
    assert list_regions([]) == [] and caption("a.png", row()) == "a.png: defect"
    assert caption("a.png", row(), Finding.wrong_class) == "a.png: defect, wrong class"


def test_a_conversation_is_shown_turn_by_turn_without_codes_that_redraw() -> None:
    shown = list_turns([Turn("Where?", "top\x1b[2J"), Turn("Why?", "")])
    assert [one["role"] for one in shown] == ["user", "assistant"] * 2
    (_, marked) = list_turns([Turn("<i>?", "<img src=x> & top")])
    assert marked["content"] == "&lt;img src=x&gt; &amp; top"
    assert "\x1b" not in shown[1]["content"] and shown[3]["content"] == "(no answer)"


def test_nothing_is_said_where_there_is_nothing() -> None:
    assert say_notices([]) == "" and "role='status'" in say_notices(["a"])

"""Agreement of words with truth and map, counted by hand."""

from __future__ import annotations

from typing import Any

from data.ddqa.compose import compose_description
from eval.words.agreement import Row, measure_agreement
from eval.words.claim import read_claim
from eval.words.look import Look


def row(
    defect: str | None,
    said: str | None,
    place: str | None = None,
    *,
    true: str = "left",
    strongest: str | None = "left",
    above: bool = True,
    category: str = "nut",
) -> Row:
    look = Look(0.9, strongest, true if defect else None, frozenset([true, "center"] if defect else []))
    claim = read_claim(compose_description(None, said, place))
    return Row(category=category, defect=defect, claim=claim, look=look, above=above)


def pairs(counts: dict[str, dict[str, Any]]) -> dict[str, tuple[int, int]]:
    return {name: (count["hits"], count["images"]) for name, count in counts.items()}


def test_counts_by_hand() -> None:
    rows = [
        row("crack", "fracture", "left"),  # all right, by another name
        row("crack", "crack", "center", strongest="top"),  # a region that the defect touches, not its own
        row("oil", "crack", "right", above=False),  # kind and place wrong; the map sees nothing
        row("dent", None, above=False),  # missed by both
        row(None, None, above=True),  # an alarm of the map alone
        row(None, "crack", "left", category="gear"),  # named on a sound image
        row(None, None, above=False),
    ]
    found = measure_agreement(rows)
    assert pairs(found["counts"]) == {
        "defect_claimed": (3, 4),
        "sound_called_sound": (2, 3),
        "place": (1, 3),
        "place_touched": (2, 3),
        "kind": (2, 3),
        "all": (1, 4),
        "map_place": (2, 4),
        "map_presence": (5, 7),
    }
    assert found["presence_pairs"] == {"both": 3, "words": 1, "map": 1, "neither": 2}
    assert found["named_on_sound"] == {"crack": 1} and (found["images"], found["unread"]) == (7, 0)
    assert pairs(found["categories"]["gear"])["sound_called_sound"] == (0, 1)
    assert found["counts"]["kind"]["percent"] == 100 * 2 / 3
    assert found["categories"]["gear"]["kind"]["percent"] is None


def test_a_name_that_fits_any_defect_says_nothing() -> None:
    counts = pairs(measure_agreement([row("crack", "damage", "left"), row("defect", "crack", "left")])["counts"])
    assert counts["kind"] == (0, 1)  # a vague claim is not right; a vague truth is not asked
    assert counts["all"] == (0, 1)


def test_where_the_map_is_flat_its_place_is_not_asked() -> None:
    assert pairs(measure_agreement([row("crack", "crack", "left", strongest=None)])["counts"])["map_place"] == (0, 0)


def test_words_that_say_neither_are_counted_as_such() -> None:
    look = Look(0.9, "left", "left", frozenset(["left"]))
    unread = Row(category="nut", defect="crack", claim=read_claim("A nut."), look=look, above=True)
    found = measure_agreement([unread])
    assert found["unread"] == 1
    counts = pairs(found["counts"])
    assert (counts["defect_claimed"], counts["map_presence"], counts["kind"]) == ((0, 1), (0, 0), (0, 0))

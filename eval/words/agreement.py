"""How often words agree with the truth and with the map: counts, each k of the n images that it can be asked of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.ddqa.vocabulary import is_vague, meanings
from eval.words.claim import Claim
from eval.words.look import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image.

    Attributes:
        category: Object type.
        defect: True name of the defect type, None when sound.
        claim: What the words say.
        look: What the map and the mask show.
        above: Whether the map reaches its threshold.
    """

    category: str
    defect: str | None
    claim: Claim
    look: Look
    above: bool


@dataclass(frozen=True, slots=True)
class Count:
    """`hits` of `images`."""

    hits: int
    images: int

    @property
    def percent(self) -> float | None:
        """Share in percent; None of no image."""
        return 100 * self.hits / self.images if self.images else None

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the share."""
        return {**asdict(self), "percent": self.percent}


def kind_agrees(row: Row) -> bool | None:
    """Whether the named kind may mean the true one; a name that fits any defect says nothing. None where not asked.

    Not asked of a sound image, of words that name no kind, and where the truth itself fits any defect.
    """
    if row.defect is None or not row.claim.name or is_vague(row.defect):
        return None
    return not is_vague(row.claim.name) and not row.claim.kinds.isdisjoint(meanings(row.defect))


def place_agrees(row: Row) -> bool | None:
    """Whether the named region holds the centroid of the largest mark; None where no mark or no region is told."""
    return None if row.look.region is None or row.claim.region is None else row.claim.region == row.look.region


def _touches(row: Row) -> bool | None:
    return None if row.look.region is None or row.claim.region is None else row.claim.region in row.look.touched


def _all_agree(row: Row) -> bool | None:
    """Presence, place and kind; asked of every defective image with a mask and a telling name."""
    if row.defect is None or is_vague(row.defect) or row.look.region is None:
        return None
    return bool(row.claim.present and place_agrees(row) and kind_agrees(row))


def _map_place(row: Row) -> bool | None:
    if row.claim.region is None or row.look.strongest is None:
        return None
    return row.claim.region == row.look.strongest


QUESTIONS: dict[str, Callable[[Row], bool | None]] = {
    "defect_claimed": lambda row: None if row.defect is None else row.claim.present is True,
    "sound_called_sound": lambda row: None if row.defect is not None else row.claim.present is False,
    "place": place_agrees,
    "place_touched": _touches,
    "kind": kind_agrees,
    "all": _all_agree,
    "map_place": _map_place,
    "map_presence": lambda row: None if row.claim.present is None else row.claim.present == row.above,
}


def measure_agreement(rows: Sequence[Row]) -> dict[str, Any]:
    """Every question's count over all images and by category, and what the words say where they are wrong.

    Returns:
        `images`; `unread`: words that say neither; `counts`: question → count; `categories`: the same of each;
        `named_on_sound`: kind → sound images that it is claimed of, most frequent first; `presence_pairs`: how often
        words and map, words alone, the map alone, or neither claim a defect.
    """
    categories = sorted({row.category for row in rows})
    named = Counter(row.claim.name.lower() for row in rows if row.defect is None and row.claim.present)
    pairs = Counter((row.claim.present, row.above) for row in rows if row.claim.present is not None)
    return {
        "images": len(rows),
        "unread": sum(row.claim.present is None for row in rows),
        "counts": _count(rows),
        "categories": {name: _count([row for row in rows if row.category == name]) for name in categories},
        "named_on_sound": dict(named.most_common()),
        "presence_pairs": {
            "both": pairs[True, True],
            "words": pairs[True, False],
            "map": pairs[False, True],
            "neither": pairs[False, False],
        },
    }


def _count(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, ask in QUESTIONS.items():
        answers = [answer for row in rows if (answer := ask(row)) is not None]
        found[name] = Count(sum(answers), len(answers)).as_json()
    return found

"""What a description claims: whether there is a defect, where, and of which kind; by rule, in DDQA's vocabulary."""

from __future__ import annotations

import re
from dataclasses import dataclass

from data.ddqa.regions import REGIONS
from data.ddqa.vocabulary import listed_meanings, meanings

_REGION = "|".join(sorted(REGIONS, key=len, reverse=True))
_SHOWS = r"The image shows an? [^.]+\. "
_DEFECT = re.compile(rf"{_SHOWS}There is an? (?P<name>[^.]+?)(?: at the (?P<region>{_REGION}))?\.", re.IGNORECASE)
_SOUND = re.compile(rf"{_SHOWS}There is no visible defect\.", re.IGNORECASE)
_DENIAL = re.compile(r"\b(no|not|without|free (of|from)|none|neither|nor|never|cannot|isn't|aren't)\b", re.IGNORECASE)
_FLAW = re.compile(r"\b(defect|anomal|damage|flaw|abnormal|imperfection)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a text says.

    Attributes:
        present: Whether there is a defect; None where it says neither.
        region: One of the nine regions; None where it names none.
        name: How it calls the defect; empty where it does not.
        kinds: What that name may mean in DDQA's vocabulary.
    """

    present: bool | None = None
    region: str | None = None
    name: str = ""
    kinds: frozenset[str] = frozenset()


def read_claim(text: str) -> Claim:
    """Reads a description.

    A structured one (`compose_description`) is read to the letter. In a free one, a sentence that denies something
    claims nothing; one that holds a listed name claims that, at the first region that it names.

    >>> read_claim("The image shows a gear. There is a crack at the top left.").region
    'top left'
    >>> read_claim("A gear without any damage.").present
    False
    """
    plain = " ".join(text.split())
    if _SOUND.fullmatch(plain):
        return Claim(present=False)
    if found := _DEFECT.fullmatch(plain):
        region = found["region"]
        return Claim(True, region and region.lower(), found["name"], meanings(found["name"]))
    return _read_free(plain)


def _read_free(text: str) -> Claim:
    denied = False
    for sentence in re.split(r"(?<=[.!?;])\s+", text):
        kinds = listed_meanings(sentence)
        if _DENIAL.search(sentence):
            denied |= bool(kinds or _FLAW.search(sentence))
        elif kinds:
            region = re.search(rf"\b({_REGION})\b", sentence, re.IGNORECASE)
            return Claim(True, region and region[0].lower(), " or ".join(sorted(kinds)), kinds)
    return Claim(present=False) if denied else Claim()

"""What one person said of one verdict."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from data.errors import UserError, brief

LONGEST = 2000  # characters of a name or a note
HASH = re.compile(r"[0-9a-f]{64}")
VERDICTS = ("ok", "defect", "unsure")
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Finding(StrEnum):
    """What a person says of a verdict.

    accepted: it is right, its regions too.
    wrong_class: the regions are right, the names are not; the judgement holds the right ones.
    fine: the product is sound after all.
    redrawn: there is a defect, and the person drew where.
    """

    accepted = "accepted"
    wrong_class = "wrong_class"
    fine = "fine"
    redrawn = "redrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRegion:
    """One defect region, as the person left it.

    Attributes:
        name: Class of the defect; empty where nobody named it.
        box: xyxy in pixels, end-exclusive.
        area: In pixels.
        stands: Whether the person takes it for a defect, too.
    """

    name: str
    box: tuple[int, int, int, int]
    area: int
    stands: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a person said of the verdict on one photo.

    Attributes:
        photo: Name of the photo as it was handed in; it never becomes a path.
        image_hash: SHA-256 of the photo's bytes, 64 hex digits.
        model: Identity of what had looked at it (`Source.key`).
        user: Who judged.
        time: When, in UTC: `2026-01-31T12:00:00Z`.
        finding: What was said.
        score: The model's; higher is worse.
        verdict: The model's: `ok`, `defect` or `unsure`.
        regions: The regions as the person left them: names corrected, those that are no defect marked so.
        category: The product; empty where it is not known.
        note: The person's own words.
        id: Number in the log, from 1 on in the order of arrival; 0 before it is there.
        mask: SHA-256 of the mask's file; empty where there is none. The log sets it.
    """

    photo: str
    image_hash: str
    model: str
    user: str
    time: str
    finding: Finding
    score: float
    verdict: str
    regions: tuple[JudgedRegion, ...] = ()
    category: str = ""
    note: str = ""
    id: int = 0
    mask: str = ""

    def placed(self, number: int, mask: str) -> Judgement:
        """The judgement as it stands in a log."""
        return replace(self, id=number, mask=mask)


def now() -> str:
    """The time of a judgement that is made now: UTC, to the second."""
    return datetime.now(UTC).strftime(TIME)


def check(judgement: Judgement) -> None:
    """Refuses what nobody could read back.

    Raises:
        UserError: Naming the value.
    """
    if not HASH.fullmatch(judgement.image_hash):
        raise UserError(f"image_hash={brief(judgement.image_hash)} must be SHA-256 in 64 hex digits.")
    if not isinstance(judgement.finding, Finding):
        raise UserError(f"finding={brief(judgement.finding)} must be one of {', '.join(Finding)}.")
    if judgement.verdict not in VERDICTS:
        raise UserError(f"verdict={brief(judgement.verdict)} must be one of {', '.join(VERDICTS)}.")
    if not math.isfinite(judgement.score):
        raise UserError(f"score={judgement.score} must be a number.")
    try:
        datetime.strptime(judgement.time, TIME)
    except ValueError as error:
        raise UserError(f"time={brief(judgement.time)} must be in UTC, as 2026-01-31T12:00:00Z.") from error
    texts = [(name, getattr(judgement, name)) for name in ("photo", "model", "user", "category", "note")]
    for what, text in [*texts, *(("name of a region", region.name) for region in judgement.regions)]:
        if len(text) > LONGEST:
            raise UserError(f"The {what} has {len(text)} characters; {LONGEST} are kept at most. Shorten it.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"The {what} holds half of a character: {brief(text)}. Write it again.") from error
    for region in judgement.regions:
        x0, y0, x1, y1 = region.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1) or region.area < 1:
            raise UserError(f"No region: box {region.box}, area {region.area}. A box is x0, y0, x1, y1 in pixels.")

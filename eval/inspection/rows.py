"""What is said about one photo, as it stands in `results.jsonl`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.ddqa.regions import REGIONS
from data.errors import UserError
from eval.inspection.decision import Verdict

COMPOSED = "The image shows an industrial product."
PLACE = re.compile(rf"\bat the ({'|'.join(sorted(REGIONS, key=len, reverse=True))})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """One defect region.

    Attributes:
        box: xyxy in pixels, end-exclusive.
        area: In pixels.
        place: One of DDQA's nine region names.
        name: Class or name of the defect; None where nobody names it.
        action: `pass`, `rework`, `scrap` or `ask`.
    """

    box: tuple[int, int, int, int]
    area: int
    place: str
    name: str | None
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One photo.

    Attributes:
        image: Its path, as it was found.
        name: Its path below what was given: unique.
        key: Changes with whatever the row depends on; paths are not among it.
        verdict: `ok`, `defect`, `unsure` or `unreadable`.
        score: Higher is worse; None where it could not be read.
        probability: Of a defect, where the model is calibrated on defects, too.
        threshold: The photo was flagged if its score was at or above it.
        regions: The defect regions, largest first; none of a photo that is `ok`.
        action: What happens to the piece.
        reason: Why.
        description: In sentences, from the same decision as the verdict.
        said: EDDM's own words; empty without EDDM.
        present: EDDM's answer to whether there is a defect.
        defect_share: Share of the photo inside the regions, 0..1.
        size: Height and width in pixels.
        warnings: What casts doubt on the row.
        error: Why the photo could not be read.
        mask: File of the mask below the results' folder; empty where none was written.
        overlay: File of the overlay, likewise.
        thumbnail: File of the small picture in the report, likewise.
    """

    image: str
    name: str
    key: str
    verdict: Verdict
    score: float | None = None
    probability: float | None = None
    threshold: float
    regions: tuple[RegionRow, ...] = ()
    action: str = ""
    reason: str = ""
    description: str = ""
    said: str = ""
    present: bool | None = None
    defect_share: float = 0.0
    size: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = ()
    error: str = ""
    mask: str = ""
    overlay: str = ""
    thumbnail: str = ""

    @property
    def quoted(self) -> bool:
        """Whether EDDM's own words stand beside the verdict: they agree with it and its places, or it is open.

        Words that were composed from its answers never do: what is left of them is in the description.
        """
        if not self.said or self.said.startswith(COMPOSED):
            return False
        agrees = self.present is not None and self.present == (self.verdict is Verdict.defect)
        elsewhere = set(PLACE.findall(self.said)) - {region.place for region in self.regions}
        return self.verdict is Verdict.unsure or (agrees and not elsewhere)

    @property
    def files(self) -> list[str]:
        """Files that belong to the row, below the results' folder."""
        return [name for name in (self.mask, self.overlay, self.thumbnail) if name]


def to_json(row: Row) -> dict[str, Any]:
    """A row as JSON holds it."""
    return asdict(row)


def from_json(values: Mapping[str, Any], path: Path) -> Row:
    """Reads a row back.

    Raises:
        UserError: If it is none, naming the log.
    """
    try:
        regions = tuple(RegionRow(**{**one, "box": tuple(one["box"])}) for one in values["regions"])
        read = {"regions": regions, "size": tuple(values["size"]), "verdict": Verdict(values["verdict"])}
        return Row(**{**values, **read, "warnings": tuple(values["warnings"])})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Not a log of inspected photos: {path} ({error!r}). Choose another out=.") from error

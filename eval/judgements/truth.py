"""From judgements to the truth about photos: which are sound, which are defective, where and of which class.

The last word on a photo counts. What a person says is about the photo, not about the model, so it holds whatever model
had looked at it; only `accepted` says no more than the verdict did, and of an `unsure` one that is nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from data.content import hash_files
from data.errors import UserError
from data.masks import MaskFile, Region, components, decode_mask
from data.readers.defect_names import join_names
from eval.judgements.judgement import Finding, JudgedRegion, Judgement
from eval.judgements.log import JudgementLog
from eval.metrics.classes import UNKNOWN

UNNAMED = "defect"  # the class of a defect that nobody named


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A photo of which a person has told the truth.

    Attributes:
        judgement: The last word on it.
        image: Its file in the log.
        defect: Class of its defects, several joined as in `Sample.defect`; empty where nobody named them, None of a
            sound photo.
        mask: File of its mask; None where there is none.
    """

    judgement: Judgement
    image: Path
    defect: str | None
    mask: Path | None

    @property
    def is_sound(self) -> bool:
        """Whether the product shows no defect."""
        return self.defect is None

    @property
    def lacks_class(self) -> bool:
        """Whether the person called the class wrong, and named no other."""
        return self.judgement.finding is Finding.wrong_class and not self.defect

    def regions(self) -> list[tuple[Region, str]]:
        """The defect regions of its mask, largest first, with the class of each; empty where nobody named it."""
        if self.mask is None:
            return []
        return [(region, self._name(region)) for region in components(decode_mask(MaskFile(self.mask)))]

    def _name(self, region: Region) -> str:
        """The name that the person gave to the box that covers most of a region, or to all of them."""
        standing = [one for one in self.judgement.regions if one.stands]
        names = {plain(one.name) for one in standing}
        if len(names) <= 1:
            return "".join(names)
        nearest = max(standing, key=lambda one: (_shared(one, region), -one.area))
        return plain(nearest.name) if _shared(nearest, region) else ""


@dataclass(frozen=True, slots=True)
class Truth:
    """What a log tells.

    Attributes:
        told: Photos whose truth is known, in the order in which they were first judged.
        skipped: The others: (name of the photo, why).
    """

    told: list[Told]
    skipped: list[tuple[str, str]]

    @property
    def sound(self) -> list[Told]:
        """The sound photos."""
        return [one for one in self.told if one.is_sound]

    @property
    def defective(self) -> list[Told]:
        """The defective ones."""
        return [one for one in self.told if not one.is_sound]

    @property
    def models(self) -> dict[str, int]:
        """How many of the photos were judged by the verdicts of which model, the most first."""
        return dict(Counter(one.judgement.model for one in self.told).most_common())

    def count_others(self, model: str) -> int:
        """How many photos were judged by the verdict of another model."""
        return sum(count for key, count in self.models.items() if key != model)

    def leaves(self, photos: Iterable[Path]) -> set[Path]:
        """Those of some photos of which it tells nothing, by their content."""
        known = {one.judgement.image_hash for one in self.told}
        return {path for path, found in hash_files(photos).items() if found not in known} if known else set(photos)

    def of_product(self, product: str) -> Truth:
        """What it tells of one product; photos that were judged without one are taken for it."""
        kept = [one for one in self.told if one.judgement.category in ("", product)]
        others = [one.judgement for one in self.told if one.judgement.category not in ("", product)]
        return Truth(
            kept, [*self.skipped, *((one.photo, f"judged as another product than {product}") for one in others)]
        )


def read_truth(folder: Path) -> Truth:
    """Reads a log.

    Raises:
        UserError: If there is none or it is empty, damaged, or a file of it is gone.
    """
    log = JudgementLog(folder)
    last = log.latest()
    if not last:
        raise UserError(f"No judgements in {folder}. Give the folder of a log: the one that the page writes to.")
    told: list[Told] = []
    skipped: list[tuple[str, str]] = []
    for judgement in last.values():
        if judgement.finding is Finding.accepted and judgement.verdict == "unsure":
            skipped.append((judgement.photo, "accepted as unsure: nobody said whether there is a defect"))
            continue
        sound = judgement.finding is Finding.fine or (
            judgement.finding is Finding.accepted and judgement.verdict == "ok"
        )
        told.append(
            Told(
                judgement=judgement,
                image=log.image_path(judgement.image_hash),
                defect=None if sound else join_classes(judgement),
                mask=None if sound else log.mask_path(judgement),
            )
        )
    return Truth(told, skipped)


def join_classes(judgement: Judgement) -> str:
    """The classes of the regions that stand, joined; empty where none has a name."""
    return join_names(name for one in judgement.regions if one.stands and (name := plain(one.name)))


def plain(name: str) -> str:
    """A class as people write it; empty for what says nothing."""
    name = " ".join(name.split())
    return "" if name == UNKNOWN else name


def _shared(one: JudgedRegion, region: Region) -> int:
    """Pixels that two boxes share."""
    (a0, b0, a1, b1), (c0, d0, c1, d1) = one.box, region.box
    return max(0, min(a1, c1) - max(a0, c0)) * max(0, min(b1, d1) - max(b0, d0))

"""From a click to a judgement: what a person says of a verdict, with the regions and the mask that it is about."""

from __future__ import annotations

from data.errors import UserError
from data.masks import components
from data.sample import MaskArray
from eval.assistant.assistant import Seen
from eval.inspection.decision import Verdict
from eval.inspection.inspector import Inspected
from eval.judgements.judgement import Finding, JudgedRegion, Judgement, now


def make_judgement(
    seen: Seen,
    decided: Inspected,
    finding: Finding,
    *,
    model: str,
    user: str,
    category: str = "",
    name: str = "",
    chosen: int | None = None,
    drawn: MaskArray | None = None,
) -> tuple[Judgement, MaskArray | None]:
    """What is added to the log, and its mask.

    Args:
        seen: The photo.
        decided: What was decided about it, as the person saw it.
        finding: What the person says of that.
        model: Identity of what had looked.
        user: Who says it.
        category: The product.
        name: The right class, of a wrong class or of what was drawn; empty of the latter keeps the verdict's, where it
            has one and no more.
        chosen: The region whose class is wrong; None means all of them.
        drawn: (H, W) bool at the photo's size, of `redrawn`.

    Raises:
        UserError: If there is nothing that this could be said of.
    """
    row, mask, name = decided.row, decided.mask, " ".join(name.split())
    if row.score is None:
        raise UserError("The model gave no score that is a number: there is no verdict to judge.")
    if finding is Finding.accepted and row.verdict is Verdict.unsure:
        raise UserError(
            "The verdict is unsure, so there is nothing to accept. Say that it is fine after all, name the class of "
            "its defects, or redraw the mask."
        )
    if finding is Finding.wrong_class and not row.regions:
        raise UserError("No defect is marked whose class could be wrong. Redraw the mask, and name its class.")
    if finding is Finding.wrong_class and not name:
        raise UserError("Which class is it? Choose or write the right one first.")
    if finding is Finding.redrawn:
        if drawn is None or not drawn.any():
            raise UserError("Nothing is drawn. Draw over the defect first.")
        mask, named = drawn, {one.name for one in row.regions}
        name = name or (named.pop() or "" if len(named) == 1 else "")
        regions = tuple(JudgedRegion(name=name, box=one.box, area=one.area) for one in components(drawn))
    else:
        regions = tuple(
            JudgedRegion(
                name=name if finding is Finding.wrong_class and chosen in (None, index) else one.name or "",
                box=one.box,
                area=one.area,
                stands=finding is not Finding.fine,
            )
            for index, one in enumerate(row.regions)
        )
    judgement = Judgement(
        photo=seen.upload.name,
        image_hash=seen.upload.image_hash,
        model=model,
        user=user,
        time=now(),
        finding=finding,
        score=row.score,
        verdict=row.verdict.value,
        regions=regions,
        category=category,
    )
    return judgement, None if finding is Finding.fine or mask is None or not mask.any() else mask

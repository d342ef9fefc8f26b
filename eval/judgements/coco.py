"""Judged photos as COCO: `OUT/images`, `OUT/masks` and `OUT/coco.json`; sound photos have no annotation."""

from __future__ import annotations

from pathlib import Path

from data.ddqa.regions import region_of
from data.image_size import read_size
from data.readers.mvtec_layout import NORMAL
from eval.inspection.annotations import write_coco
from eval.inspection.decision import Verdict
from eval.inspection.rows import RegionRow, Row
from eval.judgements.mvtec import Written, unusable
from eval.judgements.placing import copy_file, place_photo, stem_of
from eval.judgements.truth import UNNAMED, Told, Truth


def write_annotations(out: Path, truth: Truth) -> Written:
    """Writes photos, masks and outlines.

    Raises:
        UserError: If a file cannot be written.
    """
    written = Written()
    rows = []
    for told in truth.told:
        if not told.is_sound and (reason := unusable(told)):
            written.skipped.append((told.judgement.photo, reason))
            continue
        photo = place_photo(told, out / "images")
        mask = f"masks/{stem_of(told)}.png" if told.mask is not None else ""
        if told.mask is not None:
            copy_file(told.mask, out / mask)
        rows.append(_row(told, photo, mask))
        written.counts[NORMAL if told.is_sound else told.defect or UNNAMED] += 1
    write_coco(out, rows)
    return written


def _row(told: Told, photo: Path, mask: str) -> Row:
    size = read_size(photo)
    regions = tuple(
        RegionRow(box=region.box, area=region.area, place=region_of(region.centroid, size), name=name, action="ask")
        for region, name in told.regions()
    )
    return Row(
        image=str(photo),
        name=photo.name,
        key="",
        verdict=Verdict.ok if told.is_sound else Verdict.defect,
        threshold=0.0,
        regions=regions,
        size=size,
        mask=mask,
    )

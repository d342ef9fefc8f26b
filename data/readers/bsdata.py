"""BSData: ball screw drives with pitting (Schlagenhauf et al., 2021); labelme polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import UserError
from data.faults import report, reporting
from data.files import read_json
from data.masks import Polygons
from data.pixels.shapes import Style, check_polygon
from data.readers.annotations import take
from data.readers.listing import list_files, list_images
from data.sample import Sample

CATEGORY = "ball screw drive"


def read_bsdata(root: Path) -> list[Sample]:
    """Lists BSData. An image without a label file is normal; one polygon is one defect region.

    The split is the authors' `train_test_split` (`train`, `test`, or `none` where they give none). The stray
    copy in `data/BSD/` is not a sample: only files directly in `data/` are.

    The group is the physical place on the spindle. `wear_dev` names the wear sequences that an image belongs to, 27 in
    all; a place with two pittings has two sequences of the same 69 images, so the first name stands for the place
    (15 of them). The 69 images of the other spindle type belong to no sequence: there, crops of one photograph share
    the group, which is the file name without `_crop_<n>`.

    Args:
        root: Folder that holds `data/`, `label/` and `image_data.json`.

    Raises:
        UserError: If a label file is malformed or belongs to no image.
    """
    records = _read_records(root / "image_data.json")
    images = list_images(root / "data")
    labels = {path.stem: path for path in list_files(root / "label", ".json")}
    for orphan in sorted(labels.keys() - {image.stem for image in images}):
        path = labels[orphan]
        report("orphan-annotation", path, f"Label without its image: {path}. Add the image, or remove the label.")
    samples = []
    for image in images:
        label = labels.get(image.stem)
        with reporting("unreadable-annotation", label or image):
            samples.append(_read_image(root, image, records.get(image.stem, {}), label))
    return samples


def _read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The record of each image, by its stem."""
    with reporting("unreadable-annotation", path):
        records = take(read_json(path), "images", list, path)
        return {Path(take(record, "filename", str, path)).stem: record for record in records}
    return {}


def _read_image(root: Path, image: Path, record: dict[str, Any], label: Path | None) -> Sample:
    return Sample(
        id=f"bsdata/{image.relative_to(root).as_posix()}",
        dataset="bsdata",
        category=CATEGORY,
        split=record.get("train_test_split") or "none",
        image=image,
        defect="pitting" if label else None,
        mask=_read_label(label) if label else None,
        group=f"bsdata/{min(record.get('wear_dev') or [image.stem.rsplit('_crop_', 1)[0]])}",
    )


def _read_label(path: Path) -> Polygons:
    label = read_json(path)
    shapes = label.get("shapes") if isinstance(label, dict) else None
    try:
        if not shapes or any(shape.get("shape_type", "polygon") != "polygon" for shape in shapes):
            raise ValueError("no polygons")
        polygons = tuple(tuple((float(x), float(y)) for x, y in shape["points"]) for shape in shapes)
        for points in polygons:
            check_polygon(points)
        return Polygons(polygons, path, style=Style.LABELME)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Not a labelme polygon file: {path} ({error}). Expected a non-empty 'shapes' list of polygons. Repair the "
            "file."
        ) from error

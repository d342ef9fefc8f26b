"""BSData: ball screw drives with pitting (Schlagenhauf et al., 2021); labelme polygons."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.faults import report, reporting
from data.files import read_json
from data.masks import Polygons
from data.readers.listing import list_images
from data.sample import Sample

CATEGORY = "ball screw drive"


def read_bsdata(root: Path) -> list[Sample]:
    """Lists BSData. An image without a label file is normal; one polygon is one defect region.

    The split is the authors' `train_test_split` (`train`, `test`, or `none` where they give none). The stray
    copy in `data/BSD/` is not a sample: only files directly in `data/` are.

    Args:
        root: Folder that holds `data/`, `label/` and `image_data.json`.

    Raises:
        UserError: If a label file is malformed or belongs to no image.
    """
    splits = _read_splits(root / "image_data.json")
    images = list_images(root / "data")
    labels = {path.stem: path for path in sorted((root / "label").glob("*.json"))}
    for orphan in sorted(set(labels) - {image.stem for image in images}):
        path = labels[orphan]
        report("orphan-annotation", path, f"Label without its image: {path}. Add the image, or remove the label.")
    samples = []
    for image in images:
        label = labels.get(image.stem)
        with reporting("unreadable-annotation", label or image):
            samples.append(_read_image(root, image, splits.get(image.stem, "none"), label))
    return samples


def _read_splits(path: Path) -> dict[str, str]:
    with reporting("unreadable-annotation", path):
        try:
            records = read_json(path)["images"]
            return {Path(record["filename"]).stem: record["train_test_split"] or "none" for record in records}
        except (KeyError, TypeError) as error:
            raise UserError(f"No list of images with their split in {path}. Download the file again.") from error
    return {}


def _read_image(root: Path, image: Path, split: str, label: Path | None) -> Sample:
    return Sample(
        id=f"bsdata/{image.relative_to(root).as_posix()}",
        dataset="bsdata",
        category=CATEGORY,
        split=split,
        image=image,
        defect="pitting" if label else None,
        mask=_read_label(label) if label else None,
    )


def _read_label(path: Path) -> Polygons:
    label = read_json(path)
    shapes = label.get("shapes") if isinstance(label, dict) else None
    try:
        if not shapes or any(shape.get("shape_type", "polygon") != "polygon" for shape in shapes):
            raise ValueError("no polygons")
        return Polygons(tuple(tuple((float(x), float(y)) for x, y in shape["points"]) for shape in shapes), path)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Not a labelme polygon file: {path}. Expected a non-empty 'shapes' list of polygons. Repair the file."
        ) from error

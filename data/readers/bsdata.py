"""BSData: ball screw drives with pitting (Schlagenhauf et al., 2021); labelme polygons."""

from __future__ import annotations

import re
from pathlib import Path

from data.errors import UserError
from data.files import read_json
from data.masks import Polygons
from data.readers.listing import list_images
from data.sample import Sample
from data.skipping import skippable

CATEGORY = "ball screw drive"
# Names are <drive>_<time>_<position>_<angle>_crop_<n> or <drive>-<side>-<shot>-<angle>_crop_<n>: pictures that differ
# in time, shot or crop alone show the same place of the same drive as it wears.
PLACES = (
    re.compile(r"(?P<drive>\d+)_\d+_(?P<position>\d+)_(?P<angle>\d+)_crop_\d+"),
    re.compile(r"(?P<drive>KGT\d+)-(?P<position>[A-Z]+)-\d+-(?P<angle>A\d+)_crop_\d+"),
)


def read_bsdata(root: Path) -> list[Sample]:
    """Lists BSData. An image without a label file is normal; one polygon is one defect region.

    The split is the authors' `train_test_split` (`train`, `test`, or `none` where they give none). The stray
    copy in `data/BSD/` is not a sample: only files directly in `data/` are.

    Args:
        root: Folder that holds `data/`, `label/` and `image_data.json`.

    Raises:
        UserError: If a label file is malformed or belongs to no image.
    """
    records = read_json(root / "image_data.json")["images"]
    splits = {Path(record["filename"]).stem: record["train_test_split"] or "none" for record in records}
    images = list_images(root / "data")
    labels = {path.stem: path for path in sorted((root / "label").glob("*.json"))}
    if orphans := set(labels) - {image.stem for image in images}:
        raise UserError(f"Label without its image: {labels[min(orphans)]} ({len(orphans)} in all). Add the images.")
    samples = []
    for image in images:
        with skippable(f"bsdata/{image.relative_to(root).as_posix()}"):
            samples.append(_read_image(root, image, splits.get(image.stem, "none"), labels.get(image.stem)))
    return samples


def _read_image(root: Path, image: Path, split: str, label: Path | None) -> Sample:
    return Sample(
        id=f"bsdata/{image.relative_to(root).as_posix()}",
        dataset="bsdata",
        category=CATEGORY,
        split=split,
        image=image,
        defect="pitting" if label else None,
        mask=_read_label(label) if label else None,
        group=_place(image.stem),
    )


def _place(stem: str) -> str | None:
    """The place that all pictures of one wear sequence share; None for a name of another form."""
    found = next((match for pattern in PLACES if (match := pattern.fullmatch(stem))), None)
    return "bsdata/" + "_".join(found.groups()) if found else None


def _read_label(path: Path) -> Polygons:
    shapes = read_json(path).get("shapes")
    if not shapes or any(shape.get("shape_type", "polygon") != "polygon" for shape in shapes):
        raise UserError(f"Not a labelme polygon file: {path}. Expected a non-empty 'shapes' list of polygons.")
    return Polygons(tuple(tuple((float(x), float(y)) for x, y in shape["points"]) for shape in shapes), path)

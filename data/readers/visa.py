"""VisA (Zou et al., 2022): as downloaded, and re-laid in MVTec AD's form by its own `1cls` preparation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.errors import UserError
from data.files import read_csv
from data.masks import MaskFile
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images, path_inside
from data.readers.mvtec_layout import read_mvtec_layout
from data.sample import Sample

SPLITS = ("train", "test")
Annotations = dict[tuple[str, str], str]  # (folder, stem) of an image → its comma-joined defect types


def read_visa(root: Path) -> list[Sample]:
    """Lists VisA in either form; masks hold class indices (`> 0` is defect).

    As downloaded: images, splits and masks come from `split_csv/1cls.csv`, defect names from
    `<category>/image_anno.csv`. An image with several types has their readable names, sorted and joined by ", ".

    Re-laid: `<category>/{train/good,test/{good,bad}}` with `ground_truth/bad`. The names are lost there, unless
    `image_anno.csv` was copied into the category: then they are found by the stem.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If a table is malformed, a path leaves the root, a type is unknown, or an image or mask is missing
            or unlisted.
    """
    categories = list_folders(root)
    if (root / "split_csv").is_dir() or any((category / "Data").is_dir() for category in categories):
        return _read_raw(root)
    annotated = {
        category.name: _read_annotations(category / "image_anno.csv", required=False) for category in categories
    }
    return [_rename(sample, annotated[sample.category]) for sample in read_mvtec_layout(root, "visa")]


def _rename(sample: Sample, annotated: Annotations) -> Sample:
    types = annotated.get(("Anomaly", sample.image.stem))
    return sample if sample.is_normal or types is None else replace(sample, defect=name_types(types, sample.category))


def _read_raw(root: Path) -> list[Sample]:
    table = root / "split_csv" / "1cls.csv"
    rows = read_csv(table, ("object", "split", "label", "image", "mask"))
    categories = sorted({row["object"] for row in rows})
    annotated = {name: _read_annotations(path_inside(root, name, table) / "image_anno.csv") for name in categories}
    samples = [_read_row(root, table, row, annotated[row["object"]]) for row in rows]
    _check_listed(root, table, categories, samples)
    return sorted(samples, key=lambda sample: (sample.category, SPLITS.index(sample.split), sample.image.parts))


def _read_row(root: Path, table: Path, row: dict[str, str], annotated: Annotations) -> Sample:
    if row["split"] not in SPLITS or row["label"] not in ("normal", "anomaly"):
        raise UserError(f"Unknown split or label in {table}: {', '.join(row.values())}. Download the table again.")
    image = path_inside(root, row["image"], table)
    normal = row["label"] == "normal"
    types = annotated.get((image.parent.name, image.stem))
    if not normal and types in (None, "", "normal"):
        path = root / row["object"] / "image_anno.csv"
        raise UserError(f"No defect type for {image}, anomalous by {table}, in {path}. Download both again.")
    if not normal and not row["mask"]:
        raise UserError(f"Image without its mask: {image}, anomalous by {table}. Add the mask, or download it again.")
    return Sample(
        id=f"visa/{image.relative_to(root).as_posix()}",
        dataset="visa",
        category=row["object"],
        split=row["split"],
        image=image,
        defect=None if normal or types is None else name_types(types, row["object"]),
        mask=None if normal else MaskFile(path_inside(root, row["mask"], table)),
    )


def _read_annotations(path: Path, required: bool = True) -> Annotations:
    if not required and not path.is_file():
        return {}
    images = [(PurePosixPath(row["image"]), row["label"]) for row in read_csv(path, ("image", "label"))]
    return {(image.parent.name, image.stem): types for image, types in images}


def name_types(types: str, category: str) -> str:
    """The readable names of comma-joined defect types, sorted and joined by ", ".

    Raises:
        UserError: If a type is unknown.
    """
    return ", ".join(sorted({readable("visa", name, category) for name in types.split(",") if name.strip()}))


def _check_listed(root: Path, table: Path, categories: Sequence[str], samples: Sequence[Sample]) -> None:
    """Compares the table with what lies in the folders, both ways."""
    data = [root / name / "Data" for name in categories]
    images = [path for folder in data for sub in list_folders(folder / "Images") for path in list_images(sub)]
    masks = [path for folder in data for sub in list_folders(folder / "Masks") for path in list_images(sub)]
    listed = [sample.image for sample in samples]
    for what, found, named in (
        ("image", images, listed),
        ("mask", masks, [sample.mask.path for sample in samples if sample.mask]),
    ):
        if twice := sorted(path for path, count in Counter(named).items() if count > 1):
            raise UserError(f"Listed twice: {twice[0]} in {table}. Remove one of the lines.")
        if missing := sorted(set(named) - set(found)):
            raise UserError(
                f"Missing {what}: {missing[0]}, listed in {table} ({len(missing)} in all). Download it again."
            )
        if extra := sorted(set(found) - set(named)):
            reason = "Mask without its image" if what == "mask" else "Image that no line lists"
            raise UserError(f"{reason}: {extra[0]} ({len(extra)} in all; table {table}). Remove it.")

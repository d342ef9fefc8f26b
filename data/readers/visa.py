"""VisA (Zou et al., 2022): as downloaded, and re-laid in MVTec AD's form by its own `1cls` preparation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from data.errors import UserError, brief
from data.faults import report, reporting
from data.files import read_csv
from data.masks import MaskFile
from data.readers.annotations import check_inside, find_inside
from data.readers.defect_names import join_names, readable
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import read_mvtec_layout
from data.readers.pairing import report_orphan
from data.sample import Sample

SPLITS = ("train", "test")
Annotations = dict[tuple[str, str], str]  # (folder, stem) of an image → its comma-joined defect types


def read_visa(root: Path) -> list[Sample]:
    """Lists VisA in either form; masks hold class indices (`> 0` is defect).

    As downloaded: images, splits and masks come from `split_csv/1cls.csv`, defect names from
    `<category>/image_anno.csv`. An image with several types has their readable names, sorted and joined by " and ".

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
        category.name: _read_annotations(category / "image_anno.csv", required=False) or {} for category in categories
    }
    return [_rename(sample, annotated[sample.category]) for sample in read_mvtec_layout(root, "visa")]


def _rename(sample: Sample, annotated: Annotations) -> Sample:
    types = annotated.get(("Anomaly", sample.image.stem))
    return sample if sample.is_normal or types is None else replace(sample, defect=name_types(types, sample.category))


def _read_raw(root: Path) -> list[Sample]:
    table = root / "split_csv" / "1cls.csv"
    rows: list[dict[str, str]] = []
    with reporting("unreadable-annotation", table):
        rows = read_csv(table, ("object", "split", "label", "image", "mask"))
    annotated: dict[str, Annotations | None] = {}
    for name in sorted({row["object"] for row in rows}):
        with reporting("bad-annotation", table):
            annotated[name] = _read_annotations(root / check_inside(name, table) / "image_anno.csv")
    samples = []
    named: dict[str, Counter[str]] = {"image": Counter(), "mask": Counter()}
    for row in rows:
        with reporting("bad-annotation", table):
            row |= {what: check_inside(row[what], table) for what in named if row[what]}
            for what, counts in named.items():
                counts[row[what]] += 1
            if (types := annotated.get(row["object"])) is not None:
                samples.append(_read_row(root, table, row, types))
    for what, counts in named.items():
        _check_listed(root, table, annotated, what, {name: count for name, count in counts.items() if name})
    return sorted(samples, key=lambda sample: (sample.category, SPLITS.index(sample.split), sample.image.parts))


def _read_row(root: Path, table: Path, row: dict[str, str], annotated: Annotations) -> Sample:
    if row["split"] not in SPLITS or row["label"] not in ("normal", "anomaly"):
        raise UserError(
            f"Unknown split or label in {table}: {brief(', '.join(row.values()))}. Download the table again."
        )
    image = find_inside(root, row["image"], table)
    normal = row["label"] == "normal"
    types = annotated.get((image.parent.name, image.stem))
    if not normal and types in (None, "", "normal"):
        path = root / row["object"] / "image_anno.csv"
        raise UserError(f"No defect type for {image}, anomalous by {table}, in {path}. Download both again.")
    if not normal and not row["mask"]:
        message = f"Image without its mask: {image}, anomalous by {table}. Add the mask, or download it again."
        report("missing-mask", image, message)
    return Sample(
        id=f"visa/{row['image']}",
        dataset="visa",
        category=row["object"],
        split=row["split"],
        image=image,
        defect=None if normal or types is None else name_types(types, row["object"]),
        mask=None if normal or not row["mask"] else MaskFile(find_inside(root, row["mask"], table)),
    )


def _read_annotations(path: Path, required: bool = True) -> Annotations | None:
    """The defect types of a category's images; None where the file is unreadable, or not there and not required."""
    if not required and not path.is_file():
        return None
    with reporting("unreadable-annotation", path):
        images = [(PurePosixPath(row["image"]), row["label"]) for row in read_csv(path, ("image", "label"))]
        return {(image.parent.name, image.stem): types for image, types in images}
    return None


def name_types(types: str, category: str) -> str:
    """The readable names of comma-joined defect types, joined by " and ".

    Raises:
        UserError: If a type is unknown.
    """
    return join_names(readable("visa", name, category) for name in types.split(",") if name.strip())


def _check_listed(root: Path, table: Path, categories: Iterable[str], what: str, named: Mapping[str, int]) -> None:
    """Compares what the table names (and how often) with what lies in the folders, both ways."""
    found = {name for category in categories for name in _find(root, f"{category}/Data/{what.capitalize()}s")}
    for name in sorted(name for name, count in named.items() if count > 1):
        report("bad-annotation", table, f"Listed twice: {root / name} in {table}. Remove one of the lines.")
    for name in sorted(named.keys() - found):
        message = f"Missing {what}: {root / name}, listed in {table}. Download it again."
        report(f"missing-{what}", root / name, message)
    for name in sorted(found - named.keys()):
        if what == "mask":
            report_orphan(root / name)
        else:
            message = f"Image that no line lists: {root / name} (table {table}). Remove it."
            report("unread-image", root / name, message)


def _find(root: Path, place: str) -> Iterator[str]:
    """The image files one level below a place, relative to the root."""
    for folder in list_folders(root / place):
        yield from (f"{place}/{folder.name}/{image.name}" for image in list_images(folder))

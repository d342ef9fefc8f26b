"""VISION: 14 industrial inspection sets with COCO polygons (Bai et al., 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.errors import UserError
from data.faults import reporting
from data.files import read_json
from data.masks import Polygons
from data.pixels.shapes import Runs, Shape, Style, check_polygon, read_runs
from data.readers.annotations import find_inside, take
from data.readers.defect_names import join_names, readable
from data.readers.listing import Listed, Skipped, list_folders, list_images
from data.sample import Sample

ANNOTATIONS = "_annotations.coco.json"
LABELLED, UNLABELLED = ("train", "val"), "inference"


def read_vision(root: Path) -> Listed:
    """Lists VISION: `<set>/{train,val}/000000.jpg` with `_annotations.coco.json` beside them.

    One COCO annotation is one defect region, in one part or several. Category ids differ between splits, so names
    count. An image that shows several kinds of defect is named by all of them, joined by `and`.

    Left out and listed: the images of `inference`, which has no annotations; images of the other splits without a
    usable annotation (VISION has no normal images); polygons of fewer than 6 coordinates. Run lengths (RLE, as COCO's
    tools write crowds) are read, too.

    Args:
        root: Folder that holds one folder per set (`Cable`, …, `Wood`).

    Raises:
        UserError: If an annotation file is missing or malformed, or names an image, a category or a path that is not
            there.
    """
    listed = Listed([], [])
    for category in list_folders(root):
        for split in LABELLED:
            if (category / split).is_dir():
                with reporting("unreadable-annotation", category / split / ANNOTATIONS):
                    _read_split(root, category.name, category / split, listed)
        listed.skipped.extend(
            _skip(root, image, category.name, "the inference split has no annotations")
            for image in list_images(category / UNLABELLED)
        )
    return listed


def _read_split(root: Path, category: str, folder: Path, listed: Listed) -> None:
    path = folder / ANNOTATIONS
    coco = read_json(path)
    names = {
        take(record, "id", int, path): take(record, "name", str, path)
        for record in take(coco, "categories", list, path)
    }
    files = {image.name: image for image in list_images(folder)}
    images: dict[int, Path] = {}
    taken: set[str] = set()
    by_image: dict[int, list[dict[str, Any]]] = {}
    for record in take(coco, "images", list, path):
        with reporting("bad-annotation", path):
            number, image = take(record, "id", int, path), _find(record, files, path)
            if number in images or image.name in taken:
                raise UserError(
                    f"Image {image.name} or image id {number} is listed twice in {path}. Download it again."
                )
            taken.add(image.name)
            images[number], by_image[number] = image, []
    for record in take(coco, "annotations", list, path):
        with reporting("bad-annotation", path):
            number = take(record, "image_id", int, path)
            if number not in by_image:
                raise UserError(f"Annotation of no image: {path} annotates image_id {number}. Download the file again.")
            by_image[number].append(record)
    for number, image in sorted(images.items(), key=lambda item: item[1]):
        with reporting("bad-annotation", path):
            _read_image(root, category, image, by_image[number], names, listed)
    for name in sorted(files.keys() - taken):
        listed.skipped.append(_skip(root, files[name], category, f"not in {ANNOTATIONS}"))


def _find(record: dict[str, Any], files: dict[str, Path], path: Path) -> Path:
    image = find_inside(path.parent, take(record, "file_name", str, path), path)
    name = image.relative_to(path.parent).as_posix()
    if name not in files:
        raise UserError(f"Missing image: {path} lists {name}, which is not beside it. Download the split again.")
    return files[name]


def _read_image(
    root: Path, category: str, image: Path, records: list[dict[str, Any]], names: dict[int, str], listed: Listed
) -> None:
    path = image.parent / ANNOTATIONS
    shapes: list[Shape] = []
    parts: list[int] = []
    defects: list[str] = []
    for number, record in enumerate(records):
        kept = [shape for shape in _read_shapes(record, path) if isinstance(shape, Runs) or len(shape) >= 3]
        if not kept or (isinstance(record["segmentation"], list) and len(kept) < len(record["segmentation"])):
            what = "a polygon of fewer than 6 coordinates" if record["segmentation"] else "no polygon"
            reason = f"annotation {record.get('id')}: {what}"
            listed.skipped.append(_skip(root, image, category, reason))
        if kept:
            shapes += kept
            parts += [number] * len(kept)
            defects.append(_read_defect(record, names, category, path))
    if not shapes:
        listed.skipped.append(_skip(root, image, category, "no usable annotation"))
        return
    listed.samples.append(
        Sample(
            id=_name(root, image),
            dataset="vision",
            category=category,
            split=image.parent.name,
            image=image,
            defect=join_names(defects),
            mask=Polygons(tuple(shapes), path, tuple(parts) if len(set(parts)) < len(parts) else (), Style.COCO),
        )
    )


def _read_shapes(record: dict[str, Any], path: Path) -> list[Shape]:
    found = record.get("segmentation")
    try:
        if isinstance(found, dict):
            return [read_runs(found.get("counts", ()), found.get("size", ()))]
        shapes: list[Shape] = []
        for part in take(record, "segmentation", list, path):
            if not isinstance(part, list):
                raise ValueError("a list of numbers instead of a list of polygons")
            points = tuple(zip(map(float, part[::2]), map(float, part[1::2]), strict=True))
            check_polygon(points)
            shapes.append(points)
        return shapes
    except (TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"Malformed segmentation in {path}, annotation {record.get('id')}: {error}. Expected lists of x, y or run "
            "lengths of the image's size. Correct the file, or download it again."
        ) from error


def _read_defect(record: dict[str, Any], names: dict[int, str], category: str, path: Path) -> str:
    number = take(record, "category_id", int, path)
    if number not in names:
        raise UserError(f"Unknown category_id {number} in {path}. It has: {names}. Download the file again.")
    return readable("vision", names[number], category, path)


def _skip(root: Path, image: Path, category: str, reason: str) -> Skipped:
    return Skipped(_name(root, image), reason, category, image.parent.name)


def _name(root: Path, image: Path) -> str:
    return f"vision/{image.relative_to(root).as_posix()}"

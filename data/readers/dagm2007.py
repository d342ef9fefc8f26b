"""DAGM 2007: ten artificial textures with roughly marked defects (Wieler and Hahn, 2007)."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError, brief
from data.faults import report, reporting
from data.masks import MaskFile
from data.readers.annotations import check_inside, read_lines
from data.readers.listing import list_folders, list_images
from data.readers.pairing import pair_masks
from data.sample import Sample

DEFECT = "surface defect"  # the set names no types
FLAGS = {"0": False, "1": True}


def read_dagm2007(root: Path) -> list[Sample]:
    """Lists DAGM 2007: `Class<n>/{Train,Test}/0576.PNG`, flagged in `Label/Labels.txt`, with rough masks in `Label`.

    `Class1/Class1/`, which some unpackers leave, is accepted. Splits are `train` and `test`.

    Args:
        root: Folder that holds `Class1`, …, `Class10`.

    Raises:
        UserError: If a line of `Labels.txt` is malformed, an image is not listed there or the other way round, a
            flagged image has no mask, or a mask belongs to no flagged image.
    """
    return [
        sample
        for category in list_folders(root)
        if category.name.lower().startswith("class")
        for split in ("Train", "Test")
        for sample in _read_split(root, category.name, _unnest(category) / split)
    ]


def _unnest(category: Path) -> Path:
    inner = category / category.name
    return inner if inner.is_dir() else category


def _read_split(root: Path, category: str, folder: Path) -> list[Sample]:
    images, labels = list_images(folder), folder / "Label" / "Labels.txt"
    if not images:
        return []
    flags: dict[str, bool] | None = None
    with reporting("unreadable-annotation", labels):
        flags = _read_flags(labels)
    if flags is None:
        return []
    for image in images:
        if image.stem not in flags:
            message = f"Images and labels differ: {image} is not in {labels}. Download {folder} again."
            report("bad-annotation", image, message)
    for stem in sorted(flags.keys() - {image.stem for image in images}):
        message = f"Images and labels differ: {labels} lists '{stem}', no image. Download {folder} again."
        report("bad-annotation", labels, message)
    flagged = [image for image in images if flags.get(image.stem)]
    masks = dict(zip(flagged, pair_masks(flagged, labels.parent, ("", "_label"), suffix=".PNG"), strict=True))
    return [
        _make_sample(root, category, image, flags[image.stem], masks.get(image))
        for image in images
        if image.stem in flags
    ]


def _read_flags(path: Path) -> dict[str, bool]:
    """Stem of each image and whether it is defective; the first line is a number and is left out."""
    flags: dict[str, bool] = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        if line.strip():
            with reporting("bad-annotation", path):
                stem, is_defective = _read_line(line, number, path)
                flags[stem] = is_defective
    return flags


def _read_line(line: str, number: int, path: Path) -> tuple[str, bool]:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) < 3 or cells[1] not in FLAGS:
        raise UserError(
            f"Malformed line {number} in {path}: {brief(line)}. Expected the tab-separated columns id, flag 0 or 1, "
            "image, 0, mask. Download the file again."
        )
    return Path(check_inside(cells[2], path)).stem, FLAGS[cells[1]]


def _make_sample(root: Path, category: str, image: Path, is_defective: bool, mask: Path | None) -> Sample:
    return Sample(
        id=f"dagm2007/{image.relative_to(root).as_posix()}",
        dataset="dagm2007",
        category=category,
        split=image.parent.name.lower(),
        image=image,
        defect=DEFECT if is_defective else None,
        mask=MaskFile(mask) if mask else None,
    )

"""DAGM 2007: ten artificial textures with roughly marked defects (Wieler and Hahn, 2007)."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.masks import MaskFile
from data.readers.annotations import check_inside, read_lines
from data.readers.listing import index_by_stem, list_folders, list_images, match_masks, missing_mask
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
        for sample in _read_split(root, category, _unnest(category) / split)
    ]


def _unnest(category: Path) -> Path:
    inner = category / category.name
    return inner if inner.is_dir() else category


def _read_split(root: Path, category: Path, folder: Path) -> list[Sample]:
    images = index_by_stem(list_images(folder))
    if not images:
        return []
    labels = folder / "Label" / "Labels.txt"
    flags = _read_flags(labels)
    if unlisted := images.keys() ^ flags.keys():
        stem = min(unlisted)
        found = f"{images[stem]} is not in {labels}" if stem in images else f"{labels} lists '{stem}', no image"
        raise UserError(f"Images and labels differ: {found} ({len(unlisted)} in all). Download {category} again.")
    flagged = [image for stem, image in images.items() if flags[stem]]
    masks = match_masks(flagged, list_images(folder / "Label"), "_label")
    return [_make_sample(root, category.name, image, flags[stem], masks.get(stem)) for stem, image in images.items()]


def _read_flags(path: Path) -> dict[str, bool]:
    """Stem of each image and whether it is defective; the first line is a number and is left out."""
    flags: dict[str, bool] = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) < 3 or cells[1] not in FLAGS:
            raise UserError(
                f"Malformed line {number} in {path}: '{line}'. Expected the tab-separated columns id, flag 0 or 1, "
                "image, 0, mask. Download the file again."
            )
        flags[Path(check_inside(cells[2], path)).stem] = FLAGS[cells[1]]
    return flags


def _make_sample(root: Path, category: str, image: Path, is_defective: bool, mask: Path | None) -> Sample:
    if is_defective and mask is None:
        raise missing_mask(image, image.parent / "Label" / f"{image.stem}_label{image.suffix}")
    return Sample(
        id=f"dagm2007/{image.relative_to(root).as_posix()}",
        dataset="dagm2007",
        category=category,
        split=image.parent.name.lower(),
        image=image,
        defect=DEFECT if is_defective else None,
        mask=MaskFile(mask) if mask else None,
    )

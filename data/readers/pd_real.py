"""PD-REAL: Play-Doh objects (Qin et al., 2023), colour images only."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.masks import MaskFile
from data.readers.annotations import name_defect
from data.readers.listing import list_folders, list_images, match_masks, missing_mask
from data.sample import Sample


def read_pd_real(root: Path, *, images: str = "rgb", masks: str = "gt", normal: str = "good") -> list[Sample]:
    """Lists PD-REAL. Its layout is published nowhere: this assumes MVTec 3D-AD's, and the options adapt it.

    Expected: `<category>/<split>/<normal or defect>/<images>/000.png`, with the mask of the same stem in
    `<category>/<split>/<defect>/<masks>/`. The name of a split's folder is the split.

    Args:
        root: Folder that holds one folder per category.
        images: Sub-folder of the colour images; empty when they lie in the defect's folder itself.
        masks: Sub-folder of the masks.
        normal: Name of the folders of normal images.

    Raises:
        UserError: If a defect is unknown, an anomalous image has no mask, or a mask belongs to no image.
    """
    return [
        sample
        for category in list_folders(root)
        for split in list_folders(category)
        for folder in list_folders(split)
        for sample in _read_folder(root, folder, images, masks, normal)
    ]


def _read_folder(root: Path, folder: Path, images: str, masks: str, normal: str) -> list[Sample]:
    found = list_images(folder / images)
    if not found:
        raise UserError(
            f"No images in {folder / images}. If PD-REAL's colour images lie elsewhere, set the reader's options "
            "images, masks and normal to the names of your folders."
        )
    matched = match_masks(found, list_images(folder / masks), "_mask")
    defect = None if folder.name == normal else name_defect("pd_real", folder.name, folder)
    return [_make_sample(root, image, defect, matched.get(image.stem), folder / masks) for image in found]


def _make_sample(root: Path, image: Path, defect: str | None, mask: Path | None, masks: Path) -> Sample:
    if defect and mask is None:
        raise missing_mask(image, masks / f"{image.stem}.png")
    category, split, *_ = image.relative_to(root).parts
    return Sample(
        id=f"pd_real/{image.relative_to(root).as_posix()}",
        dataset="pd_real",
        category=category,
        split=split,
        image=image,
        defect=defect,
        mask=MaskFile(mask) if defect and mask else None,
    )

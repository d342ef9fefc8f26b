"""The layout of MVTec AD, which several datasets share.

`<category>/{train,test}/<good|defect>/000.png` with masks `<category>/ground_truth/<defect>/000_mask.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.faults import report
from data.masks import MaskFile, MaskSource
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images
from data.readers.pairing import check_mask_folders, pair_masks
from data.sample import Sample

NORMAL = "good"
ALIKE = {"good", "ok", "okay", "normal", "sound", "nominal", "defect_free", "no_defect"}  # what else people call it


def read_mvtec_layout(root: Path, dataset: str) -> list[Sample]:
    """Lists a dataset in the layout of MVTec AD; a mask has the stem of its image, with or without `_mask`.

    Images may have any suffix, masks another; pixels above 0 are defect.

    Args:
        root: Folder that holds one folder per category.
        dataset: Name of the dataset, which gives its defects their readable names.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return [sample for category in list_folders(root) for sample in read_category(category, dataset)]


def read_category(
    category: Path, dataset: str, threshold: int = 0, *, good: str = NORMAL, hint: str = ""
) -> list[Sample]:
    """Lists one category; its parent is the dataset's root.

    Args:
        category: Its folder.
        dataset: Name of the dataset.
        threshold: Mask pixels above it are defect.
        good: Name of the folders of normal images.
        hint: What else helps when they are called otherwise, for the message.

    Raises:
        UserError: If an anomalous image has no mask, a mask no image, or a folder is called like normal images, but
            other than `good`.
    """
    folders = [(split, folder) for split in ("train", "test") for folder in list_folders(category / split)]
    check_mask_folders(category / "ground_truth", {folder.name for _, folder in folders})
    samples = []
    for split, folder in folders:
        images, normal = list_images(folder), folder.name == good
        if not normal and folder.name.lower().replace("-", "_") in ALIKE:
            message = (
                f"Are these normal images? {folder} is called like them, but not '{good}'. Rename it to {good}{hint}."
            )
            report("bad-annotation", folder, message.replace("NAME", folder.name))
            normal = True
        samples += folder_samples(
            category.parent,
            dataset,
            category.name,
            split,
            images,
            None if normal else readable(dataset, folder.name, category.name, folder),
            None if normal else mask_files(pair_masks(images, category / "ground_truth" / folder.name), threshold),
        )
    return samples


def mask_files(masks: Sequence[Path | None], threshold: int = 0) -> list[MaskFile | None]:
    """Masks of one file each, from their paths."""
    return [MaskFile(mask, threshold) if mask else None for mask in masks]


def folder_samples(
    root: Path,
    dataset: str,
    category: str,
    split: str,
    images: Sequence[Path],
    defect: str | None = None,
    masks: Sequence[MaskSource | None] | None = None,
) -> list[Sample]:
    """The samples of the images of one folder, all normal or all with the same defect.

    Args:
        root: The dataset's root, which the samples' ids are relative to.
        dataset: Name of the dataset.
        category: Category of the samples.
        split: Split of the samples.
        images: Images directly in one folder.
        defect: Readable name of their defect; None when they are normal.
        masks: The mask of each image; None when they are normal.
    """
    place = f"{dataset}/{images[0].parent.relative_to(root).as_posix()}" if images else ""
    return [
        Sample(
            id=f"{place}/{image.name}",
            dataset=dataset,
            category=category,
            split=split,
            image=image,
            defect=defect,
            mask=mask,
        )
        for image, mask in zip(images, masks or [None] * len(images), strict=True)
    ]

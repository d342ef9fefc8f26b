"""The layout of MVTec AD, which several datasets share.

`<category>/{train,test}/<good|defect>/000.png` with masks `<category>/ground_truth/<defect>/000_mask.png`.
"""

from __future__ import annotations

from pathlib import Path

from data.masks import MaskFile
from data.readers.defect_names import readable
from data.readers.listing import check_mask_folders, list_folders, list_images, pair_masks
from data.sample import Sample

NORMAL = "good"


def read_mvtec_layout(root: Path, dataset: str) -> list[Sample]:
    """Lists a dataset in the layout of MVTec AD; a mask has the stem of its image, with or without `_mask`.

    Images may have any suffix, masks another; pixels above 0 are defect.

    Args:
        root: Folder that holds one folder per category.
        dataset: Name of the dataset, which gives its defects their readable names.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return [sample for category in list_folders(root) for sample in _read_category(root, category, dataset)]


def _read_category(root: Path, category: Path, dataset: str) -> list[Sample]:
    folders = [(split, folder) for split in ("train", "test") for folder in list_folders(category / split)]
    check_mask_folders(category / "ground_truth", [folder.name for _, folder in folders])
    return [sample for split, folder in folders for sample in _read_folder(root, category, dataset, split, folder)]


def _read_folder(root: Path, category: Path, dataset: str, split: str, folder: Path) -> list[Sample]:
    images = list_images(folder)
    normal = folder.name == NORMAL
    defect = None if normal else readable(dataset, folder.name, category.name)
    masks = {} if normal else pair_masks(images, category / "ground_truth" / folder.name)
    return [
        Sample(
            id=f"{dataset}/{image.relative_to(root).as_posix()}",
            dataset=dataset,
            category=category.name,
            split=split,
            image=image,
            defect=defect,
            mask=MaskFile(masks[image]) if image in masks else None,
        )
        for image in images
    ]

"""The layout of MVTec AD, which several datasets share.

`<category>/{train,test}/<good|defect>/000.png` with masks `<category>/ground_truth/<defect>/000_mask.png`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data.masks import MaskFile, MaskSource
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
    if folder.name == NORMAL:
        return folder_samples(root, dataset, category.name, split, images)
    masks = pair_masks(images, category / "ground_truth" / folder.name)
    sources = {image: MaskFile(mask) for image, mask in masks.items()}
    return folder_samples(
        root, dataset, category.name, split, images, readable(dataset, folder.name, category.name), sources
    )


def folder_samples(
    root: Path,
    dataset: str,
    category: str,
    split: str,
    images: Sequence[Path],
    defect: str | None = None,
    masks: Mapping[Path, MaskSource] | None = None,
) -> list[Sample]:
    """The samples of the images of one folder, all normal or all with the same defect.

    Args:
        root: The dataset's root, which the samples' ids are relative to.
        dataset: Name of the dataset.
        category: Category of the samples.
        split: Split of the samples.
        images: Images directly in one folder.
        defect: Readable name of their defect; None when they are normal.
        masks: Image → mask; None when they are normal.
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
            mask=masks[image] if masks is not None else None,
        )
        for image in images
    ]

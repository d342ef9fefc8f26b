"""MVTec AD, and any dataset in its layout: `<category>/{train,test}/<good|defect>`, `ground_truth/<defect>`."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.masks import MaskFile
from data.readers.listing import list_folders, list_images, match_masks, missing_mask
from data.sample import Sample


def read_mvtec_ad(root: Path) -> list[Sample]:
    """Lists MVTec AD. The mask of `test/<defect>/000.png` is `ground_truth/<defect>/000_mask.png`.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask file, or a mask belongs to no image.
    """
    return [sample for category in list_folders(root) for sample in read_category(category, "mvtec_ad")]


def read_category(category: Path, dataset: str) -> list[Sample]:
    """Lists one category in the layout.

    Args:
        category: Its folder.
        dataset: What the samples' ids begin with.

    Raises:
        UserError: If an anomalous image has no mask file, or a mask belongs to no image.
    """
    folders = {split: list_folders(category / split) for split in ("train", "test")}
    tested = {folder.name for folder in folders["test"]} | {"good"}
    for masks in list_folders(category / "ground_truth"):
        if masks.name not in tested and (orphans := list_images(masks)):
            raise UserError(
                f"Mask for no image: {orphans[0]}. Add {category / 'test' / masks.name}, or remove {masks}."
            )
    return [
        sample
        for split in folders
        for folder in folders[split]
        for sample in _read_folder(category, dataset, split, folder)
    ]


def _read_folder(category: Path, dataset: str, split: str, folder: Path) -> list[Sample]:
    images, prefix = list_images(folder), f"{dataset}/{category.name}/{split}/{folder.name}"
    defect = None if folder.name == "good" else folder.name.replace("_", " ")
    masks = category / "ground_truth" / folder.name
    matched = {} if defect is None else match_masks(images, list_images(masks), "_mask")
    return [
        Sample(
            id=f"{prefix}/{image.name}",
            dataset=dataset,
            category=category.name,
            split=split,
            image=image,
            defect=defect,
            mask=MaskFile(_find_mask(image, masks, matched)) if defect else None,
        )
        for image in images
    ]


def _find_mask(image: Path, folder: Path, matched: dict[str, Path]) -> Path:
    if mask := matched.get(image.stem):
        return mask
    raise missing_mask(image, folder / f"{image.stem}_mask.png")

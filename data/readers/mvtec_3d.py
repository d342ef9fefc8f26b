"""MVTec 3D-AD (Bergmann et al., 2022), its RGB part."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.masks import MaskFile
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images, pair_masks
from data.readers.mvtec_layout import NORMAL, folder_samples
from data.sample import Sample


def read_mvtec_3d(root: Path) -> list[Sample]:
    """Lists MVTec 3D-AD: `<category>/<split>/<good|defect>/rgb/000.png` with the mask `gt/000.png` beside `rgb`.

    The splits are `train`, `validation` and `test`. The point clouds in `xyz` are not read, nor are the all-zero
    masks of normal images.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If a folder has no `rgb`, an anomalous image no mask, or a mask no image.
    """
    return [
        sample
        for category in list_folders(root)
        for split in ("train", "validation", "test")
        for folder in list_folders(category / split)
        for sample in _read_folder(root, category, split, folder)
    ]


def _read_folder(root: Path, category: Path, split: str, folder: Path) -> list[Sample]:
    if not (folder / "rgb").is_dir():
        raise UserError(f"No colour images: {folder} has no folder 'rgb'. Download the category again.")
    images = list_images(folder / "rgb")
    if folder.name == NORMAL:
        return folder_samples(root, "mvtec_3d", category.name, split, images)
    masks = {image: MaskFile(mask) for image, mask in pair_masks(images, folder / "gt", endings=("_mask", "")).items()}
    defect = readable("mvtec_3d", folder.name, category.name)
    return folder_samples(root, "mvtec_3d", category.name, split, images, defect, masks)

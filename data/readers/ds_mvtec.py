"""DS-MVTec: MVTec AD as annotated anew by Defect Spectrum (Yang et al., 2024) and used by MMAD."""

from __future__ import annotations

from pathlib import Path

from data.masks import MaskFile
from data.readers.defect_names import readable
from data.readers.listing import check_mask_folders, list_folders, list_images, pair_masks
from data.readers.mvtec_layout import NORMAL, folder_samples
from data.sample import Sample

MASK_FOLDERS = ("mask", "rbg_mask", "rgb_mask")  # class indices; the same in colour, spelt either way


def read_ds_mvtec(root: Path) -> list[Sample]:
    """Lists DS-MVTec: `<category>/image/<good|defect>/000.png` with `<category>/mask/<defect>/000_mask.png`.

    Masks hold class indices (`> 0` is defect). Where a category came without `mask/`, its colour masks
    `{rbg,rgb}_mask/<defect>/000_{rbg,rgb}_mask.png` serve. Everything is in `test`.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    return [sample for category in list_folders(root) for sample in _read_category(root, category)]


def _read_category(root: Path, category: Path) -> list[Sample]:
    folders = list_folders(category / "image")
    found = [category / name for name in MASK_FOLDERS if (category / name).is_dir()]
    masks = found[0] if found else category / MASK_FOLDERS[0]
    check_mask_folders(masks, [folder.name for folder in folders])
    return [sample for folder in folders for sample in _read_folder(root, category, folder, masks)]


def _read_folder(root: Path, category: Path, folder: Path, mask_folder: Path) -> list[Sample]:
    images = list_images(folder)
    if folder.name == NORMAL:
        return folder_samples(root, "ds_mvtec", category.name, "test", images)
    pairs = pair_masks(images, mask_folder / folder.name, sorted({"", "_mask", f"_{mask_folder.name}"}))
    masks = {image: MaskFile(mask) for image, mask in pairs.items()}
    defect = readable("ds_mvtec", folder.name, category.name)
    return folder_samples(root, "ds_mvtec", category.name, "test", images, defect, masks)

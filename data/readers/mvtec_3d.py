"""MVTec 3D-AD (Bergmann et al., 2022), its RGB part."""

from __future__ import annotations

from pathlib import Path

from data.faults import report
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import NORMAL, folder_samples, mask_files
from data.readers.pairing import pair_masks
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
        report(
            "bad-annotation", folder, f"No colour images: {folder} has no folder 'rgb'. Download the category again."
        )
    images = list_images(folder / "rgb")
    if folder.name == NORMAL:
        return folder_samples(root, "mvtec_3d", category.name, split, images)
    masks = pair_masks(images, folder / "gt", ("_mask", ""))
    defect = readable("mvtec_3d", folder.name, category.name, folder)
    return folder_samples(root, "mvtec_3d", category.name, split, images, defect, mask_files(masks))

"""PD-REAL: Play-Doh objects (Qin et al., 2023), colour images only."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.faults import reporting
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import folder_samples, mask_files
from data.readers.pairing import pair_masks
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
    samples = []
    for category in list_folders(root):
        for split in list_folders(category):
            for folder in list_folders(split):
                with reporting("bad-annotation", folder):
                    samples += _read_folder(root, folder, images, masks, normal)
    return samples


def _read_folder(root: Path, folder: Path, images: str, masks: str, normal: str) -> list[Sample]:
    found = list_images(folder / images)
    if not found:
        raise UserError(
            f"No images in {folder / images}. If PD-REAL's colour images lie elsewhere, set the reader's options "
            "images, masks and normal to the names of your folders."
        )
    category, split, name = folder.relative_to(root).parts
    defect = None if name == normal else readable("pd_real", name, source=folder)
    paired = pair_masks(found, folder / masks, ("_mask", ""), required=defect is not None)
    if defect is None:
        return folder_samples(root, "pd_real", category, split, found)
    return folder_samples(root, "pd_real", category, split, found, defect, mask_files(paired))

"""RSDDs: rail surface discrete defects (Gan et al., 2017), two rail types; masks are JPEG files."""

from __future__ import annotations

from pathlib import Path

from data.readers.listing import list_images
from data.readers.mvtec_layout import folder_samples, mask_files
from data.readers.pairing import pair_masks
from data.sample import Sample

TYPES = {"Type-I RSDDs dataset": "type I rail", "Type-II RSDDs dataset": "type II rail"}
IMAGES, MASKS = "Rail surface images", "GroundTruth"
DEFECT = "surface defect"  # the set names no types


def read_rsdd(root: Path) -> list[Sample]:
    """Lists RSDDs: `<type>/Rail surface images/<name>.jpg` with the mask `<type>/GroundTruth/<name>.jpg` (`> 127`).

    Every image is defective. There is no official split: every sample is in `test`.

    Args:
        root: Folder that holds `Type-I RSDDs dataset` and `Type-II RSDDs dataset`, or one of them.

    Raises:
        UserError: If an image has no mask, or a mask no image.
    """
    return [sample for folder in TYPES for sample in _read_type(root, folder)]


def _read_type(root: Path, folder: str) -> list[Sample]:
    images = list_images(root / folder / IMAGES)
    masks = mask_files(pair_masks(images, root / folder / MASKS, ("",), suffix=".jpg"), threshold=127)
    return folder_samples(root, "rsdd", TYPES[folder], "test", images, DEFECT, masks)

"""A user's own product: in MVTec AD's layout, or flat: `images/` and `masks/`."""

from __future__ import annotations

from pathlib import Path

from data.errors import UserError
from data.faults import reporting
from data.masks import MaskFile
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import NORMAL, read_category
from data.readers.pairing import pair_masks
from data.sample import Sample


def read_folder(root: Path, *, defect: str = "defect", threshold: int = 0, good: str = NORMAL) -> list[Sample]:
    """Lists one product, or a folder of products; the folder's name is the category.

    A product with `images/` is flat: the mask of `images/a.jpg` is `masks/a.png` or `masks/a_mask.png`, an image
    without a mask is normal, and every sample is in `test`. One with `train/` or `test/` has MVTec AD's layout.

    Args:
        root: The product's folder, or a folder that holds one folder per product.
        defect: Name of the defects in the flat layout, which has none.
        threshold: Mask pixels above it are defect, 0..254.
        good: Name of the folders of normal images in MVTec AD's layout.

    Raises:
        UserError: If a product has neither layout or both, an image lies too deep, an image of a defect has no mask
            (MVTec layout), or a mask belongs to no image.
    """
    if not 0 <= threshold <= 254:
        raise UserError(f"Option threshold={threshold} of reader 'folder' must be within 0..254.")
    root = root if root.name.strip(".") else root.resolve()  # `.` has no name
    products = [root] if _layouts(root) else list_folders(root)
    samples = []
    for product in products:
        with reporting("bad-annotation", product):
            samples += _read_product(product, defect, threshold, good)
    return samples


def _layouts(product: Path) -> set[str]:
    """What marks the layouts that a product's folder has."""
    return {name for name in ("images", "test", "train") if (product / name).is_dir()}


def _read_product(product: Path, defect: str, threshold: int, good: str) -> list[Sample]:
    found = _layouts(product)
    if not found or ("images" in found and len(found) > 1):
        raise UserError(
            f"Not a product folder: {product} has {', '.join(sorted(found)) or 'neither images/ nor test/'}. Use "
            "either images/ and masks/, or MVTec AD's train/good, test/<good or defect>, ground_truth/<defect>."
        )
    if "images" in found:
        return _read_flat(product, defect, threshold)
    return read_category(product, "folder", threshold, good=good, hint=", or give the reader the option good=NAME")


def _read_flat(product: Path, defect: str, threshold: int) -> list[Sample]:
    for name in ("images", "masks"):
        if deeper := list_folders(product / name):
            raise UserError(f"A folder in {name}/: {deeper[0]}. Put the files directly into {product / name}.")
    images = list_images(product / "images")
    masks = pair_masks(images, product / "masks", required=False)
    return [
        Sample(
            id=f"folder/{product.name}/images/{image.name}",
            dataset="folder",
            category=product.name,
            split="test",
            image=image,
            defect=defect if mask else None,
            mask=MaskFile(mask, threshold) if mask else None,
        )
        for image, mask in zip(images, masks, strict=True)
    ]

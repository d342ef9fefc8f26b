"""MVTec AD, and any dataset in its layout: `<category>/{train,test}/<good|defect>`, `ground_truth/<defect>`."""

from __future__ import annotations

from pathlib import Path

from data.faults import report
from data.masks import MaskFile
from data.readers.listing import list_folders, list_images
from data.sample import Sample


def read_mvtec_ad(root: Path) -> list[Sample]:
    """Lists MVTec AD. The mask of `test/<defect>/000.png` is `ground_truth/<defect>/000_mask.png`.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no mask file.
    """
    return [
        sample
        for category in list_folders(root)
        for split in ("train", "test")
        for folder in list_folders(category / split)
        for sample in _read_folder(root, category, split, folder)
    ]


def _read_folder(root: Path, category: Path, split: str, folder: Path) -> list[Sample]:
    defect = None if folder.name == "good" else folder.name
    return [
        Sample(
            id=f"mvtec_ad/{image.relative_to(root).as_posix()}",
            dataset="mvtec_ad",
            category=category.name,
            split=split,
            image=image,
            defect=defect.replace("_", " ") if defect else None,
            mask=MaskFile(_find_mask(category, folder.name, image)) if defect else None,
        )
        for image in list_images(folder)
    ]


def _find_mask(category: Path, defect: str, image: Path) -> Path:
    mask = category / "ground_truth" / defect / f"{image.stem}_mask.png"
    if not mask.is_file():
        report("missing-mask", mask, f"Image without its mask: {image} needs {mask}. Add it, or remove the image.")
    return mask

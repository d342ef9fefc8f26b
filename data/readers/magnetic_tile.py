"""Magnetic-tile defects (Huang et al., "Saliency of magnetic tile surface defects", 2018)."""

from __future__ import annotations

from pathlib import Path

from data.masks import MaskFile
from data.readers.listing import list_folders, list_images
from data.readers.pairing import report_missing, report_orphan
from data.sample import Sample

CATEGORY = "magnetic tile"
NORMAL = "MT_Free"


def read_magnetic_tile(root: Path) -> list[Sample]:
    """Lists the set: `MT_<Defect>/Imgs/<name>.jpg` with the mask `<name>.png`, whose edges are soft (`> 127`).

    It has no official split: every sample is in `test`.

    Args:
        root: Folder that holds `MT_Blowhole`, …, `MT_Free`.

    Raises:
        UserError: If an anomalous image has no mask, or a mask no image.
    """
    folders = [folder for folder in list_folders(root) if folder.name.startswith("MT_")]
    return [sample for folder in folders for sample in _read_folder(root, folder)]


def _read_folder(root: Path, folder: Path) -> list[Sample]:
    files = list_images(folder / "Imgs")
    images = [path for path in files if path.suffix.lower() == ".jpg"]
    stems = {image.stem for image in images}
    for mask in files:
        if mask.stem not in stems:
            report_orphan(mask)
    return [_read_image(root, folder.name, image) for image in images]


def _read_image(root: Path, folder: str, image: Path) -> Sample:
    mask, normal = image.with_suffix(".png"), folder == NORMAL
    found = not normal and mask.is_file()
    if not normal and not found:
        report_missing(image, mask)
    return Sample(
        id=f"magnetic_tile/{image.relative_to(root).as_posix()}",
        dataset="magnetic_tile",
        category=CATEGORY,
        split="test",
        image=image,
        defect=None if normal else folder.removeprefix("MT_").lower(),
        mask=MaskFile(mask, threshold=127) if found else None,
    )

"""Magnetic-tile defects (Huang et al., "Saliency of magnetic tile surface defects", 2018)."""

from __future__ import annotations

from pathlib import Path

from data.faults import report
from data.masks import MaskFile
from data.readers.listing import list_folders, list_images
from data.sample import Sample

CATEGORY = "magnetic tile"
NORMAL = "MT_Free"


def read_magnetic_tile(root: Path) -> list[Sample]:
    """Lists the set: `MT_<Defect>/Imgs/<name>.jpg` with the mask `<name>.png`, whose edges are soft (`> 127`).

    It has no official split: every sample is in `test`.

    Args:
        root: Folder that holds `MT_Blowhole`, …, `MT_Free`.

    Raises:
        UserError: If an anomalous image has no mask file.
    """
    return [
        _read_image(root, folder.name, image)
        for folder in list_folders(root)
        if folder.name.startswith("MT_")
        for image in list_images(folder / "Imgs")
        if image.suffix.lower() == ".jpg"
    ]


def _read_image(root: Path, folder: str, image: Path) -> Sample:
    mask = image.with_suffix(".png")
    if folder != NORMAL and not mask.is_file():
        report("missing-mask", mask, f"Image without its mask: {image} needs {mask}. Add it, or remove the image.")
    return Sample(
        id=f"magnetic_tile/{image.relative_to(root).as_posix()}",
        dataset="magnetic_tile",
        category=CATEGORY,
        split="test",
        image=image,
        defect=None if folder == NORMAL else folder.removeprefix("MT_").lower(),
        mask=None if folder == NORMAL else MaskFile(mask, threshold=127),
    )

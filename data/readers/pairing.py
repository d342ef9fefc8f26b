"""Which mask belongs to which image: they share the stem."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from data.faults import report
from data.readers.listing import list_folders, list_images

ENDINGS = ("", "_mask")


def pair_masks(
    images: Sequence[Path],
    folder: Path,
    endings: Sequence[str] = ENDINGS,
    *,
    suffix: str = ".png",
    required: bool = True,
) -> list[Path | None]:
    """Finds the mask of each image by its stem, whatever the suffixes and their case.

    Args:
        images: Images, all from one folder.
        folder: Folder that holds their masks and no others.
        endings: What may follow the image's stem in the mask's; the last one is the usual one.
        suffix: The masks' usual suffix, for the message about a missing one.
        required: Whether every image must have one.

    Returns:
        The mask of each image, in order; None where it has none.

    Raises:
        UserError: If a required mask is missing, an image has several, a mask has no image, or two images the same
            stem.
    """
    index: dict[str, int] = {}
    for number, image in enumerate(images):
        if index.setdefault(image.stem, number) != number:
            twin = images[index[image.stem]]
            report("bad-annotation", image, f"Two images of one name: {twin} and {image}. Rename one and its mask.")
    masks: list[Path | None] = [None] * len(images)
    shortest_first = sorted(endings, key=len)
    for mask in list_images(folder):
        found = _find_image(mask.stem, index, shortest_first)
        if found is None:
            report_orphan(mask)
        elif first := masks[found]:
            message = f"Two masks for one image: {first} and {mask} for {images[found]}. Remove one of them."
            report("bad-annotation", mask, message)
        else:
            masks[found] = mask
    if required:
        for image, paired in zip(images, masks, strict=True):
            if paired is None:
                report_missing(image, folder / f"{image.stem}{endings[-1]}{suffix}")
    return masks


def _find_image(stem: str, index: dict[str, int], endings: Sequence[str]) -> int | None:
    """The number of the image that a mask's stem names, with one of the endings after it."""
    for ending in endings:
        if stem.endswith(ending) and (found := index.get(stem[: len(stem) - len(ending)])) is not None:
            return found
    return None


def check_mask_folders(folder: Path, defects: Collection[str]) -> None:
    """Refuses the masks of a defect that has no folder of images; those of `good` may be there, all zero.

    Args:
        folder: Folder that holds a folder of masks per defect.
        defects: Names of the image folders.

    Raises:
        UserError: Naming the mask.
    """
    for masks in list_folders(folder):
        if masks.name not in defects and masks.name != "good":
            report_orphans(masks)


def report_orphans(folder: Path) -> None:
    """Reports all masks in a folder, at most one level deeper.

    Raises:
        UserError: When nobody collects faults.
    """
    for place in (folder, *list_folders(folder)):
        for mask in list_images(place):
            report_orphan(mask)


def report_missing(image: Path, mask: Path) -> None:
    """Reports an anomalous image whose mask is not there.

    Raises:
        UserError: When nobody collects faults.
    """
    message = f"Image without its mask: {image} needs {mask}. Add the mask, or remove the image."
    report("missing-mask", mask, message, image)


def report_orphan(mask: Path) -> None:
    """Reports a mask that belongs to no image.

    Raises:
        UserError: When nobody collects faults.
    """
    report("orphan-mask", mask, f"Mask without its image: {mask}. Add the image it belongs to, or remove the mask.")

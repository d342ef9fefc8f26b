"""MVTec LOCO AD: logical and structural anomalies (Bergmann et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.errors import UserError
from data.faults import report, reporting
from data.files import read_json
from data.masks import MaskFiles
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import NORMAL, folder_samples
from data.readers.pairing import check_mask_folders, report_orphans
from data.sample import Sample


def read_mvtec_loco(root: Path) -> list[Sample]:
    """Lists MVTec LOCO: the mask of `test/<type>/000.png` is the union of the files in `ground_truth/<type>/000/`.

    The defect of a sample is its folder's: a logical or a structural anomaly. The fine name lies in the pixel values
    of its masks, so it takes decoding: `data.masks.mask_defects(sample.mask)`, by `<category>/defects_config.json`.

    Args:
        root: Folder that holds one folder per category.

    Raises:
        UserError: If an anomalous image has no masks, masks have no image, or the JSON is malformed.
    """
    return [sample for category in list_folders(root) for sample in _read_category(root, category)]


def _read_category(root: Path, category: Path) -> list[Sample]:
    names: tuple[tuple[int, str], ...] = ()
    config = category / "defects_config.json"
    if config.is_file():
        with reporting("unreadable-annotation", config):
            names = _read_names(config, category.name)
    splits = ("train", "validation", "test")
    folders = [(split, folder) for split in splits for folder in list_folders(category / split)]
    check_mask_folders(category / "ground_truth", {folder.name for _, folder in folders})
    return [sample for split, folder in folders for sample in _read_folder(root, category, split, folder, names)]


def _read_names(path: Path, category: str) -> tuple[tuple[int, str], ...]:
    """Pixel value → readable name. The file is missing in some copies: then only the fine names are."""
    entries = read_json(path)
    try:
        return tuple(
            (int(entry["pixel_value"]), readable("mvtec_loco", entry["defect_name"], category)) for entry in entries
        )
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"Not a defects config: {path}. Expected a list of objects with 'defect_name' and 'pixel_value'. "
            "Download it again."
        ) from error


def _read_folder(
    root: Path, category: Path, split: str, folder: Path, names: tuple[tuple[int, str], ...]
) -> list[Sample]:
    images = list_images(folder)
    if folder.name == NORMAL:
        return folder_samples(root, "mvtec_loco", category.name, split, images)
    found = _find_masks(images, category / "ground_truth" / folder.name)
    masks = [MaskFiles(paths, names=names) if paths else None for paths in found]
    defect = readable("mvtec_loco", folder.name, category.name, folder)
    return folder_samples(root, "mvtec_loco", category.name, split, images, defect, masks)


def _find_masks(images: Sequence[Path], folder: Path) -> list[tuple[Path, ...]]:
    """The mask files of each image: all files in the folder of its stem."""
    masks = [tuple(list_images(folder / image.stem)) for image in images]
    for image, paths in zip(images, masks, strict=True):
        if not paths:
            own = folder / image.stem
            message = f"Image without its masks: {image} needs files in {own}. Add them, or remove the image."
            report("missing-mask", own, message, image)
    stems = {image.stem for image in images}
    for orphan in list_folders(folder):
        if orphan.name not in stems:
            report_orphans(orphan)
    return masks

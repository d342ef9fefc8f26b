"""MVTec LOCO AD: logical and structural anomalies (Bergmann et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.errors import UserError
from data.faults import report, reporting
from data.files import read_json
from data.masks import MaskFiles
from data.pixels.levels import decode_levels
from data.readers.defect_names import readable
from data.readers.listing import list_folders, list_images
from data.readers.mvtec_layout import NORMAL, folder_samples
from data.readers.pairing import check_mask_folders, report_orphans
from data.sample import MaskArray, Sample

CONFIG = "defects_config.json"


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
    config = category / CONFIG
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


def saturation_areas(sample: Sample) -> list[tuple[MaskArray, int]]:
    """The defects of an image, each with the pixels that have to be marked for it to count as found (sPRO).

    Each mask file is one defect, however many parts it has; its pixel value says which entry of
    `<category>/defects_config.json` is its. A relative area is that share of the defect's pixels, rounded down, at
    least one; an absolute one is at most all of them.

    Returns:
        Masks, (H, W) bool, and areas in pixels.

    Raises:
        UserError: If the file is missing or malformed, or does not fit the masks.
    """
    if not isinstance(sample.mask, MaskFiles):
        raise UserError(f"No saturation areas of {sample.id}: only MVTec LOCO has them, one file a defect.")
    config = sample.mask.path.parents[2] / CONFIG
    if not config.is_file():
        raise UserError(
            f"No saturation areas at {config}, which comes with MVTec LOCO. Add it, or leave out spro_limit=."
        )
    known = _read_saturations(config)
    found = []
    for path in sample.mask.paths:
        levels = decode_levels(path)
        values = np.unique(levels[levels > 0]).tolist()
        if len(values) > 1 or not set(values) <= known.keys():
            raise UserError(
                f"{config} does not fit {path}: the mask has pixel values {values}, the file knows {sorted(known)}, "
                "and a mask shows one defect. Take both from the same download."
            )
        for value in values:
            mask = levels > 0
            threshold, relative = known[value]
            whole = int(np.count_nonzero(mask))
            found.append((mask, max(1, int(threshold * whole)) if relative else min(int(threshold), whole)))
    return found


def _read_saturations(path: Path) -> dict[int, tuple[float, bool]]:
    """Pixel value → area, and whether it is a share."""
    known = {}
    try:
        for entry in read_json(path):
            threshold, relative = float(entry["saturation_threshold"]), bool(entry["relative_saturation"])
            if not (0 < threshold <= 1 if relative else threshold >= 1):
                raise ValueError(f"saturation_threshold {threshold}")
            known[int(entry["pixel_value"])] = threshold, relative
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"No saturation areas in {path} ({error!r}). Expected of each defect 'pixel_value', 'relative_saturation' "
            "and 'saturation_threshold', in pixels or a share in (0, 1]. Download it again."
        ) from error
    return known


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

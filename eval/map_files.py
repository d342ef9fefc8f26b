"""Anomaly maps of any other method, one file an image: `.npy`, `.tiff`, `.tif` or `.png` at the image's own path.

Floating-point files are taken as they are. An 8-bit PNG or TIFF is divided by 255, a 16-bit one by 65535, so that
both mean 0..1; nothing is stretched per image, which would make scores of different images incomparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data.errors import UserError
from data.sample import Sample

SUFFIXES = (".npy", ".tiff", ".tif", ".png")
SHOWN = 5  # names in an error message


@dataclass(frozen=True, slots=True)
class MapFiles:
    """The map file of each sample, and those that belong to no listed sample.

    Attributes:
        paths: Sample id → file.
        unused: Files of images that the evaluation leaves out (another split or category, or skipped by rule).
        extra: Files that belong to no image of the dataset.
    """

    paths: dict[str, Path]
    unused: list[Path]
    extra: list[Path]


def find_maps(folder: Path, root: Path, samples: Sequence[Sample], all_images: Sequence[Path]) -> MapFiles:
    """Pairs samples with map files: `<root>/a/b/000.jpg` with `<folder>/a/b/000.npy` (or another known suffix).

    Args:
        folder: Folder of the maps.
        root: Folder of the dataset.
        samples: What is evaluated.
        all_images: Every image of the dataset, evaluated or not.

    Raises:
        UserError: If the folder is missing or is the dataset itself, or an image has no map or several.
    """
    if not folder.is_dir():
        raise UserError(f"No folder of anomaly maps at {folder}. Check maps=.")
    if folder.resolve() == root.resolve():
        raise UserError(f"maps= and data_root= are the same folder, {folder}: the images would be scored as maps.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    keys = {sample.id: _key(sample.image, root) for sample in samples}
    _refuse([f"{key} for {s.image}" for s in samples if (key := keys[s.id]) not in found], "images have no map", folder)
    several = [", ".join(map(str, found[key])) for key in keys.values() if len(found[key]) > 1]
    _refuse(several, "images have several maps", folder)
    twice: dict[str, list[str]] = {}
    for sample in samples:
        twice.setdefault(keys[sample.id], []).append(str(sample.image))
    _refuse([" and ".join(names) for names in twice.values() if len(names) > 1], "maps fit several images", folder)
    known = {_key(image, root) for image in all_images}
    wanted = set(keys.values())
    others = [(key, path) for key, paths in found.items() if key not in wanted for path in paths]
    return MapFiles(
        {sample_id: found[key][0] for sample_id, key in keys.items()},
        [path for key, path in others if key in known],
        [path for key, path in others if key not in known],
    )


def read_map(path: Path) -> NDArray[np.floating]:
    """Decodes a map: (H, W) float16, float32 or float64.

    Raises:
        UserError: If the file does not decode, or is not one channel of real numbers in a known type.
    """
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"Unreadable anomaly map: {path} ({error}). Save it again with numpy.save.") from error
    else:
        stored = np.fromfile(path, np.uint8)
        decoded = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if stored.size else None
        if decoded is None:
            raise UserError(f"Unreadable anomaly map: {path} does not decode. Write it again.")
        values = decoded
    if values.ndim != 2:
        raise UserError(f"The anomaly map has shape {values.shape}, not (H, W): {path}. Save one channel.")
    if values.dtype in (np.uint8, np.uint16) and path.suffix.lower() != ".npy":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise UserError(f"The anomaly map is {values.dtype}, not floating point: {path}. Save it as float32.")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def list_some(names: Sequence[object]) -> str:
    """The first few of some names, and how many more there are."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return "; ".join(str(name) for name in names[:SHOWN]) + more


def _key(image: Path, root: Path) -> str:
    return image.relative_to(root).with_suffix("").as_posix()


def _refuse(names: Sequence[str], what: str, folder: Path) -> None:
    if names:
        suffixes = ", ".join(SUFFIXES)
        raise UserError(
            f"{len(names)} {what} in {folder}: {list_some(names)}. Every image needs one map ({suffixes}) at its own "
            "path below data_root."
        )

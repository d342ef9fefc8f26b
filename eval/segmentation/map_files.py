"""Anomaly maps of any other method, one file an image: `.npy`, `.tiff`, `.tif` or `.png` at the image's own path.

How a file is read: `models.experts.map_file`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.sample import Sample
from models.experts.map_file import SUFFIXES

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

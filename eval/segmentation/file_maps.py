"""Anomaly maps of any other method, one file an image: `.npy`, `.tiff`, `.tif` or `.png` at the image's own path.

How a file is read: `models.experts.map_file`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import UserError
from data.sample import Sample
from data.source import Listing
from eval.segmentation.driver import list_some
from models.experts.map_file import SUFFIXES


@dataclass(frozen=True, slots=True)
class FileMaps:
    """The map file of each sample, and those that belong to no listed sample.

    Attributes:
        folder: Folder of the maps.
        files: Sample id → file.
        unused: Files of images that the evaluation leaves out (another split or category, or skipped by rule).
        extra: Files that belong to no image of the dataset.
    """

    folder: Path
    files: dict[str, Path]
    unused: list[Path]
    extra: list[Path]

    def check_extra(self, allow: bool) -> None:
        """Refuses maps that belong to no image.

        Raises:
            UserError: Naming the first few.
        """
        if self.extra and not allow:
            raise UserError(
                f"{len(self.extra)} maps in {self.folder} belong to no image of the dataset: {list_some(self.extra)}. "
                "Remove them, or let them be counted only: allow_extra_maps=true."
            )

    def facts(self) -> dict[str, Any]:
        """What the summary says about the maps."""
        return {
            "maps": str(self.folder.resolve()),
            "unused_maps": len(self.unused),
            "extra_maps": [str(path) for path in self.extra],
            "map_files": dict(Counter(path.suffix.lower() for path in self.files.values())),
        }


def find_maps(folder: Path, root: Path, samples: Sequence[Sample], whole: Listing) -> FileMaps:
    """Pairs samples with map files: `<root>/a/b/000.jpg` with `<folder>/a/b/000.npy` (or another known suffix).

    Args:
        folder: Folder of the maps.
        root: Folder of the dataset.
        samples: What is evaluated.
        whole: Everything that the dataset holds, evaluated or not, or skipped by its reader.

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
    known = {_key(sample.image, root) for sample in whole.samples}
    known |= {PurePosixPath(*PurePosixPath(name).parts[1:]).with_suffix("").as_posix() for name, _ in whole.skipped}
    wanted = set(keys.values())
    others = [(key, path) for key, paths in found.items() if key not in wanted for path in paths]
    return FileMaps(
        folder,
        {sample_id: found[key][0] for sample_id, key in keys.items()},
        [path for key, path in others if key in known],
        [path for key, path in others if key not in known],
    )


def _key(image: Path, root: Path) -> str:
    """The path of an image below the dataset's root, which a reader may have resolved (`data_root=.`)."""
    return image.relative_to(root if image.is_relative_to(root) else root.resolve()).with_suffix("").as_posix()


def _refuse(names: Sequence[str], what: str, folder: Path) -> None:
    if names:
        suffixes = ", ".join(SUFFIXES)
        raise UserError(
            f"{len(names)} {what} in {folder}: {list_some(names)}. Every image needs one map ({suffixes}) at its own "
            "path below data_root."
        )

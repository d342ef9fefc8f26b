"""Sorted listings and the checks of paths, shared by the readers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from data.errors import UserError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, hidden ones left out; empty without the folder.

    Raises:
        UserError: If an image is a link that leads nowhere.
    """
    names = sorted(
        entry.name
        for entry in _entries(folder)
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not _is_folder(entry)  # noqa: PTH122  (fast)
    )
    return [folder / name for name in names]


def list_folders(folder: Path) -> list[Path]:
    """Sub-folders of a folder, sorted by name, hidden ones left out; empty when the folder does not exist.

    Raises:
        UserError: If a link leads nowhere, or back to a folder that it lies in.
    """
    return sorted(Path(entry.path) for entry in _entries(folder) if _is_folder(entry))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if not folder.is_dir():
        if folder.is_symlink():
            _check_link(folder)
        return
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        _check_link(Path(entry.path))
    return entry.is_dir()


def _check_link(link: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # missing, or a link to itself
        raise UserError(f"Broken link: {link} leads nowhere. Restore what it points to, or delete the link.") from error
    if link.parent.resolve().is_relative_to(target):
        raise UserError(f"Link in a loop: {link} leads back to {target}, which it lies in. Delete the link.")


def path_inside(root: Path, relative: str, table: Path) -> Path:
    """The path that a table of the dataset names, below the dataset's root.

    Raises:
        UserError: If it is empty or absolute, or climbs out with `..`.
    """
    parts = PurePosixPath(relative.replace("\\", "/"))
    if not parts.parts or parts.is_absolute() or PureWindowsPath(relative).drive or ".." in parts.parts:
        raise UserError(f"Path outside the dataset: '{relative}' in {table}. Correct the line, or download it again.")
    return root / parts


def pair_masks(images: Sequence[Path], folder: Path, endings: Sequence[str] = ("", "_mask")) -> dict[Path, Path]:
    """Finds the mask of each image by its stem.

    Args:
        images: Images, all from one folder.
        folder: Folder that holds their masks and no others.
        endings: What may follow the image's stem in the mask's.

    Raises:
        UserError: If an image has no mask or several, a mask no image, or two images the same stem.
    """
    masks = _by_stem(list_images(folder), "masks")
    pairs = {}
    for stem, image in _by_stem(images, "images").items():
        found = [masks[stem + ending] for ending in endings if stem + ending in masks]
        if not found:
            needed = folder / f"{stem}{endings[-1]}.png"
            raise UserError(f"Image without its mask: {image} needs {needed}. Add the mask, or remove the image.")
        if len(found) > 1:
            raise UserError(f"Two masks for {image}: {found[0]} and {found[1]}. Remove the wrong one.")
        pairs[image] = found[0]
    if orphans := sorted(set(masks.values()) - set(pairs.values())):
        raise UserError(f"Mask without its image: {orphans[0]} ({len(orphans)} in all). Add the images, or remove it.")
    return pairs


def _by_stem(paths: Sequence[Path], what: str) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise UserError(f"Two {what} of one name: {stems[path.stem]} and {path}. Rename or remove one of them.")
        stems[path.stem] = path
    return stems


def check_mask_folders(folder: Path, defects: Sequence[str]) -> None:
    """Refuses a folder of masks that has no folder of images; one for `good` may hold all-zero masks.

    Args:
        folder: Folder that holds a folder of masks per defect.
        defects: Names of the image folders.

    Raises:
        UserError: Naming the folder.
    """
    for masks in list_folders(folder):
        if masks.name not in defects and masks.name != "good":
            raise UserError(f"Masks without their images: {masks}. Add the folder of images, or remove the masks.")

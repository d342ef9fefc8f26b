"""Sorted listings, shared by the readers, and what a reader that leaves something out returns."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.sample import Sample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something a dataset holds that its reader leaves out by rule.

    Attributes:
        id: The id its sample would have, or the sample's id with what was left out of it.
        reason: The rule, in words.
        category: Object type it belongs to.
        split: Split it belongs to.
    """

    id: str
    reason: str
    category: str
    split: str


@dataclass(frozen=True, slots=True)
class Listed:
    """What a reader with a leave-out rule returns instead of a plain list of samples."""

    samples: list[Sample]
    skipped: list[Skipped]


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, hidden ones left out; empty when the folder does not exist.

    Raises:
        UserError: If an image is a broken link or a link to itself, or the folder cannot be read.
    """
    return [folder / name for name in list_names(folder) if _is_image(name)]


def list_files(folder: Path, suffix: str = "") -> list[Path]:
    """Like `list_images`, for files of any kind, or of one suffix."""
    return [folder / name for name in list_names(folder) if name.endswith(suffix)]


def list_names(folder: Path) -> list[str]:
    """Like `list_images`, for the bare names of files of any kind."""
    return _names(folder, files=True)


def list_folders(folder: Path) -> list[Path]:
    """Sub-folders of a folder, sorted by name, hidden ones left out; empty when the folder does not exist.

    Raises:
        UserError: If a link leads back to the folder or above it, or to nothing; or the folder cannot be read.
    """
    return [folder / name for name in _names(folder, files=False)]


def index_by_stem(images: Sequence[Path]) -> dict[str, Path]:
    """Images by stem, in the same order.

    Raises:
        UserError: If two images share a stem.
    """
    by_stem: dict[str, Path] = {}
    for image in images:
        if by_stem.setdefault(image.stem, image) is not image:
            raise UserError(f"Two images of one name: {by_stem[image.stem]} and {image}. Rename one and its mask.")
    return by_stem


def match_masks(images: Sequence[Path], masks: Iterable[Path], ending: str = "") -> dict[str, Path]:
    """Masks by the stem of the image they belong to, whatever the suffixes and their case.

    Args:
        images: Images; the stem of one without a mask is absent from the result.
        masks: Masks; each must belong to an image.
        ending: What the masks' stems have after the image's; a mask without it is accepted as well.

    Raises:
        UserError: If a mask belongs to no image, two masks belong to one, or two images share a stem.
    """
    by_stem = index_by_stem(images)
    matched: dict[str, Path] = {}
    for mask in masks:
        stem = mask.stem if mask.stem in by_stem else mask.stem.removesuffix(ending)
        if stem not in by_stem:
            raise UserError(f"Mask for no image: {mask}. Add the image it belongs to, or remove the mask.")
        if matched.setdefault(stem, mask) is not mask:
            raise UserError(f"Two masks for one image: {matched[stem]} and {mask}. Remove one of them.")
    return matched


def missing_mask(image: Path, mask: Path) -> UserError:
    """The error for an anomalous image whose mask is not there."""
    return UserError(f"Image without its mask: {image} needs {mask}. Add the mask, or remove the image.")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _names(folder: Path, *, files: bool) -> list[str]:
    """Names of the files, or of the folders, in a folder, from one directory scan that stats nothing but links."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    return sorted(entry.name for entry in visible if _is_wanted(entry, files))


def _is_wanted(entry: os.DirEntry[str], files: bool) -> bool:
    try:
        if not entry.is_symlink():
            return entry.is_file() if files else entry.is_dir()
        if entry.is_dir():
            return not files and _leads_down(Path(entry.path))
        if entry.is_file():
            return files
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from error
    raise UserError(f"Broken link: {entry.path} leads to nothing. Remove it, or restore its target.")


def _leads_down(link: Path) -> bool:
    if link.resolve() in (link.parent.resolve(), *link.parent.resolve().parents):
        raise UserError(f"Symlink loop: {link} leads back to {link.resolve()}, which holds it. Remove the link.")
    return True


def _unreadable(path: Path, error: OSError) -> UserError:
    if error.errno == errno.ELOOP:
        return UserError(f"Symlink loop: {path} leads to itself. Remove the link.")
    return UserError(f"Cannot read {path}: {error.strerror}. Check the permissions and the disk.")

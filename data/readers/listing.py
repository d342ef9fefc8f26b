"""Sorted listings, shared by the readers, and what a reader that leaves something out returns."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.faults import report
from data.sample import Sample

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
JUNK = {  # left behind by systems, browsers and notebooks, in lower case
    *("thumbs.db", "desktop.ini", ".ds_store", "__macosx", ".ipynb_checkpoints", "@eadir", "#recycle", "$recycle.bin"),
    *("lost+found", "system volume information", ".trashes", ".spotlight-v100", ".fseventsd"),
}
JUNK_SUFFIXES = (".part", ".crdownload", ".tmp", ".download", "~")


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


Reader = Callable[..., list[Sample] | Listed]  # takes the root, and its options by keyword


def is_junk(name: str) -> bool:
    """Whether a file or folder is no part of a dataset, by its bare name: readers skip it, the doctor counts it."""
    lower = name.lower()
    return lower in JUNK or lower.startswith("._") or lower.endswith(JUNK_SUFFIXES)


def list_images(folder: Path) -> list[Path]:
    """Image files directly in a folder, sorted by name, hidden ones and junk left out; empty where there is no folder.

    Raises:
        UserError: If an image is a broken link or a link to itself, or the folder cannot be read.
    """
    return [folder / name for name in list_names(folder) if name.lower().endswith(IMAGE_SUFFIXES)]


def list_files(folder: Path, suffix: str = "") -> list[Path]:
    """Like `list_images`, for files of any kind, or of one suffix."""
    return [folder / name for name in list_names(folder) if name.endswith(suffix)]


def list_names(folder: Path) -> list[str]:
    """Like `list_images`, for the bare names of files of any kind."""
    return _names(folder, files=True)


def list_folders(folder: Path) -> list[Path]:
    """Sub-folders of a folder, sorted by name, hidden ones and junk left out; empty when the folder does not exist.

    Raises:
        UserError: If a link leads back to the folder or above it, or to nothing; or the folder cannot be read.
    """
    return [folder / name for name in _names(folder, files=False)]


def _names(folder: Path, *, files: bool) -> list[str]:
    """Names of the files, or of the folders, in a folder, from one directory scan that stats nothing but links."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".") and not is_junk(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_symlink():
            _report_broken(folder)
        return []
    except OSError as error:
        _report_unreadable(folder, error)
        return []
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
        _report_unreadable(Path(entry.path), error)
        return False
    _report_broken(Path(entry.path))
    return False


def _leads_down(link: Path) -> bool:
    target, place = link.resolve(), link.parent.resolve()
    if place.is_relative_to(target):
        report("symlink-loop", link, f"Symlink loop: {link} leads back to {target}, which holds it. Remove the link.")
        return False
    return True


def _report_broken(link: Path) -> None:
    report("broken-link", link, f"Broken link: {link} leads to nothing. Remove it, or restore its target.")


def _report_unreadable(path: Path, error: OSError) -> None:
    if error.errno == errno.ELOOP:
        report("symlink-loop", path, f"Symlink loop: {path} leads to itself. Remove the link.")
    else:
        message = f"Cannot read {path}: {error.strerror}. Check the permissions and the disk."
        report("permission-denied", path, message)

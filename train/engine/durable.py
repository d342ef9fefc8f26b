"""Files that outlive a crash of the machine, and whether there is room for the next ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from data.errors import UserError

MARGIN = 16 << 20  # bytes; logs, tokenizer files and what a file system needs for itself


def sync(path: Path) -> None:
    """Returns when a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> list[Path]:
    """Returns the files under a directory, sorted, when all of them and their names are on the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        sync(path)
    for inner in sorted({folder, *(path.parent for path in files)}):
        sync(inner)
    return files


def replace_durably(partial: Path, target: Path) -> None:
    """Renames what is on the disk before its name is: a file, or a directory after `sync_tree`, to a free name."""
    sync(partial)
    partial.replace(target)
    sync(target.parent)


def check_space(folder: Path, needed: int, *, what: str) -> int:
    """Checks that there is room before anything is trained; returns the free bytes.

    Args:
        folder: An existing folder on the disk in question.
        needed: Bytes of what will be written.
        what: What will be written, for the message.

    Raises:
        UserError: If there is too little room.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        raise UserError(
            f"Too little disk for {what}: {folder} has {free / 2**20:.0f} MiB free, and "
            f"{(needed + MARGIN) / 2**20:.0f} MiB are needed. Free some space, or give another run_dir."
        )
    return free

"""Photos of a log on their way into a dataset: names of files, and their bytes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath

import cv2

from data.files import make_dir, write_bytes
from data.processes.aside import written_aside
from data.readers.listing import IMAGE_SUFFIXES
from data.sample import load_image
from eval.judgements.truth import Told

LONGEST = 60  # characters of a name that stay
TOLD_APART = 12  # hex digits of the hash, which keep photos of one name apart


def safe_name(name: str, other: str) -> str:
    """A name that is one of a file or a folder and no more, whatever a person wrote; `other` where nothing is left."""
    return re.sub(r"[^\w-]+", "_", name)[:LONGEST].strip("_") or other


def stem_of(told: Told) -> str:
    """The stem of a photo's file: its own, and the beginning of its hash."""
    stem = PurePosixPath(told.judgement.photo.replace("\\", "/")).stem
    return f"{safe_name(stem, 'photo')}_{told.judgement.image_hash[:TOLD_APART]}"


def place_photo(told: Told, folder: Path) -> Path:
    """Copies a photo to a folder: its bytes, or a PNG where its format is one that no reader lists.

    Raises:
        UserError: If it cannot be written.
    """
    suffix = told.image.suffix if told.image.suffix in IMAGE_SUFFIXES else ".png"
    path = folder / f"{stem_of(told)}{suffix}"
    if suffix == told.image.suffix:
        copy_file(told.image, path)
    else:
        pixels = cv2.cvtColor(load_image(told.image), cv2.COLOR_RGB2BGR)
        write_bytes(path, cv2.imencode(".png", pixels)[1].tobytes(), durable=False)
    return path


def copy_file(source: Path, path: Path) -> None:
    """Copies a file; whoever sees it sees it whole.

    Raises:
        UserError: If it cannot be written.
    """
    make_dir(path.parent)
    with written_aside(path, durable=False) as temporary:
        shutil.copyfile(source, temporary)

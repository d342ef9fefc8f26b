"""Which photos are inspected: one file, a folder with all that is below it, or what a pattern matches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from data.faults import collect_faults
from data.readers.listing import IMAGE_SUFFIXES, is_junk, list_folders, list_images

MAGIC = "*?["


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo.

    Attributes:
        name: Its path below the folder that was given, in POSIX form: unique.
        path: Its file.
    """

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Photos:
    """What was found.

    Attributes:
        photos: In the order of their names.
        broken: Name and message of what is there, but cannot be read: broken links, folders without permission.
        skipped: Why something was passed over → how often.
    """

    photos: list[Photo]
    broken: list[tuple[str, str]] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)


def find_photos(images: str, leave_out: Sequence[Path] = ()) -> Photos:
    """Lists the photos of a file, a folder or a pattern; decodes none.

    Args:
        images: Path of a file or a folder, or a pattern with `*`, `?`, `[…]` or `**`.
        leave_out: Folders to pass over, such as the one that results are written to.

    Raises:
        UserError: If nothing is there, or nothing that is there is an image.
    """
    path = Path(images)
    if path.is_file():
        return Photos([Photo(path.name, path)])
    if path.is_dir():
        found = _walk(path, [folder.resolve() for folder in leave_out])
    elif any(sign in images for sign in MAGIC):
        found = _match(images, [folder.resolve() for folder in leave_out])
    else:
        raise UserError(f"Missing image: {images}. Give a file, a folder, or a pattern such as 'photos/*.jpg'.")
    if not found.photos and not found.broken:
        passed = "; ".join(f"{count} {why}" for why, count in found.skipped.items())
        raise UserError(
            f"No images in {images}{f' ({passed})' if passed else ''}. Images end in {', '.join(IMAGE_SUFFIXES)}."
        )
    return found


def _walk(root: Path, leave_out: Sequence[Path]) -> Photos:
    photos: list[Photo] = []
    skipped: Counter[str] = Counter()
    waiting = [root]
    with collect_faults() as faults:
        while waiting:
            folder = waiting.pop()
            if folder != root and folder.resolve() in leave_out:
                skipped["folder of results"] += 1
                continue
            images, folders = list_images(folder), list_folders(folder)
            photos += [Photo(image.relative_to(root).as_posix(), image) for image in images]
            waiting += folders
            _count_others(folder, len(images) + len(folders), skipped)
    broken = {(_below(fault.file, root), fault.message) for fault in faults}
    return Photos(sorted(photos, key=lambda photo: photo.name), sorted(broken), dict(skipped))


def _count_others(folder: Path, used: int, skipped: Counter[str]) -> None:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return  # reported by the listing
    junk = sum(is_junk(name) or name.startswith(".") for name in names)
    skipped["hidden or left behind by a system"] += junk
    skipped["no images"] += max(0, len(names) - junk - used)
    for why in [why for why, count in skipped.items() if not count]:
        del skipped[why]


def _match(pattern: str, leave_out: Sequence[Path]) -> Photos:
    parts = Path(pattern).parts
    plain = next(index for index, part in enumerate(parts) if any(sign in part for sign in MAGIC))
    root = Path(*parts[:plain]) if plain else Path()
    photos: list[Photo] = []
    skipped: Counter[str] = Counter()
    for path in sorted(set(root.glob(str(Path(*parts[plain:]))))):
        below = path.relative_to(root)
        if path.is_dir():
            continue
        if any(is_junk(part) or part.startswith(".") for part in below.parts):
            skipped["hidden or left behind by a system"] += 1
        elif any(parent.resolve() in leave_out for parent in path.parents):
            skipped["folder of results"] += 1
        elif not path.name.lower().endswith(IMAGE_SUFFIXES):
            skipped["no images"] += 1
        else:
            photos.append(Photo(below.as_posix(), path))
    return Photos(photos, [], dict(skipped))


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

"""Photos as people hand them in: bounded in number and size, each once, and what is refused is named with its reason.

What is asked of a file here is cheap: its bytes and its header. Decoding it is the inspection's work.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError, brief
from data.files import hash_file
from data.image_size import read_size

MILLION = 1_000_000
FRESH = "Start over, or open another tab."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may be handed in.

    Attributes:
        photos: Most photos of one tab.
        megapixels: Most pixels of one tab's photos together, in millions.
        megabytes: Largest file, in 10⁶ bytes.
    """

    photos: int
    megapixels: int
    megabytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that may be looked at.

    Attributes:
        name: How the person calls it: its bare name, which never becomes a path.
        path: Where it lies here.
        image_hash: SHA-256 of its bytes.
        pixels: Number of its pixels.
    """

    name: str
    path: Path
    image_hash: str
    pixels: int


@dataclass(slots=True)
class Taken:
    """What came of a drop.

    Attributes:
        uploads: The files that may be looked at, in order.
        refused: A sentence for each file that may not.
        copies: Number of files that were there already.
    """

    uploads: list[Upload] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    copies: int = 0


def take_uploads(files: Sequence[Path], bounds: Bounds, *, known: Collection[str] = (), pixels: int = 0) -> Taken:
    """Checks files that were handed in.

    Args:
        files: Where they lie here; their bare names are what the person calls them.
        bounds: How much may be handed in.
        known: Hashes of the photos that the tab holds already.
        pixels: Number of their pixels.
    """
    taken, seen = Taken(), set(known)
    for path in files:
        name = path.name
        try:
            upload = _read(path, bounds)
        except UserError as error:
            taken.refused.append(about(str(error), path))
            continue
        if upload.image_hash in seen:
            taken.copies += 1
        elif len(seen) >= bounds.photos:
            taken.refused.append(
                f"{brief(name)}: this tab holds {bounds.photos} photos, more it does not take. {FRESH}"
            )
        elif pixels + upload.pixels > bounds.megapixels * MILLION:
            taken.refused.append(
                f"{brief(name)} has {upload.pixels / MILLION:.1f} megapixels; with it this tab would hold more than "
                f"{bounds.megapixels}. {FRESH}"
            )
        else:
            seen.add(upload.image_hash)
            pixels += upload.pixels
            taken.uploads.append(upload)
    return taken


def _read(path: Path, bounds: Bounds) -> Upload:
    if not path.is_file():
        raise UserError(f"Missing file: {path}. Hand it in again.")
    if path.stat().st_size > bounds.megabytes * MILLION:
        raise UserError(
            f"Too large: {path} has {path.stat().st_size / MILLION:.0f} MB, at most {bounds.megabytes} are taken. "
            "Save it as JPEG, or start the page with a greater megabytes=."
        )
    height, width = read_size(path)
    return Upload(name=path.name, path=path, image_hash=hash_file(path), pixels=height * width)


def about(error: str, path: Path) -> str:
    """What an error says of a file, under the name that the person knows: where it lies here is nobody's business."""
    return error.replace(str(path), brief(path.name))

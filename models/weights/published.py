"""Whether a file is the published one: by its publisher's hash, or by the one that the hub sent it under."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from data.files import hash_file
from models.weights.shards import list_shards
from models.weights.table import Checkpoint, find_checkpoint

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class UsedFile:
    """A file of weights that a result was made with.

    Attributes:
        file: Its name.
        sha256: Its hash.
        checkpoint: Its name in the table of checkpoints; empty where it has none there.
        published: Whether the hash is known to be the published one.
    """

    file: str
    sha256: str
    checkpoint: str
    published: bool

    def to_json(self) -> dict[str, str | bool]:
        """For a manifest."""
        return asdict(self)


def published_hash(path: Path, entry: Checkpoint | None) -> str | None:
    """SHA-256 that a file must have, or the beginning of it; None where nobody says.

    Of the table's single file it is the publisher's. A large file in the hub's cache lies there under the hash that the
    hub sent with it.

    Args:
        path: The file.
        entry: What it is taken for.
    """
    if entry is not None and entry.sha256 and path.name == entry.file:
        return entry.sha256
    blob = path.resolve()
    return blob.name if blob.parent.name == "blobs" and SHA256.fullmatch(blob.name) else None


def tell_files(place: Path) -> list[UsedFile]:
    """Names and hashes of a checkpoint, a file or a folder, for the results that were made with it."""
    entry = find_checkpoint(str(place))
    used = []
    for path in list_shards(place):
        digest, published = hash_file(path), published_hash(path, entry)
        known = entry is not None and published is not None and digest.startswith(published)
        used.append(UsedFile(path.name, digest, entry.name if entry else "", known))
    return used

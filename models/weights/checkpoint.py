"""Which weights a checkpoint holds: found, checked to be whole, and named by commit or by content.

A model that was trained as an adapter means nothing without the very base it was trained on. An export therefore
records that base (`identify`), and refuses any other (`require`).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from data.errors import UserError
from data.files import hash_file, hash_value, read_json
from models.weights.shards import list_shards

COMMIT = re.compile(r"[0-9a-f]{40}")
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A base checkpoint, as an export remembers it.

    Attributes:
        name: Hub id, or the last part of a local path: no path of this machine.
        hub: Whether `name` is a hub id.
        revision: Commit on the hub; None for a local checkpoint.
        weights: SHA-256 over the hashes of its weight files.
        architecture: `model_type` of its config; empty for a single file of weights.
        vocabulary: Rows of the token embeddings; 0 where there are none.
    """

    name: str
    hub: bool
    revision: str | None
    weights: str
    architecture: str = ""
    vocabulary: int = 0

    def to_json(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Identity:
        """From a manifest.

        Raises:
            UserError: If a value is missing.
        """
        names = [entry.name for entry in fields(Identity)]
        if lacking := [name for name in names if name not in values]:
            raise UserError(f"The manifest names no {', '.join(lacking)} of the base. Export the adapter again.")
        return Identity(**{name: values[name] for name in names})


def identify(path: str, revision: str | None = None) -> Identity:
    """Names a checkpoint by its content.

    Args:
        path: File of weights, folder, or hub id (looked up in the local cache first).
        revision: Commit, branch or tag of a hub id.

    Raises:
        UserError: If it is missing, not whole, or holds pickles where safetensors belong.
    """
    place = locate(path, revision)
    is_hub = not Path(path).exists()
    architecture, vocabulary = _describe(place)
    return Identity(
        name=path if is_hub else place.name,
        hub=is_hub,
        revision=_commit(place),
        weights=hash_weights(place),
        architecture=architecture,
        vocabulary=vocabulary,
    )


def locate(path: str, revision: str | None = None) -> Path:
    """The file or folder of a checkpoint; a hub id is taken from the cache, or downloaded.

    Raises:
        UserError: If there is none.
    """
    if Path(path).exists():
        return Path(path).resolve()
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        raise UserError(f"No checkpoint at {path}. Check the path; a hub id is written owner/name.")
    for offline in (True, False):
        try:
            found = snapshot_download(path, revision=revision, allow_patterns=WANTED, local_files_only=offline)
        except LocalEntryNotFoundError as error:
            if not offline:
                raise UserError(_no_hub(path, revision, error)) from error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise UserError(_no_hub(path, revision, error)) from error
        else:
            if list_shards(Path(found), check=False) or not offline:
                return Path(found)
    raise AssertionError("the second round returns or raises")


def require(wanted: Identity, given: str | None, *, what: str) -> Path:
    """Finds the base that an adapter was trained on and refuses any other.

    A snapshot of the hub is known by its commit; everything else is hashed.

    Args:
        wanted: The base of the manifest.
        given: Where to look; None takes the hub id of the manifest.
        what: Names the base in messages, and the argument that sets it.

    Returns:
        Its folder or file.

    Raises:
        UserError: If it is missing or not whole, or its architecture, vocabulary, revision or weights differ.
    """
    if given is None and not wanted.hub:
        raise UserError(f"This adapter belongs to the local checkpoint '{wanted.name}': say where it is with {what}=.")
    place = locate(given or wanted.name, wanted.revision if given is None or given == wanted.name else None)
    architecture, vocabulary = _describe(place)
    if architecture != wanted.architecture:
        raise UserError(
            f"{what}={place} is a '{architecture}', but the adapter was trained on '{wanted.architecture}'."
        )
    if vocabulary != wanted.vocabulary:
        raise UserError(
            f"{what}={place} has {vocabulary} tokens, but the adapter was trained on a base of {wanted.vocabulary}. "
            f"Give the base of the manifest: {_title(wanted)}."
        )
    commit = _commit(place)
    if commit is not None and wanted.revision is not None and commit != wanted.revision:
        raise UserError(
            f"{what}={place} has revision {commit}, but the adapter was trained on {_title(wanted)}. "
            "Download that revision."
        )
    if commit is None or wanted.revision is None:
        found = hash_weights(place)
        if found != wanted.weights:
            raise UserError(
                f"{what}={place} holds other weights (SHA-256 {found[:16]}…) than the base of the adapter "
                f"({wanted.weights[:16]}…). Give the base of the manifest: {_title(wanted)}."
            )
    return place


def hash_weights(place: Path) -> str:
    """SHA-256 over the SHA-256s of the weight files, in order of their names; a moved checkpoint keeps it."""
    return hash_value([hash_file(path) for path in list_shards(place)])


def _describe(place: Path) -> tuple[str, int]:
    """Architecture and vocabulary of a folder; nothing of a file."""
    if place.is_file():
        return "", 0
    if not (place / "config.json").is_file():
        raise UserError(f"No checkpoint at {place}: it has no config.json. Check the path.")
    config = read_json(place / "config.json")
    text = config.get("text_config") or config
    return str(config.get("model_type", "")), int(text.get("vocab_size") or config.get("vocab_size") or 0)


def _commit(place: Path) -> str | None:
    """The commit of a snapshot in the hub's cache."""
    inside = place.parent.name == "snapshots" and COMMIT.fullmatch(place.name)
    return place.name if inside else None


def _title(identity: Identity) -> str:
    return f"{identity.name}@{identity.revision}" if identity.revision else f"'{identity.name}'"


def _no_hub(path: str, revision: str | None, error: Exception) -> str:
    reason = str(error).splitlines()[0]
    return f"No checkpoint '{path}' (revision {revision or 'main'}) here or on the hub: {reason} Download it first."

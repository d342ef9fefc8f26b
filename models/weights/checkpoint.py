"""Which weights a checkpoint holds: found, checked to be whole, and named by commit or by content.

A model that was trained as an adapter means nothing without the very base it was trained on. An export therefore
records that base (`identify`), and refuses any other (`require`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_file, hash_value, read_json
from models.weights.hub import find_commit, resolve_checkpoint
from models.weights.shards import list_shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A base checkpoint, as an export remembers it.

    Attributes:
        name: Hub id, or the last part of a local path: no path of this machine.
        hub: Whether `name` is a hub id.
        revision: Commit on the hub; of a folder outside its cache the commit that the user gave as its pin, if any.
        weights: SHA-256 over the hashes of its weight files.
        architecture: `model_type` of its config; empty for a single file of weights.
        vocabulary: Rows of the token embeddings; 0 where there are none.
        code: SHA-256 of the code files that were allowed to run with it; None where none were.
    """

    name: str
    hub: bool
    revision: str | None
    weights: str
    architecture: str = ""
    vocabulary: int = 0
    code: str | None = None

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
        values = {"code": None, **values}
        if lacking := [name for name in names if name not in values]:
            raise UserError(f"The manifest names no {', '.join(lacking)} of the base. Export the adapter again.")
        return Identity(**{name: values[name] for name in names})


def identify(path: str, revision: str | None = None, code: str | None = None) -> Identity:
    """Names a checkpoint by its content.

    Args:
        path: File of weights, folder, or hub id in the cache.
        revision: Commit, branch or tag of a hub id; the pin of a folder.
        code: Hash of its code files, where they may run.

    Raises:
        UserError: If it is missing, not whole, or holds pickles where safetensors belong.
    """
    place = resolve_checkpoint(path, revision)
    commit = find_commit(place)
    hub = place.parents[1].name.removeprefix("models--").replace("--", "/") if commit else None
    architecture, vocabulary = _describe(place)
    return Identity(
        name=hub or (place.name if Path(path).exists() else path),
        hub=hub is not None,
        revision=commit or revision,
        weights=hash_weights(place),
        architecture=architecture,
        vocabulary=vocabulary,
        code=code,
    )


def require(wanted: Identity, given: str | None, *, what: str) -> Path:
    """Finds the base that an adapter was trained on and refuses any other.

    A snapshot in the hub's cache is known by its commit; everything else is hashed.

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
    place = resolve_checkpoint(given or wanted.name, wanted.revision if given is None or given == wanted.name else None)
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
    commit = find_commit(place)
    if commit is not None and wanted.hub and commit != wanted.revision:
        raise UserError(
            f"{what}={place} has revision {commit}, but the adapter was trained on {_title(wanted)}. "
            "Download that revision."
        )
    if commit is None or not wanted.hub:
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


def _title(identity: Identity) -> str:
    return f"{identity.name}@{identity.revision}" if identity.revision else f"'{identity.name}'"

"""From what a configuration names to a place on this machine: a path stays, a hub id is looked up in `HF_HOME`.

Libraries are always given that place and never the id: ms-swift would ask another hub, and transformers would download
without being told to.
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tqdm.auto import tqdm

from data.errors import UserError
from models.weights.shards import list_shards

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.py"]


def resolve_checkpoint(place: str | Path, revision: str | None = None, *, download: bool = False) -> Path:
    """The file or folder of a checkpoint. Unless `download` is set, nothing asks the network.

    Args:
        place: File of weights, folder, or hub id.
        revision: Commit, branch or tag of a hub id; None takes the main branch as it was downloaded last.
        download: Fetches what the cache lacks of a hub id.

    Returns:
        An absolute path without links; of a hub id the snapshot in the cache, with all its shards.

    Raises:
        UserError: If there is no such checkpoint, it is not whole, or it cannot be downloaded.
    """
    path = Path(place).expanduser()
    if path.exists():
        return path.resolve()
    if not HUB_ID.fullmatch(str(place)):
        raise UserError(f"No checkpoint at {place}. Check the path; a hub id is written owner/name.")
    title = f"'{place}' (revision {revision or 'main'})"
    try:
        found = snapshot_download(
            str(place), revision=revision, allow_patterns=WANTED, local_files_only=not download, tqdm_class=tqdm
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        if download:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"The checkpoint {title} cannot be downloaded: {reason}") from error
        at = f" --revision {revision}" if revision else ""
        raise UserError(
            f"No checkpoint {title} in the hub's cache {constants.HF_HUB_CACHE}, and nothing is downloaded unasked. "
            f"Download it first: hf download {place}{at}"
        ) from error
    list_shards(Path(found))
    return Path(found).resolve()


def find_file(hub: str, name: str, revision: str | None = None, *, download: bool = False) -> Path | None:
    """One file of a hub id in the cache; None where it is not there.

    Args:
        hub: Hub id.
        name: Name of the file in its folder.
        revision: Commit, branch or tag; None takes the main branch.
        download: Fetches it where the cache lacks it.

    Raises:
        UserError: If it cannot be downloaded.
    """
    try:
        return Path(hf_hub_download(hub, name, revision=revision, local_files_only=not download))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        if not download:
            return None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{name} of '{hub}' cannot be downloaded: {reason}") from error


def find_commit(place: Path) -> str | None:
    """The commit of a snapshot in the hub's cache; None for any other place."""
    inside = place.parent.name == "snapshots" and COMMIT.fullmatch(place.name)
    return place.name if inside else None

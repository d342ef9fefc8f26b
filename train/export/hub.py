"""Uploading a proven export to the Hugging Face hub. The token is never read, kept or shown here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import RepositoryNotFoundError

from data.errors import UserError

FAILURES = (OSError, ValueError)  # what the hub's own errors are


def check_hub(repo: str, *, private: bool, api: Any = None) -> Any:
    """Looks, before any work, whether the upload can succeed.

    Args:
        repo: `owner/name`.
        private: Whether the repository is to be private.
        api: A `huggingface_hub.HfApi`; None makes one.

    Returns:
        The api.

    Raises:
        UserError: If there is no token or no network, the name is none, or the repository exists and is public
            although it is to be private.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UserError(f"push_to_hub={repo} is no repository: write it as owner/name.")
    if api is None and not huggingface_hub.get_token():
        raise UserError("push_to_hub needs a token: set HF_TOKEN in the environment, or run `hf auth login`.")
    api = api or huggingface_hub.HfApi()
    try:
        api.whoami()
        public = not api.repo_info(repo, repo_type="model").private
    except RepositoryNotFoundError:
        return api
    except FAILURES as error:
        raise UserError(f"push_to_hub={repo}: the hub cannot be used: {_first_line(error)}") from error
    if private and public:
        raise UserError(f"push_to_hub={repo} exists and is public. Set private=false, or name another repository.")
    return api


def push(api: Any, repo: str, folder: Path, *, private: bool) -> str:
    """Creates the repository if needed and uploads the export in one commit.

    Returns:
        Its address.

    Raises:
        UserError: If it fails; the export stays where it is.
    """
    message = "Upload the export with its proof"
    try:
        address = api.create_repo(repo, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, repo_type="model", folder_path=str(folder), commit_message=message)
    except FAILURES as error:
        raise UserError(
            f"The export at {folder} is complete, but its upload to {repo} failed: {_first_line(error)} "
            f"Try again with: hf upload {repo} {folder}"
        ) from error
    return str(address)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

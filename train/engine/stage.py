"""Finished stages: a stage ends by writing `config.json` with its fingerprint, and is skipped while that matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import hash_file, hash_value, read_json, write_json


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether the stage that writes `folder` was finished under this fingerprint."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("fingerprint") == fingerprint


def finish(folder: Path, fingerprint: str, settings: dict[str, Any]) -> None:
    """Marks a stage as finished; the last thing it writes."""
    write_json(folder / "config.json", {**settings, "fingerprint": fingerprint})


def hash_base(folder: Path) -> str:
    """Hash of the weights and tokenizer in a base directory, resume state left out; of nothing if it is missing."""
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".safetensors", ".json") and "stages" not in path.relative_to(folder).parts
    ]
    return hash_value([(path.relative_to(folder).as_posix(), hash_file(path)) for path in files])

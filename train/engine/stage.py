"""Finished stages: a stage ends by writing `config.json` with its fingerprint, and is skipped while that matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.files import hash_file, hash_value, read_json, write_json

CHECKPOINT_FILES = (".safetensors", ".bin", ".pt", ".pth", ".json", ".model", ".jinja", ".py")


def is_finished(folder: Path, fingerprint: str) -> bool:
    """Whether the stage that writes `folder` was finished under this fingerprint."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("fingerprint") == fingerprint


def finish(folder: Path, fingerprint: str, settings: dict[str, Any]) -> None:
    """Marks a stage as finished; the last thing it writes."""
    write_json(folder / "config.json", {**settings, "fingerprint": fingerprint})


def hash_checkpoint(place: str | None) -> str:
    """Hash of what a checkpoint's file or folder holds; empty for a hub id, whose revision names it, and for None."""
    path = Path(place) if place else None
    if path is None or not path.exists():
        return ""
    files = [path] if path.is_file() else [one for one in sorted(path.rglob("*")) if one.suffix in CHECKPOINT_FILES]
    return hash_value([(one.relative_to(path).as_posix(), hash_file(one)) for one in files])

"""Descriptions on disk: an append-only log, keyed by everything a description depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import append_jsonl, hash_value, read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionRow:
    """One description.

    Attributes:
        key: See `description_key`.
        id: `Sample.id`, or the path below the folder that was described.
        image: Path of the image.
        mode: `free` or `structured`.
        description: The text.
        answers: The model's own answers that it was composed from.
        model: Names the base weights.
        adapter: Names the adapter's weights; empty without one.
    """

    key: str
    id: str
    image: str
    mode: str
    description: str
    answers: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    adapter: str = ""


def description_key(*, model: str, adapter: str, mode: str, prompt: str, image_hash: str) -> str:
    """Names a description by its causes: the same key means the same text."""
    return hash_value([model, adapter, mode, prompt, image_hash])


class DescriptionLog:
    """Appends rows to a log; a row is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        """Reads what is there; a torn last line is ignored and cut off by the next append."""
        self.path = path
        rows = read_jsonl(path) if path.is_file() else []
        self.latest = {row["id"]: row["key"] for row in rows}

    def append(self, rows: Iterable[DescriptionRow]) -> None:
        """Writes rows at the end of the log."""
        kept = list(rows)
        append_jsonl(self.path, [asdict(row) for row in kept])
        self.latest |= {row.id: row.key for row in kept}


def load_descriptions(path: Path) -> dict[str, str]:
    """Descriptions by sample id; of several for one id the last counts.

    Raises:
        UserError: If there is no log, or it holds no row.
    """
    if not path.is_file():
        raise UserError(f"No descriptions at {path}. Write them first: python -m scripts.describe run=…")
    rows = read_jsonl(path)
    if not rows:
        raise UserError(f"No descriptions in {path}. Delete it and run scripts.describe again.")
    return {row["id"]: row["description"] for row in rows}

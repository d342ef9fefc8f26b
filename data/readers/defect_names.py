"""Readable defect names for the codes and label names that datasets use: one reviewed table."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

TABLE = Path(__file__).with_name("defect_names.yaml")


def readable(dataset: str, name: str, category: str | None = None) -> str:
    """The readable name of a defect.

    Args:
        dataset: The reader's key; a dataset without a section passes every name on.
        name: The dataset's own name or code.
        category: Object type; names below the section's `categories` come before those of the whole dataset.

    Returns:
        The table's name, else `name` with spaces for underscores.

    Raises:
        UserError: If the dataset's section is closed and does not hold the name.
    """
    section = _table().get(dataset, {})
    names = {**section.get("names", {}), **section.get("categories", {}).get(category, {})}
    if name in names:
        return str(names[name])
    if section.get("closed"):
        raise UserError(f"Unknown defect '{name}' of {dataset}. Known: {', '.join(names)}. Add it to {TABLE}.")
    return name.replace("_", " ")


def join_names(names: list[str]) -> str:
    """The name of an image that shows several kinds of defect: each once, sorted, joined by `and`."""
    return " and ".join(sorted(set(names)))


@cache
def _table() -> dict[str, Any]:
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))

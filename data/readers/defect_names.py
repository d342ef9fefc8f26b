"""Readable defect names: what the codes, folder names and annotations of the datasets say in plain words."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError

TABLE = Path(__file__).with_name("defect_names.yaml")


def readable(dataset: str, name: str, category: str | None = None) -> str:
    """The readable name of a defect, by the reviewed table `defect_names.yaml`.

    A name of the category goes before one of the whole dataset; upper and lower case are the same. A dataset whose
    section is open, or that has none, keeps an unlisted name, with spaces for underscores.

    Args:
        dataset: Key of the reader.
        name: Code, folder name or annotated name, as the dataset has it.
        category: Category of the sample, for datasets whose categories use one name for different things.

    Raises:
        UserError: If the section of the dataset is closed and has no such name.
    """
    section = _sections().get(dataset, {})
    key = name.strip().lower()
    found = section.get("categories", {}).get(category, {}).get(key) or section.get("names", {}).get(key)
    if found is None and section.get("closed"):
        known = sorted({*section.get("names", {}), *section.get("categories", {}).get(category, {})})
        where = f" of {category}" if category else ""
        raise UserError(
            f"Unknown defect '{name}'{where} in {dataset}. Known: {', '.join(known)}. "
            f"Correct the annotation, or add the name to {TABLE}."
        )
    return found or name.strip().replace("_", " ")


@cache
def _sections() -> dict[str, dict[str, Any]]:
    """Dataset → section, with lower-case keys."""
    return {
        dataset: {
            "closed": section["closed"],
            "names": _lower(section.get("names")),
            "categories": {str(name): _lower(names) for name, names in section.get("categories", {}).items()},
        }
        for dataset, section in yaml.safe_load(TABLE.read_text(encoding="utf-8")).items()
    }


def _lower(names: dict[Any, str] | None) -> dict[str, str]:
    return {str(key).lower(): str(value) for key, value in (names or {}).items()}

"""What the folder of a fitted expert holds besides its own files: `expert.json` and `gate.json`.

expert.json    {"expert", "config", "fitted": {category: [sample id, …]}}   written last: marks it as complete
gate.json      {category: {"score", "pixel"}}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import hash_value, read_json, write_json
from models.experts.expert import Gate

EXPERT, GATE = "expert.json", "gate.json"


def write_gates(folder: Path, gates: Mapping[str, Gate]) -> None:
    """Writes the thresholds of every category."""
    write_json(folder / GATE, {category: asdict(gate) for category, gate in gates.items()})


def read_gates(folder: Path) -> dict[str, Gate]:
    """Reads the thresholds of every category.

    Raises:
        UserError: If there are none, or the file is malformed.
    """
    path = folder / GATE
    if not path.is_file():
        raise UserError(f"No gate at {path}. Fit the expert first: python -m scripts.fit_expert.")
    try:
        return {
            category: Gate(float(values["score"]), float(values["pixel"]))
            for category, values in read_json(path).items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"Not a gate file: {path} ({error!r}). Fit the expert again.") from error


def write_expert(folder: Path, name: str, config: Mapping[str, Any], fitted: Mapping[str, list[str]]) -> None:
    """Writes which expert was fitted, with what, on which images."""
    write_json(folder / EXPERT, {"expert": name, "config": dict(config), "fitted": dict(fitted)})


def read_expert(folder: Path) -> dict[str, Any]:
    """Reads `expert.json`.

    Raises:
        UserError: If the folder holds no fitted expert.
    """
    path = folder / EXPERT
    if not path.is_file():
        raise UserError(f"No fitted expert at {folder}: {EXPERT} is missing. Run python -m scripts.fit_expert first.")
    return read_json(path)


def category_folder(folder: Path, category: str) -> Path:
    """Where an expert keeps the files of a category; names that are no plain file names get a hash."""
    plain = re.sub(r"[^\w\-]+", "_", category)
    return folder / (plain if plain == category else f"{plain}_{hash_value(category)[:8]}")

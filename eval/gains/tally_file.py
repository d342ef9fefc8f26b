"""The tallies of an evaluation in one safetensors file: at most 12 bytes a bin and 17 bytes an image, and its id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from data.errors import UserError
from data.files import write_bytes
from eval.gains.tally import ROWS, Tally

TALLIES = "tallies.safetensors"
ARRAYS = ("cuts", *ROWS)


def write_tallies(path: Path, tallies: Mapping[str, Tally], notes: Mapping[str, str]) -> None:
    """Writes the tally of each category, with a note of what it was counted from; equal tallies give equal bytes."""
    listed: list[dict[str, Any]] = [
        {"category": name, "ids": tally.ids, "note": notes.get(name, "")} for name, tally in sorted(tallies.items())
    ]
    arrays = {
        f"{index}.{name}": np.ascontiguousarray(getattr(tallies[one["category"]], name))
        for index, one in enumerate(listed)
        for name in ARRAYS
    }
    # One metadata entry, because safetensors does not fix the order of several.
    write_bytes(path, save(arrays, metadata={"state": json.dumps(listed)}), durable=False)


def read_tallies(path: Path) -> dict[str, Tally]:
    """The tally of each category; empty without a file.

    Raises:
        UserError: If the file is damaged.
    """
    return {name: tally for name, (tally, _) in read_noted(path).items()}


def read_noted(path: Path) -> dict[str, tuple[Tally, str]]:
    """The tally of each category and its note; empty without a file.

    Raises:
        UserError: If the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        data = path.read_bytes()
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        listed = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["state"])
        return {
            one["category"]: (
                Tally(ids=tuple(one["ids"]), **{name: arrays[f"{index}.{name}"] for name in ARRAYS}),
                one["note"],
            )
            for index, one in enumerate(listed)
        }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"Damaged counts of an evaluation: {path} ({error!r}). Delete it and evaluate again."
        ) from error

"""The card of what ships: `README.md`, whose front matter holds the facts and the hash of every file beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.errors import UserError
from data.files import hash_file, parse_yaml, write_text

CARD = "README.md"
FENCE = "---\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a person must know of weights before using them.

    Attributes:
        title: What they are, in a line.
        command: What makes them again.
        seed: Of everything random.
        hours: How long that took on two CPU cores; None where the run says it, stage by stage.
        data: What they have seen.
        figures: Name → value.
        settings: All that decides the result, by dotted name.
    """

    title: str
    command: str
    seed: int
    hours: float | None
    data: str
    figures: dict[str, float]
    settings: dict[str, Any]


def write_card(folder: Path, card: Card) -> None:
    """Writes the card of a folder that is otherwise complete."""
    facts: dict[str, Any] = {
        "license": "apache-2.0",
        "command": card.command,
        "seed": card.seed,
        "hours": card.hours,
        "data": card.data,
        "figures": card.figures,
        "files": list_hashes(folder),
        "settings": card.settings,
    }
    took = f" It took {card.hours:g} hours on two CPU cores." if card.hours is not None else ""
    figures = "\n".join(f"| {name} | {value:g} |" for name, value in card.figures.items())
    text = f"""# {card.title}

Made by `{card.command}`.{took} Data: {card.data}

Under the licence of this repository (Apache-2.0). Numbers are float16 where that loses no more than rounding; every \
loader here computes in float32. The front matter of this file holds the settings and the SHA-256 of every file.

| Figure | Value |
|---|---|
{figures}
"""
    front = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=1000)
    write_text(folder / CARD, f"{FENCE}{front}{FENCE}\n{text}")


def read_card(folder: Path) -> dict[str, Any]:
    """The facts of a card.

    Raises:
        UserError: If there is none.
    """
    path = folder / CARD
    parts = path.read_text(encoding="utf-8").split(FENCE, 2) if path.is_file() else []
    facts = parse_yaml(parts[1], path) if len(parts) == 3 else None
    if not isinstance(facts, dict):
        raise UserError(f"No card in {folder}: {CARD} with front matter is missing. Ship the training again.")
    return facts


def list_hashes(folder: Path) -> dict[str, str]:
    """Name → SHA-256 of every file of a folder but its card, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / CARD)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}

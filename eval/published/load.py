"""Published tables from `eval/published/*.yaml`, checked against themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent
AVERAGE = "average"
ROUNDING = 0.1  # how far a printed average may be from the mean of printed figures: both are rounded to 0.1


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One method: its name, weights, shots, and figures by column (None where the paper prints none)."""

    title: str
    weights: str
    shots: int
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table as printed, in percent.

    Attributes:
        key: For example `eiad.4`.
        title: What it is about.
        source: Paper, table and section.
        columns: Column → title.
        rows: Method → row.
        resolution: At which its figures were measured, as far as stated.
        definition: What its figures mean.
        notes: What to know; includes what the table contradicts in itself.
    """

    key: str
    title: str
    source: str
    columns: dict[str, str]
    rows: dict[str, PublishedRow]
    resolution: str
    definition: str
    notes: list[str]


@cache
def load_published() -> dict[str, PublishedTable]:
    """All tables by key."""
    tables = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for key, facts in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            rows = {
                name: PublishedRow(
                    row["title"],
                    str(row["weights"]),
                    row.get("shots", facts["shots"]),
                    dict(zip(facts["columns"], row["values"], strict=True)),
                )
                for name, row in facts["rows"].items()
            }
            notes = [*facts["notes"], *contradictions(rows)]
            tables[key] = PublishedTable(
                key,
                facts["title"],
                facts["source"],
                facts["columns"],
                rows,
                facts["resolution"],
                facts["definition"],
                notes,
            )
    return tables


def contradictions(rows: dict[str, PublishedRow]) -> list[str]:
    """Rows whose printed average is not the mean of their printed figures, beyond what rounding explains."""
    found = []
    for row in rows.values():
        parts = [value for column, value in row.values.items() if column != AVERAGE and value is not None]
        average = row.values.get(AVERAGE)
        if average is None or not parts:
            continue
        mean = sum(parts) / len(parts)
        if abs(mean - average) > ROUNDING:
            found.append(f"The printed average of {row.title} is {average:.1f}; its own figures give {mean:.1f}.")
    return found

"""Published tables from `eval/tables/*.yaml`, checked against themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
AVERAGE = "average"
MEAN = "mean"  # category of the row that is a mean over the others
ROUNDING = 0.1  # how far a printed average may be from the mean of printed figures: both are rounded to 0.1


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One method, or one category of it.

    Attributes:
        title: Its name.
        weights: As far as stated.
        shots: Normal images that the model is shown of a product; None where not stated.
        values: Figures by column, None where the paper prints none.
        is_part: Whether it is a category of a method, whose `mean` row speaks for it.
        source: Where its figures are printed, if not in the table's paper.
    """

    title: str
    weights: str
    shots: int | None
    values: dict[str, float | None]
    is_part: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """One table as printed: percent, or counts where `digits` is 0.

    Attributes:
        key: For example `eiad.4`.
        title: What it is about.
        source: Paper, table and section.
        columns: Column → title.
        rows: Method → row.
        resolution: At which its figures were measured, as far as stated.
        definition: What its figures mean.
        notes: What to know; includes what the table contradicts in itself.
        misprints: Row → column → what the authors' own predictions give where the table prints another figure.
        dataset: Reader of the dataset, where the table says it.
        digits: Digits that are shown after the point.
        anchors: Later methods' rows, which stand beside the table's own and are printed only.
    """

    key: str
    title: str
    source: str
    columns: dict[str, str]
    rows: dict[str, PublishedRow]
    resolution: str
    definition: str
    notes: list[str]
    misprints: dict[str, dict[str, float]] = field(default_factory=dict)
    dataset: str = ""
    digits: int = 1
    anchors: dict[str, PublishedRow] = field(default_factory=dict)


@cache
def load_published() -> dict[str, PublishedTable]:
    """All tables by key."""
    tables = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        for key, facts in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            rows = _single_rows(facts) | _grouped_rows(facts)
            misprints = facts.get("misprints", {})
            tables[key] = PublishedTable(
                key,
                facts["title"],
                facts["source"],
                facts["columns"],
                rows,
                str(facts["resolution"]),
                facts["definition"],
                [*facts["notes"], *contradictions(rows), *_spell_misprints(rows, facts["columns"], misprints)],
                misprints,
                facts.get("dataset", ""),
                facts.get("digits", 1),
                _anchors(facts),
            )
    return tables


def contradictions(rows: dict[str, PublishedRow]) -> list[str]:
    """Printed averages that are not the mean of the printed figures, along a row or a group, beyond rounding."""
    found = []
    for row in rows.values():
        parts = {column: value for column, value in row.values.items() if column != AVERAGE}
        found += _contradict(f"average of {row.title}", row.values.get(AVERAGE), [*parts.values()])
    for name, mean in rows.items():
        group = [row for other, row in rows.items() if row.is_part and other.split(".")[0] == name.split(".")[0]]
        for column, value in mean.values.items() if group and not mean.is_part else ():
            found += _contradict(f"{mean.title}, {column}", value, [row.values[column] for row in group])
    return found


def _contradict(what: str, average: float | None, parts: Sequence[float | None]) -> list[str]:
    known = [value for value in parts if value is not None]
    if average is None or not known or abs(sum(known) / len(known) - average) <= ROUNDING:
        return []
    return [f"The printed {what} is {average:.1f}; its own figures give {sum(known) / len(known):.1f}."]


def _single_rows(facts: dict[str, Any]) -> dict[str, PublishedRow]:
    return {
        name: PublishedRow(
            row["title"],
            str(row["weights"]),
            row.get("shots", facts["shots"]),
            dict(zip(facts["columns"], row["values"], strict=True)),
        )
        for name, row in facts.get("rows", {}).items()
    }


def _anchors(facts: dict[str, Any]) -> dict[str, PublishedRow]:
    return {
        name: PublishedRow(
            row["title"],
            str(row["weights"]),
            facts["shots"],
            dict(zip(facts["columns"], row["values"], strict=True)),
            source=row["source"],
        )
        for name, row in facts.get("anchors", {}).items()
    }


def _grouped_rows(facts: dict[str, Any]) -> dict[str, PublishedRow]:
    return {
        f"{name}.{category}": PublishedRow(
            f"{group['title']}, {category.replace('_', ' ')}",
            str(group["weights"]),
            facts["shots"],
            dict(zip(facts["columns"], values, strict=True)),
            is_part=category != MEAN,
        )
        for name, group in facts.get("groups", {}).items()
        for category, values in group["values"].items()
    }


def _spell_misprints(
    rows: dict[str, PublishedRow], columns: dict[str, str], misprints: dict[str, dict[str, float]]
) -> list[str]:
    return [
        f"Misprint: {rows[name].title}, {columns[column]}: printed {rows[name].values[column]:.1f}; the published "
        f"predictions give {value:.2f}."
        for name, cells in misprints.items()
        for column, value in cells.items()
    ]

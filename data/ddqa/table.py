"""Table I of the paper beside what was built here (EIAD, Sec. III-A)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from data.ddqa.wording import PAPER_TASKS

PUBLISHED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure: ours, the paper's (each None where there is none) and the difference."""

    ours: int | None
    paper: int | None

    @property
    def difference(self) -> int | None:
        """Ours minus the paper's; None unless both are known."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper


@dataclass(frozen=True, slots=True)
class Table:
    """Cells by task and source.

    Attributes:
        titles: source → name to show; the paper's sources first, in the corrected order.
        rows: task → source → cell.
        totals: task → total over the sources that were built, ours and the paper's.
        notes: What to know about the published figures.
    """

    titles: dict[str, str]
    rows: dict[str, dict[str, Cell]]
    totals: dict[str, Cell]
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "tasks": {task: {name: _plain(cell) for name, cell in cells.items()} for task, cells in self.rows.items()},
            "totals": {task: _plain(cell) for task, cell in self.totals.items()},
            "notes": self.notes,
        }


@cache
def published() -> dict[str, Any]:
    """The published figures, as in `published.yaml`."""
    return yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))


def compare(stats: Mapping[str, Mapping[str, int]]) -> Table:
    """Puts built counts beside the published ones.

    Args:
        stats: source → task → questions, as `stats.json` holds them. Sources and tasks that the paper lacks are kept.
    """
    paper = published()
    figures = {task: dict(zip(paper["columns"], paper["tasks"][task], strict=True)) for task in paper["tasks"]}
    names = [*paper["columns"], *sorted(set(stats) - set(paper["columns"]))]
    extra = sorted({task for counts in stats.values() for task in counts} - set(figures) - {"skipped"})
    rows = {
        task: {name: Cell(stats.get(name, {}).get(task), figures.get(task, {}).get(name)) for name in names}
        for task in [*PAPER_TASKS, *extra]
    }
    totals = {task: _total([cells[name] for name in names if name in stats]) for task, cells in rows.items()}
    titles = {name: paper["titles"].get(name, name) for name in names}
    return Table(titles, {str(task): cells for task, cells in rows.items()}, totals, paper["notes"])


def format_table(table: Table) -> str:
    """The comparison as text for a terminal: ours / paper (difference)."""
    lines = [["", *table.titles.values(), "built sources"]]
    for task, cells in table.rows.items():
        lines.append([task, *[_show(cell) for cell in cells.values()], _show(table.totals[task])])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) if not column else text.rjust(width) for column, (text, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )


def _show(cell: Cell) -> str:
    ours, paper = ("–" if value is None else str(value) for value in (cell.ours, cell.paper))
    change = "" if cell.difference is None else f" ({cell.difference:+d})" if cell.difference else " (=)"
    return f"{ours} / {paper}{change}"


def _total(cells: list[Cell]) -> Cell:
    ours = [cell.ours for cell in cells if cell.ours is not None]
    paper = [cell.paper for cell in cells if cell.paper is not None]
    return Cell(sum(ours) if ours else None, sum(paper) if paper else None)


def _plain(cell: Cell) -> dict[str, int | None]:
    return {"ours": cell.ours, "paper": cell.paper, "difference": cell.difference}

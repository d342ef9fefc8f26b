"""A table beside its published figures: what it holds, and how it is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from eval.gains.gain import Gain, format_gain, format_interval
from eval.metrics.figures import format_figure
from eval.tables.published import PublishedTable


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure: ours and the paper's, each None where there is none."""

    ours: float | None = None
    paper: float | None = None

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's; None unless both are known."""
        return None if self.ours is None or self.paper is None else self.ours - self.paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What was measured for one row, or why nothing was.

    Attributes:
        values: Column → figure; empty where `missing` says why.
        weights: Which model.
        shots: Normal images that the model saw of a product.
        resolution: At which it was measured.
        convention: By whose rules pixels were measured; empty where that is no question.
        definition: What the figures mean.
        missing: What is missing and which command gets it; empty when nothing is.
        title: Name of a row that the paper lacks.
        is_part: Whether another row tells how it was measured.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    weights: str = ""
    shots: int = 0
    resolution: str = ""
    convention: str = ""
    definition: str = ""
    missing: str = ""
    title: str = ""
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the comparison; the paper's protocol and ours stand side by side (ours empty when nothing ran)."""

    title: str
    cells: dict[str, Cell]
    paper: dict[str, str]
    ours: dict[str, str]
    missing: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows that were both measured here, on the same images.

    Attributes:
        left: Title of the row that is hoped to be better.
        right: Title of the other one.
        gains: Column → left minus right.
        missing: Why there are no intervals; empty where there are.
    """

    left: str
    right: str
    gains: Mapping[str, Gain]
    missing: str = ""


PRINTED = (
    "Δ is against a printed figure, and no figures of single images are known behind it: it has no interval, and a "
    "small one says nothing."
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table.

    Attributes:
        key: For example `eiad.4`.
        title: What it is about.
        source: Paper, table and section.
        columns: Column → title.
        lines: Rows by method.
        notes: What to know about it.
        digits: Digits after the point; 0 for counts.
        pairs: Rows of ours against each other, with intervals over images.
    """

    key: str
    title: str
    source: str
    columns: dict[str, str]
    lines: dict[str, Line]
    notes: list[str]
    digits: int = 1
    pairs: Sequence[Pair] = ()

    @property
    def remarks(self) -> list[str]:
        """The notes, and what the differences stand on where there are any."""
        differs = any(cell.difference is not None for line in self.lines.values() for cell in line.cells.values())
        return [*self.notes, *([PRINTED] if differs and self.digits else [])]

    @property
    def measured(self) -> int:
        """Rows with at least one figure of ours."""
        return sum(any(cell.ours is not None for cell in line.cells.values()) for line in self.lines.values())

    @property
    def has_conventions(self) -> bool:
        """Whether it matters by whose rules its figures were measured."""
        return any("convention" in line.ours for line in self.lines.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the differences."""
        plain = asdict(self)
        for name, line in self.lines.items():
            for column, cell in line.cells.items():
                plain["lines"][name]["cells"][column]["difference"] = cell.difference
        for told, pair in zip(plain["pairs"], self.pairs, strict=True):
            told["gains"] = {column: gain.as_json() for column, gain in pair.gains.items()}
        return plain


def compare(table: PublishedTable, ours: Mapping[str, Ours], pairs: Sequence[Pair] = ()) -> Comparison:
    """Puts what was measured beside what is published; rows of ours that the paper lacks come last."""
    lines = {}
    for name in [*table.rows, *(name for name in ours if name not in table.rows)]:
        row, mine = table.rows.get(name), ours.get(name, Ours())
        cells = {
            column: Cell(mine.values.get(column), row.values.get(column) if row else None) for column in table.columns
        }
        paper = (
            {
                "shots": "" if row.shots is None else str(row.shots),
                "resolution": table.resolution,
                "weights": row.weights,
                "definition": table.definition,
            }
            if row and not row.is_part
            else {}
        )
        lines[name] = Line(row.title if row else mine.title or name, cells, paper, _protocol(mine), mine.missing)
    for name, row in table.anchors.items():
        cells = {column: Cell(None, row.values[column]) for column in table.columns}
        told = {"shots": str(row.shots), "resolution": "not stated", "weights": row.weights, "definition": row.source}
        lines[name] = Line(row.title, cells, told, {}, "")
    return Comparison(table.key, table.title, table.source, table.columns, lines, table.notes, table.digits, pairs)


def _protocol(mine: Ours) -> dict[str, str]:
    if not mine.values or mine.is_part:
        return {}
    return {
        "shots": str(mine.shots),
        "resolution": mine.resolution,
        **({"convention": mine.convention} if mine.convention else {}),
        "weights": mine.weights,
        "definition": mine.definition,
    }


def shown(value: float | None, digits: int, signed: bool = False) -> str:
    """A figure for people; a dash when there is none, a plain 0 where nothing differs."""
    if value is None or not signed:
        return format_figure(value, digits)
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else "0"


def format_cell(cell: Cell, digits: int) -> str:
    """`ours | paper | Δ`."""
    return f"{shown(cell.ours, digits)} | {shown(cell.paper, digits)} | {shown(cell.difference, digits, signed=True)}"


def format_comparison(comparison: Comparison) -> str:
    """The table for a terminal: `ours | paper | Δ` a cell, then protocols, what is missing, and notes."""
    by = comparison.has_conventions
    head = ["", *comparison.columns.values(), *(["Our convention"] if by else [])]
    rows = [
        [
            line.title,
            *[format_cell(cell, comparison.digits) for cell in line.cells.values()],
            *([line.ours.get("convention", "–")] if by else []),
        ]
        for line in comparison.lines.values()
    ]
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    text = [f"{comparison.key}  {comparison.title} ({comparison.source}): ours | paper | Δ", ""]
    for row in [head, *rows]:
        text.append(
            "  ".join([row[0].ljust(widths[0]), *[c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)]])
        )
    text.append("")
    spoken: list[str] = []
    for line in comparison.lines.values():
        for who, protocol in (("ours", line.ours), ("paper", line.paper)):
            if protocol and (line.ours or who == "paper"):
                spoken.append(f"{line.title}, {who}: " + _spell(protocol))
        if line.missing:
            spoken.append(f"{line.title}: {'run in part' if line.ours else 'not run'}: {line.missing}")
    spoken += [format_pair(pair, comparison.columns) for pair in comparison.pairs]
    text += [f"- {line}" for line in [*spoken, *comparison.remarks]]
    return "\n".join(text)


def format_pair(pair: Pair, columns: Mapping[str, str]) -> str:
    """The difference of two rows in a sentence."""
    told = {name: gain.as_json() for name, gain in pair.gains.items() if gain.delta is not None}
    parts = [
        f"{columns.get(name, name)} {format_gain(gain)}" + (f" ({format_interval(gain)})" if gain["verdict"] else "")
        for name, gain in told.items()
    ]
    why = f"no intervals: {pair.missing}" if pair.missing else "with intervals over images"
    return f"{pair.left} minus {pair.right}, both measured here, {why}: {'; '.join(parts) or 'no figure in common'}."


def _spell(protocol: Mapping[str, str]) -> str:
    shots = f"{protocol['shots']}-shot" if protocol["shots"] else "shots not stated"
    return "; ".join([shots, *[f"{k}: {v}" for k, v in protocol.items() if k != "shots" and v]])

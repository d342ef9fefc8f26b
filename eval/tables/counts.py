"""Table I of EIAD: the questions of a built DDQA beside the published ones (Sec. III-A)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eval.tables.comparison import Comparison, Ours, compare
from eval.tables.published import load_published

TABLE, TOTAL = "eiad.1", "total"
SOURCES = ("bsdata", "pd_real", "real_iad", "vision")


def compare_counts(stats: Mapping[str, Mapping[str, int]], missing: Mapping[str, str]) -> Comparison:
    """Puts built counts beside the published ones.

    The total is over the sources that were built, ours and the paper's, so that like is compared with like.

    Args:
        stats: Source → task → questions, as `stats.json` holds them. Sources and tasks that the paper lacks are kept.
        missing: Source → why it was not built.
    """
    table = load_published()[TABLE]
    extra = {task for counts in stats.values() for task in counts} - {*table.columns, "skipped"}
    rows = dict(table.rows)
    if left_out := [name for name in SOURCES if name not in stats]:
        values = {
            task: _total([rows[name].values for name in SOURCES if name in stats], task) for task in table.columns
        }
        rows[TOTAL] = replace(
            rows[TOTAL], title=f"Total without {', '.join(rows[name].title for name in left_out)}", values=values
        )
    definition = "questions of the dataset in full, all splits"
    ours = {
        name: Ours(values=counts, weights="none", resolution="–", definition=definition, title=name)
        for name, counts in stats.items()
    }
    ours |= {name: Ours(missing=reason) for name, reason in missing.items()}
    ours[TOTAL] = Ours(
        values={task: _total(list(stats.values()), task) for task in [*table.columns, *extra]}, is_part=True
    )
    return compare(replace(table, columns=table.columns | {task: task for task in sorted(extra)}, rows=rows), ours)


def _total(counts: Sequence[Mapping[str, float | None]], task: str) -> float | None:
    known = [value for row in counts if (value := row.get(task)) is not None]
    return sum(known) if known else None

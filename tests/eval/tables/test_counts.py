import pytest

from eval.tables.comparison import Cell, format_comparison
from eval.tables.counts import SOURCES, compare_counts
from eval.tables.published import load_published

TASKS = ("AD", "RDL", "DFM", "DC")


def test_published_figures_add_up_as_printed() -> None:
    rows = load_published()["eiad.1"].rows
    for task in TASKS:
        assert sum(rows[name].values[task] or 0 for name in SOURCES) == rows["total"].values[task]
    printed = {"bsdata": 2223, "pd_real": 2311, "real_iad": 272136, "vision": 3985, "total": 280655}
    assert {name: sum(value or 0 for value in row.values.values()) for name, row in rows.items()} == printed


def test_bsdata_is_compared_with_its_true_column() -> None:
    table = compare_counts({"bsdata": {"AD": 1104, "RDL": 390, "DFM": 331, "DC": 394}}, {"vision": "It is gone."})
    cells = table.lines["bsdata"].cells
    assert cells["RDL"] == Cell(390, 394) and cells["RDL"].difference == -4
    assert table.lines["vision"].cells["AD"] == Cell(None, 0)
    assert table.lines["vision"].missing == "It is gone."
    assert table.lines["total"].cells["AD"] == Cell(1104, 1104), "only what was built is added up"
    assert table.lines["total"].title == "Total without PD-REAL, Real-IAD, VISION"
    text = format_comparison(table)
    assert "390 | 394 | −4" in text and "1104 | 1104 | 0" in text


def test_sources_and_tasks_beyond_the_paper_are_kept() -> None:
    table = compare_counts({"folder": {"AD": 3, "RDL": 1, "DFM": 1, "DC": 1, "description": 3, "skipped": 2}}, {})
    assert table.lines["folder"].cells["description"] == Cell(3, None)
    assert list(table.columns) == [*TASKS, "description"]


@pytest.mark.parametrize("task", TASKS)
def test_nothing_built_has_no_totals(task: str) -> None:
    assert compare_counts({}, {}).lines["total"].cells[task] == Cell(None, None)

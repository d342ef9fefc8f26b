import pytest

from data.ddqa.table import Cell, compare, format_table, published


def test_published_figures_add_up_as_printed() -> None:
    paper = published()
    for task, values in paper["tasks"].items():
        assert sum(values) == paper["totals"][task]
    for column, name in enumerate(paper["columns"]):
        assert sum(values[column] for values in paper["tasks"].values()) == paper["column_totals"][name]
    assert sum(paper["totals"].values()) == paper["total"]
    assert paper["images"] == 1104 + 830 + 124169 + 1894


def test_bsdata_is_compared_with_its_true_column() -> None:
    table = compare({"bsdata": {"AD": 1104, "RDL": 390, "DFM": 331, "DC": 394}})
    assert table.rows["RDL"]["bsdata"] == Cell(390, 394)
    assert table.rows["RDL"]["bsdata"].difference == -4
    assert table.rows["AD"]["vision"] == Cell(None, 0)
    assert table.totals["AD"] == Cell(1104, 1104), "only what was built is summed up"
    text = format_table(table)
    assert "390 / 394 (-4)" in text
    assert "1104 / 1104 (=)" in text
    assert table.as_json()["tasks"]["DFM"]["bsdata"] == {"ours": 331, "paper": 331, "difference": 0}


def test_sources_and_tasks_beyond_the_paper_are_kept() -> None:
    table = compare({"folder": {"AD": 3, "RDL": 1, "DFM": 1, "DC": 1, "description": 3, "skipped": 2}})
    assert table.rows["description"]["folder"] == Cell(3, None)
    assert "skipped" not in table.rows
    assert list(table.titles)[-1] == "folder"


@pytest.mark.parametrize("task", ["AD", "RDL", "DFM", "DC"])
def test_nothing_built_has_no_totals(task: str) -> None:
    assert compare({}).totals[task] == Cell(None, None)

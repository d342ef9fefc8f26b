from typing import Any

import pytest

from eval.ddqa.exam import grade


def make_row(task: str, answer: str, category: str = "washer", dataset: str = "mvtec_ad") -> dict[str, Any]:
    options = {"AD": ["No.", "Yes."], "DFM": []}.get(task, ["a", "b", "c", "d"])
    return {"task": task, "answer": answer, "options": options, "category": category, "dataset": dataset, "id": "x"}


def test_ad_is_balanced_between_normal_and_defective() -> None:
    rows = [make_row("AD", "A")] * 1 + [make_row("AD", "B")] * 9
    result = grade(rows, ["B"] * 10)
    assert result["AD"] == 50.0
    assert (result["AD_normal"], result["AD_defective"]) == (0.0, 100.0)


def test_ad_with_swapped_options_is_judged_by_what_they_say() -> None:
    swapped = {"options": ["Yes.", "No."]}
    rows = [make_row("AD", "A"), make_row("AD", "B") | swapped, make_row("AD", "A") | swapped]
    result = grade(rows, ["A", "A", "A"])
    assert (result["AD_normal"], result["AD_defective"], result["AD"]) == (50.0, 100.0, 75.0)


def test_unreadable_replies_are_wrong_and_counted() -> None:
    rows = [make_row("RDL", "A"), make_row("RDL", "B"), make_row("DFM", "[0.0, 0.0, 0.5, 1.0]")]
    result = grade(rows, ["A", "the second", "somewhere"])
    assert (result["RDL"], result["DFM_iou"]) == (50.0, 0.0)
    assert result["unparsable"] == {"AD": 0, "RDL": 1, "DFM": 1, "DC": 0}


def test_dfm_is_the_mean_iou() -> None:
    rows = [make_row("DFM", "[0.000, 0.000, 0.500, 1.000]")] * 2
    result = grade(rows, ["[0.000, 0.000, 0.500, 1.000]", "[0.250, 0.000, 0.750, 1.000]"])
    assert result["DFM_iou"] == pytest.approx(66.67)


def test_tasks_without_questions_are_none() -> None:
    result = grade([make_row("DC", "C", "gear"), make_row("AD", "B", "gear")], ["C", "B"])
    assert result["DC"] == 100.0
    assert result["RDL"] is None
    assert result["AD"] is None, "one answer only: nothing to balance"
    assert result["categories"] == {"gear": {"AD": 100.0, "DC": 100.0}}


def test_categories_of_two_datasets_are_marked_apart() -> None:
    rows = [
        make_row("DC", "A", "zipper"),
        make_row("DC", "A", "zipper", "vision"),
        make_row("DC", "A", "bolt", "vision"),
    ]
    result = grade(rows, ["A", "B", "A"])
    assert result["categories"] == {
        "mvtec_ad/zipper": {"DC": 100.0},
        "vision/bolt": {"DC": 100.0},
        "vision/zipper": {"DC": 0.0},
    }

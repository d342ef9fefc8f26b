from eval.tables.comparison import Cell, Ours, compare, format_cell, format_comparison, shown
from eval.tables.published import PublishedRow, PublishedTable

TABLE = PublishedTable(
    "p.1",
    "Title",
    "Paper, Table I",
    {"auroc": "AUROC", "ap": "AP"},
    {
        "theirs": PublishedRow("Theirs", "W", 1, {"auroc": 80.0, "ap": None}),
        "other": PublishedRow("Other", "V", 0, {"auroc": 70.0, "ap": 5.0}),
    },
    "not stated",
    "mean",
    ["A note."],
)


def test_differences() -> None:
    assert Cell(81.0, 80.0).difference == 1.0 and Cell(None, 1.0).difference is None
    assert format_cell(Cell(79.96, 80.0), 1) == "80.0 | 80.0 | 0"
    assert format_cell(Cell(79.0, 80.25), 1) == "79.0 | 80.2 | −1.2"
    assert format_cell(Cell(None, 80.0), 1) == "– | 80.0 | –"
    assert shown(3.0, 0, signed=True) == "+3"


def test_what_is_missing_is_said_and_the_published_row_stays() -> None:
    ours = {
        "theirs": Ours(values={"auroc": 81.5, "ap": 9.0}, weights="w", resolution="native", definition="d"),
        "other": Ours(missing="Get it: somewhere."),
        "new": Ours(values={"auroc": 1.0}, title="New"),
    }
    comparison = compare(TABLE, ours)
    text = format_comparison(comparison)
    assert comparison.measured == 2
    for part in (
        "81.5 | 80.0 | +1.5",
        "9.0 | – | –",
        "– | 70.0 | –",
        "Other: not run. Get it: somewhere.",
        "Theirs, ours: 0-shot; resolution: native; weights: w; definition: d",
        "Theirs, paper: 1-shot; resolution: not stated; weights: W; definition: mean",
        "1.0 | – | –",
        "- A note.",
    ):
        assert part in text
    assert comparison.as_json()["lines"]["theirs"]["cells"]["auroc"] == {"ours": 81.5, "paper": 80.0, "difference": 1.5}

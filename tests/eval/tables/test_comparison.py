from eval.gains.gain import Gain
from eval.tables.comparison import Cell, Ours, Pair, compare, format_cell, format_comparison, shown
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
        "theirs": Ours(
            values={"auroc": 81.5, "ap": 9.0}, weights="w", resolution="native", convention="saa", definition="d"
        ),
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
        "Other: not run: Get it: somewhere.",
        "Theirs, ours: 0-shot; resolution: native; convention: saa; weights: w; definition: d",
        "Our convention",
        "Theirs, paper: 1-shot; resolution: not stated; weights: W; definition: mean",
        "1.0 | – | –",
        "- A note.",
    ):
        assert part in text
    assert comparison.as_json()["lines"]["theirs"]["cells"]["auroc"] == {"ours": 81.5, "paper": 80.0, "difference": 1.5}


def test_two_rows_of_ours_are_set_against_each_other_and_printed_figures_have_no_interval() -> None:
    ours = {"theirs": Ours(values={"auroc": 81.5}), "mine": Ours(values={"auroc": 80.0})}
    pair = Pair("Theirs", "mine", {"auroc": Gain(1.5, 0.2, 2.5), "ap": Gain(0.3, -1, 1)})
    comparison = compare(TABLE, ours, [pair])
    text = format_comparison(comparison)
    assert "- Theirs minus mine, both measured here, with intervals over images: AUROC +1.5 (+0.2 to +2.5); " in text
    assert "AP not distinguishable (−1.0 to +1.0)." in text
    assert "against a printed figure" in text and "has no interval" in text
    assert comparison.as_json()["pairs"][0]["gains"]["auroc"]["verdict"] == "gain"
    alone = format_comparison(compare(TABLE, {}))
    assert "printed figure" not in alone  # nothing of ours, no difference
    bare = format_comparison(compare(TABLE, ours, [Pair("Theirs", "mine", {"auroc": Gain(1.5)}, "no counts")]))
    assert "no intervals: no counts: AUROC +1.5." in bare

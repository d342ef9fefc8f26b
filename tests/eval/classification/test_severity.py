import pytest

from data.classes.texts import ClassText, Product
from eval.classification.severity import SeverityReading, severity_scores


def product(name: str, count: int) -> Product:
    return Product(name, "n", "", tuple(ClassText(f"c{i}", f"name {i}", f"d{i}") for i in range(count)))


@pytest.mark.parametrize("reading", list(SeverityReading))
def test_perfect_replies(reading: SeverityReading) -> None:
    pairs = {"nut": [(name, name) for name in ("good", "c0", "c1", "c2")]}
    assert severity_scores(pairs, {"nut": product("nut", 3)}, reading)["nut"] == dict.fromkeys(
        ("normal", "anomaly", "defect", "total"), 1.0
    )


def test_two_classes_by_hand() -> None:
    """With two classes one is negligible: whichever it is, `c0` taken for `c1` is an error of severity."""
    pairs = {"nut": [("good", "good"), ("good", "c0"), ("c0", "c1"), ("c1", "c1")]}
    for reading in SeverityReading:
        scores = severity_scores(pairs, {"nut": product("nut", 2)}, reading, seeds=range(40))["nut"]
        assert scores["normal"] == 0.5
        assert 0 < scores["anomaly"] < 1  # the share of draws in which c1 is the negligible one
        assert scores["anomaly"] + scores["defect"] == pytest.approx(1)
        assert scores["total"] == pytest.approx(0.5)


@pytest.mark.parametrize(("classes", "paper", "published"), [(1, 1, 1), (4, 1, 1), (5, 2, 2), (9, 3, 2)])
def test_how_many_are_negligible(classes: int, paper: int, published: int) -> None:
    """Every anomaly is called c0: right for each group when c0 is in it, so the recalls tell the group's size."""
    pairs = {"nut": [(f"c{i}", "c0") for i in range(classes)]}
    for reading, count in ((SeverityReading.paper, paper), (SeverityReading.published, published)):
        anomaly, defect = [], []
        for seed in range(30):
            scores = severity_scores(pairs, {"nut": product("nut", classes)}, reading, seeds=[seed])["nut"]
            anomaly.append(scores["anomaly"])
            defect.append(scores["defect"])
        assert set(anomaly) <= {0.0, 1.0}
        assert (defect[0] is None) == (classes == count)
        if classes > 1:
            assert 0.1 < sum(anomaly) / 30 < 0.9
            assert all(a + d == 1 for a, d in zip(anomaly, defect, strict=True))
            assert abs(sum(anomaly) / 30 - count / classes) < 0.3


def test_a_missing_group_is_none() -> None:
    scores = severity_scores({"nut": [("c0", "c0")]}, {"nut": product("nut", 1)}, SeverityReading.paper)["nut"]
    assert scores == {"normal": None, "anomaly": 1.0, "defect": None, "total": 1.0}


def test_an_unknown_reply_is_wrong_on_paper_and_a_defect_as_published() -> None:
    pairs = {"nut": [("c0", "unknown"), ("c1", "unknown")]}
    products = {"nut": product("nut", 2)}
    assert severity_scores(pairs, products, SeverityReading.paper)["nut"]["defect"] == 0
    assert severity_scores(pairs, products, SeverityReading.published)["nut"]["defect"] == 1


def test_a_further_category_changes_no_draw_on_paper() -> None:
    pairs = {"nut": [(f"c{i}", "c0") for i in range(5)]}
    alone = severity_scores(pairs, {"nut": product("nut", 5)}, SeverityReading.paper)
    more = severity_scores(pairs, {"cap": product("cap", 5), "nut": product("nut", 5)}, SeverityReading.paper)
    assert alone == more

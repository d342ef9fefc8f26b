from eval.tables.velm import published_scores, uncovered_categories


def test_figures_of_a_dataset_by_category() -> None:
    scores = published_scores("mvtec_ac")
    assert len(scores) == 15
    assert scores["mean"] == {"accuracy": 84.0, "macro_f1": 80.3, "kappa": 79.7}
    assert set(published_scores("mvtec_ad")) == {"mean"}
    assert published_scores("own") == {}


def test_a_part_of_a_dataset_is_not_compared() -> None:
    categories = sorted(set(published_scores("mvtec_ac")) - {"mean"})
    assert uncovered_categories("mvtec_ac", categories) == []
    assert uncovered_categories("mvtec_ac", categories[1:]) == categories[:1]
    assert uncovered_categories("mvtec_ad", [*categories, "toothbrush"]) == []
    assert uncovered_categories("mvtec_ad", categories[:-1]) == ["zipper"]

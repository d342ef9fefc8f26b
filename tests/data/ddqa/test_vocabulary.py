import numpy as np

from data.ddqa.vocabulary import draw_distractors, meaning


def test_synonyms_share_a_meaning() -> None:
    assert meaning("Bent-Wire") == meaning("bend")
    assert meaning("something new") == "something new"


def test_never_a_synonym_and_always_enough() -> None:
    for seed in range(200):
        drawn = draw_distractors("hole", ["hole", "perforation", "crack"], 1, 3, np.random.default_rng(seed))
        meanings = {meaning(name) for name in [*drawn, "hole"]}
        assert len(drawn) == 3
        assert len(meanings) == 4
        assert "crack" in drawn


def test_one_class_sources_draw_from_the_vocabulary() -> None:
    drawn = draw_distractors("pitting", ["pitting"], 1, 3, np.random.default_rng(0))
    assert len(set(drawn)) == 3
    assert all(meaning(name) != "pitting" for name in drawn)

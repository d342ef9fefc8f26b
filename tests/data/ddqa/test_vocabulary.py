import itertools

import numpy as np
import pytest
import yaml

from data.ddqa.vocabulary import VOCABULARY, draw_distractors, meaning, meanings


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


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("scratch_head", "scratch"),
        ("broken teeth, Scratch", "scratch"),
        ("chunk of wax missing,foreign particals on candle", "foreign object"),
        ("missing parts", "missing part"),
        ("t_contamination", "stain"),
        ("pit", "pitting"),
    ],
)
def test_names_that_hold_a_synonym_are_never_offered_against_it(answer: str, other: str) -> None:
    for seed in range(60):
        assert other not in draw_distractors(answer, [answer, other], 1, 3, np.random.default_rng(seed))


def test_every_pair_of_options_is_apart_for_every_shipped_name() -> None:
    known = yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))
    for answer in [name for group in known["meanings"] for name in group] + known["vague"]:
        options = [answer, *draw_distractors(answer, ["scratch", "dent"], 1, 3, np.random.default_rng(0))]
        assert len(options) == 4
        for one, other in itertools.combinations(options, 2):
            assert meanings(one).isdisjoint(meanings(other))


def test_vague_names_are_never_wrong_options() -> None:
    for seed in range(40):
        drawn = draw_distractors("scratch", ["scratch", "defect", "damage", "bad"], 0, 3, np.random.default_rng(seed))
        assert len(drawn) == 3
        assert not {"defect", "damage", "bad"} & set(drawn)


def test_names_of_the_category_come_first() -> None:
    own = ["scratch", "crack", "hole", "dent"]
    drawn = draw_distractors("scratch", own, 1, 3, np.random.default_rng(3))
    assert sum(name in own for name in drawn) >= 2
    assert set(draw_distractors("scratch", own, 0, 3, np.random.default_rng(3))) == set(own[1:])
    assert not set(draw_distractors("scratch", [], 3, 3, np.random.default_rng(3))) & {"scratch"}

import itertools

import numpy as np
import pytest
import yaml

from data.ddqa.vocabulary import VOCABULARY, all_names, draw_distractors, is_vague, listed_meanings, meanings
from data.readers.defect_names import TABLE, join_names, readable


def test_synonyms_share_a_meaning() -> None:
    assert meanings("Bent-Wire") == meanings("bend") == {"bend"}
    assert meanings("something new") == {"something new"}
    assert meanings("missing corner") == {"break", "missing part"}


def test_never_a_synonym_and_always_enough() -> None:
    for seed in range(200):
        drawn = draw_distractors("hole", ["hole", "perforation", "crack"], 1, 3, np.random.default_rng(seed))
        assert len(drawn) == 3
        assert len({frozenset(meanings(name)) for name in [*drawn, "hole"]}) == 4
        assert "crack" in drawn


def test_one_class_sources_draw_from_the_vocabulary() -> None:
    drawn = draw_distractors("pitting", ["pitting"], 1, 3, np.random.default_rng(0))
    assert len(set(drawn)) == 3
    assert all(meanings(name).isdisjoint(meanings("pitting")) for name in drawn)


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
    for answer in [name for line in known["meanings"] for name in line] + known["alone"] + known["vague"]:
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


def test_no_part_of_a_joined_name_is_a_wrong_option_beside_it() -> None:
    answer = join_names(["contamination", "scratch", "pit"])
    own = ["scratches", "stain", "pitting", "crack", "dent and scratch", "bent part", "damage and hole"]
    for seed in range(200):
        drawn = draw_distractors(answer, [answer, *own], 1, 3, np.random.default_rng(seed))
        assert len(drawn) == 3
        assert not {answer, *own} & set(drawn) - {"crack", "bent part"}
    for seed in range(200):
        drawn = draw_distractors(
            "scratch", ["crack and scratch", "crack and hole", "hole"], 1, 3, np.random.default_rng(seed)
        )
        assert "crack and scratch" not in drawn
        assert not {"crack and hole", "hole"} <= set(drawn)
    assert is_vague("crack and other defect")


MVTEC_AD = [
    "bent",
    "bent_lead",
    "bent_wire",
    "broken",
    "broken_large",
    "broken_small",
    "broken_teeth",
    "cable_swap",
    "color",
    "combined",
    "contamination",
    "crack",
    "cut",
    "cut_inner_insulation",
    "cut_lead",
    "cut_outer_insulation",
    "damaged_case",
    "defective",
    "fabric_border",
    "fabric_interior",
    "faulty_imprint",
    "flip",
    "fold",
    "glue",
    "glue_strip",
    "gray_stroke",
    "hole",
    "liquid",
    "manipulated_front",
    "metal_contamination",
    "misplaced",
    "missing_cable",
    "missing_wire",
    "oil",
    "pill_type",
    "poke",
    "poke_insulation",
    "print",
    "rough",
    "scratch",
    "scratch_head",
    "scratch_neck",
    "split_teeth",
    "squeeze",
    "squeezed_teeth",
    "thread",
    "thread_side",
    "thread_top",
]


def test_every_reviewed_name_is_known() -> None:
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    names = {name for section in table.values() for name in (section.get("names") or {}).values()}
    names |= {readable("mvtec_ad", folder) for folder in MVTEC_AD}
    names |= {"blowhole", "break", "crack", "fray", "uneven", "pitting"}  # Magnetic-tile, BSData
    known = {*all_names(), *yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))["alone"]}
    assert sorted(name for name in names if not is_vague(name) and not meanings(name) <= known) == []


def test_the_vocabulary_is_well_formed() -> None:
    known = yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))
    firsts = [line[0] for line in known["meanings"]]
    assert len(set(firsts)) == len(firsts)
    assert all(meanings(name) == {name} for name in [*firsts, *known["alone"]])
    listed = {name for line in known["meanings"] for name in line}
    assert not listed & set(known["alone"])
    for name in [*listed, *known["alone"], *known["vague"]]:
        assert name == name.lower() and not set("_-,") & set(name) and " and " not in name


def test_a_sentence_means_what_its_listed_names_mean() -> None:
    assert listed_meanings("A nut with a bent lead and some dirt on it.") == {"bend", "stain"}
    assert listed_meanings("A silver nut on a table.") == frozenset()

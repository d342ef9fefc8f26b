import numpy as np

from data.ddqa.regions import REGIONS
from data.ddqa.tasks import QUESTIONS
from data.masks import Box
from data.tiny.captions import KINDS, Fact, Facts, Turn, caption, corpus, make_turns, random_facts

ONE = Facts("a red disc", (Fact("hole", Box(0, 0, 24, 48), (12.0, 24.0)),), (96, 96))


def ask(facts: Facts, count: int = 400) -> list[Turn]:
    rng = np.random.default_rng(0)
    return [turn for _ in range(count) for turn in make_turns(facts, rng, 3)]


def test_the_caption_tells_the_facts() -> None:
    assert caption(ONE) == "The image shows a red disc. There is a hole at the top left."
    assert "no visible defect" in caption(Facts("a red disc", (), (96, 96)))


def test_lettered_answers_point_to_the_truth() -> None:
    lettered = [turn for turn in ask(ONE) if len(turn.answer) == 1]
    chosen = {turn.question.split(f"\n{turn.answer}. ")[1].split("\n")[0] for turn in lettered}
    assert chosen == {"hole", "top left", "Yes."}
    assert {turn.answer for turn in lettered} >= {"A", "B", "C", "D"}


def test_other_answers_are_true() -> None:
    others = {turn.answer for turn in ask(ONE) if len(turn.answer) > 1}
    assert others == {"hole", "top left", "Yes.", caption(ONE), "[0.000, 0.000, 0.250, 0.500]"}


def test_nothing_is_asked_about_marks_that_are_not_there() -> None:
    answers = {turn.answer for turn in ask(Facts("a red disc", (), (96, 96)))}
    assert not answers & {*KINDS, *REGIONS}


def test_no_question_of_ddqa_is_taught() -> None:
    rng = np.random.default_rng(1)
    turns = [turn for _ in range(500) for turn in make_turns(random_facts(rng), rng, 4)]
    assert not {turn.question.split("\n")[0] for turn in turns} & set(QUESTIONS.values())


def test_the_corpus_is_the_same_every_time() -> None:
    assert corpus() == corpus()

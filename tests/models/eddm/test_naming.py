from collections.abc import Sequence

import numpy as np
import pytest

from models.eddm.naming import Options, compare_all

NAMES = [f"name {number:02d}" for number in range(55)]


class Scorer:
    """Logits of letters: a worth of each name, and a shift of each question that says nothing about its names."""

    def __init__(self, worths: Sequence[dict[str, float]]) -> None:
        self.worths, self.rng = worths, np.random.default_rng(0)
        self.passes: list[list[list[Options]]] = []

    def __call__(self, questions: Sequence[Sequence[Options]]) -> list[list[list[float]]]:
        self.passes.append([list(some) for some in questions])
        return [
            [[worth.get(name, 0.0) + shift for name in options] for options, shift in zip(some, shifts, strict=True)]
            for some, worth in zip(questions, self.worths, strict=True)
            for shifts in [self.rng.normal(0, 50, len(some))]
        ]


@pytest.mark.parametrize("count", [1, 3, 4, 5, 6, 7, 9, 55])
def test_the_best_of_any_number_of_names_is_found_in_two_passes(count: int) -> None:
    names = NAMES[:count]
    scorer = Scorer([{name: 1.0} for name in names])  # an image for each name
    assert compare_all(names, count, scorer) == names
    assert len(scorer.passes) == (2 if count > 4 else 1)
    assert {len(options) for image in scorer.passes[0] for options in image} == {min(count, 4)}
    assert {len(some) for some in scorer.passes[-1]} == {1}, "the last pass asks one question an image"


def test_the_last_question_decides_between_the_four_best() -> None:
    worth = {"name 03": 3.0, "name 20": 5.0, "name 21": 4.0, "name 54": 4.5, "name 40": 2.0}
    scorer = Scorer([worth])
    assert compare_all(NAMES, 1, scorer) == ["name 20"]
    assert len(scorer.passes[0][0]) == 18
    assert scorer.passes[1] == [[["name 03", "name 20", "name 21", "name 54"]]], "in the order of all names"


def test_without_names_or_images_nothing_is_asked() -> None:
    scorer = Scorer([{}])
    assert compare_all([], 1, scorer) == [None]
    assert compare_all(NAMES, 0, scorer) == []
    assert not scorer.passes

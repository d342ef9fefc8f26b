"""Reading exercises: a description, and the type and place that it tells, in one order or the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.ddqa.compose import FIXED_PROMPT, FREE_PROMPT, compose_description
from data.ddqa.regions import REGIONS
from data.tiny.referring import ANY_KIND, KINDS, NOUNS
from data.training.grounding import build_prompt

CLEAN_SHARE, GENERAL_SHARE = 0.1, 0.05


@dataclass(frozen=True, slots=True)
class ReadingItem:
    """One exercise.

    Attributes:
        id: Names the item in error messages.
        prompt: What is read.
        answer: What it tells.
        place: Index of the region in `REGIONS`; `len(REGIONS)` when it names none.
    """

    id: str
    prompt: str
    answer: str
    place: int


class DescriptionReading:
    """Endless exercises: item `index` of epoch `epoch` depends on the seed alone."""

    def __init__(self, seed: int, size: int = 10_000) -> None:
        self._seed, self._size = seed, size

    def __len__(self) -> int:
        """Number of exercises in an epoch."""
        return self._size

    def get(self, epoch: int, index: int) -> ReadingItem:
        """One exercise."""
        rng = np.random.default_rng([self._seed, epoch, index])
        noun = str(rng.choice(NOUNS)) if rng.random() < 0.9 else None
        chance = rng.random()
        if chance < GENERAL_SHARE:
            return ReadingItem(f"text {index}", FIXED_PROMPT, " any", len(REGIONS))
        if chance < GENERAL_SHARE + CLEAN_SHARE:
            prompt = build_prompt(FREE_PROMPT, compose_description(noun, None, None))
            return ReadingItem(f"text {index}", prompt, " none", len(REGIONS))
        kind, place = str(rng.choice([*KINDS, ANY_KIND])), int(rng.integers(len(REGIONS)))
        answers = [kind, REGIONS[place]]
        if rng.random() < 0.5:
            answers.reverse()
        prompt = build_prompt(FREE_PROMPT, compose_description(noun, kind, REGIONS[place]))
        return ReadingItem(f"text {index}", prompt, f" {answers[0]} {answers[1]}", place)


def reading_corpus() -> list[str]:
    """Every sentence frame with every type, place and noun: what a tokenizer of these texts is trained on."""
    described = [
        build_prompt(FREE_PROMPT, compose_description(noun, kind, place))
        for noun in (*NOUNS, None)
        for kind in (*KINDS, ANY_KIND, None)
        for place in REGIONS
    ]
    return [*described, *[f" {kind} {place} none any" for kind in KINDS for place in REGIONS], *[FIXED_PROMPT] * 50]

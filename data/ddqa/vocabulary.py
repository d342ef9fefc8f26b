"""Defect names that mean different things: where DC's wrong options come from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import yaml

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")


@cache
def _groups() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in yaml.safe_load(VOCABULARY.read_text(encoding="utf-8")))


@cache
def meaning(defect: str) -> str:
    """A name that all synonyms of a defect share: the first of its line, or the name itself when unlisted."""
    plain = defect.lower().replace("_", " ").replace("-", " ").strip()
    return next((group[0] for group in _groups() if plain in group), plain)


def draw_distractors(answer: str, own: list[str], foreign: int, count: int, rng: np.random.Generator) -> list[str]:
    """Draws wrong options for a DC question; no two options, the answer included, are synonyms.

    Args:
        answer: The true defect name.
        own: Defect names of the same source; the first choice.
        foreign: How many of the options to draw from the shipped vocabulary even when `own` would suffice.
        count: How many options to draw.
        rng: Source of randomness.
    """
    taken = {meaning(answer)}
    near = [name for name in rng.permutation(sorted(set(own))).tolist() if own]
    far = [group[0] for group in rng.permutation(np.array([g[:1] for g in _groups()], dtype=object)).tolist()]
    drawn: list[str] = []
    for pool, goal in ((near, count - foreign), (far, count)):
        for name in pool:
            if len(drawn) < goal and meaning(name) not in taken:
                taken.add(meaning(name))
                drawn.append(name)
    return drawn


def all_names() -> list[str]:
    """The first name of every meaning in the shipped vocabulary."""
    return [group[0] for group in _groups()]

"""Defect names that mean different things: where DC's wrong options come from."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import yaml

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")


@cache
def _groups() -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))["meanings"])


@cache
def _vague() -> frozenset[str]:
    return frozenset(yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))["vague"])


@cache
def _by_name() -> dict[str, str]:
    return {name: group[0] for group in _groups() for name in group}


@cache
def _plain(defect: str) -> str:
    return re.sub(r"[\s_-]+", " ", defect.lower()).strip()


@cache
def meaning(defect: str) -> str:
    """A name that all synonyms of a defect share: the first of its line, or the name itself when unlisted."""
    return _by_name().get(_plain(defect), _plain(defect))


@cache
def meanings(defect: str) -> frozenset[str]:
    """All that a name may mean: its own line's, or, when unlisted, those of the listed names within it.

    So `scratch_head` and `broken teeth, scratch` both mean a scratch among others, and neither is ever offered
    against it. A name that holds no listed one means itself alone.
    """
    plain = _plain(defect)
    if plain in _by_name():
        return frozenset([_by_name()[plain]])
    words = re.findall(r"[\w']+", plain)
    spans = {" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, len(words) + 1)}
    return frozenset(_by_name()[span] for span in spans if span in _by_name()) or frozenset([plain])


@cache
def is_vague(defect: str) -> bool:
    """Whether a name fits any defect at all, such as `damage`: it can be an answer, but never a wrong option."""
    return _plain(defect) in _vague()


def draw_distractors(answer: str, own: list[str], foreign: int, count: int, rng: np.random.Generator) -> list[str]:
    """Draws wrong options for a DC question; no two options, the answer included, can mean the same.

    Args:
        answer: The true defect name.
        own: Defect names of the same category; the first choice.
        foreign: How many of the options to draw from the shipped vocabulary even when `own` would suffice.
        count: How many options to draw.
        rng: Source of randomness.
    """
    taken = set(meanings(answer))
    near = sorted(set(own))
    far = all_names()
    drawn: list[str] = []
    for pool, goal in ((near, count - foreign), (far, count), (near, count)):
        for index in rng.permutation(len(pool)):
            name = pool[index]
            if len(drawn) < goal and not is_vague(name) and taken.isdisjoint(meanings(name)):
                taken |= meanings(name)
                drawn.append(name)
    return drawn


def all_names() -> list[str]:
    """The first name of every meaning in the shipped vocabulary."""
    return [group[0] for group in _groups()]

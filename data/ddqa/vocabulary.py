"""Defect names that mean different things: where DC's wrong options come from."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from data.readers.defect_names import JOINT

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")
SPAN = 8  # words of the longest listed name, and some


@cache
def _table() -> dict[str, list]:
    return yaml.safe_load(VOCABULARY.read_text(encoding="utf-8"))


@cache
def _by_name() -> dict[str, frozenset[str]]:
    """Name → its meanings, each the first name of a line that it stands on."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in _table()["meanings"]:
        for name in line:
            found[name].add(line[0])
    return {name: frozenset(first) for name, first in found.items()} | {
        name: frozenset([name]) for name in _table()["alone"]
    }


@cache
def _plain(defect: str) -> str:
    return re.sub(r"[\s_-]+", " ", defect.lower()).strip()


@cache
def meanings(defect: str) -> frozenset[str]:
    """All that a name may mean; two names that share a meaning are never offered against each other.

    A listed name means what its lines mean, an unlisted one what the listed names within it mean: `scratch_head` means
    a scratch. A name that holds no listed one means itself alone. The name of several types, joined by " and ", means
    what each of them means.
    """
    return frozenset().union(*(_single(part) for part in _plain(defect).split(JOINT)))


def listed_meanings(text: str) -> frozenset[str]:
    """What the listed names within a text mean; empty where it holds none."""
    words = re.findall(r"[\w']+", _plain(text))
    spans = {" ".join(words[a:b]) for a in range(len(words)) for b in range(a + 1, min(len(words), a + SPAN) + 1)}
    return frozenset().union(*(_by_name()[span] for span in spans if span in _by_name()))


def _single(plain: str) -> frozenset[str]:
    return _by_name().get(plain) or listed_meanings(plain) or frozenset([plain])


@cache
def is_vague(defect: str) -> bool:
    """Whether a name, or one of several joined, fits any defect at all: an answer, but never a wrong option."""
    return not set(_table()["vague"]).isdisjoint(_plain(defect).split(JOINT))


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
    return [line[0] for line in _table()["meanings"]]

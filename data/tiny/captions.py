"""Generic language for generic scenes: captions and short questions, built by rule, with several wordings of each.

This is what the tiny base model is trained on before it sees DDQA. The wordings share words with DDQA but none of its
sentences, and no product is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.ddqa.regions import REGIONS, region_of
from data.ddqa.tasks import LETTERS, format_box
from data.ddqa.vocabulary import draw_distractors
from data.factory.defects import PAINTERS
from data.masks import Box
from data.tiny.scenes import COLOURS, PATTERNS, SHAPES

KINDS = tuple(PAINTERS)
HINTS = (
    "Answer with the letter.",
    "Choose the right option.",
    "Directly give the letter.",
    "Answer with the letter of the right option from the given choices directly.",
)
DESCRIBE = (
    "What does the picture show?",
    "Describe the image briefly.",
    "Please describe the product and its defects.",
    "Briefly describe this object and potential marks on it.",
    "Please identify what is in the image.",
)
IS_MARKED = (
    "Can you see a mark on this surface?",
    "Is any defect visible?",
    "Does the image show a defect?",
    "Is there a visible mark in the picture?",
    "Look at this object. Is there any damage?",
)
WHICH = (
    "What kind of mark is it?",
    "Which type of defect does the object have?",
    "The surface has a mark. Name its type.",
    "There is damage on the object. What type is it?",
    "What is the defect in this image?",
)
WHERE = (
    "Where is the mark?",
    "In which part of the image is the defect?",
    "A defect is present in the image. Where is it?",
    "There is a mark on the object. Where is the mark located?",
    "Name the location of the defect.",
)
BOXED = (
    "Give the Bounding Box of the mark.",
    "Where exactly is the defect? Answer with its Bounding Box.",
    "There is a defect in the picture. Mark it with a box.",
    "Find the defects and give a Bounding Box.",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One mark: its kind, its box in pixels and the centre (x, y) of its pixels."""

    kind: str
    box: Box
    centre: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a scene of `size` (height, width); marks are listed largest first."""

    surface: str
    marks: tuple[Fact, ...]
    size: tuple[int, int]

    def region(self, mark: Fact) -> str:
        """Name of the cell of the 3×3 grid that holds a mark."""
        return region_of(mark.centre, self.size)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question with its answer; `weight` is how much a token of the answer counts in the loss."""

    question: str
    answer: str
    weight: float = 1.0


def name_surface(colour: str, pattern: str, shape: str | None) -> str:
    """The words for a surface: `a striped red disc`."""
    return f"a {pattern} {colour} {shape or 'surface'}"


def random_facts(rng: np.random.Generator) -> Facts:
    """Facts without an image, for the language-only warm-up."""
    words = [str(rng.choice(list(names))) for names in (COLOURS, PATTERNS, SHAPES)]
    marks = []
    for kind in rng.permutation(np.array(KINDS))[: int(rng.choice([0, 1, 2, 3], p=[0.15, 0.5, 0.25, 0.1]))].tolist():
        width, height = rng.integers(60, 320, 2).tolist()
        left, top = int(rng.integers(0, 1000 - width)), int(rng.integers(0, 1000 - height))
        box = Box(left, top, left + width, top + height)
        marks.append(Fact(kind, box, (left + width / 2, top + height / 2)))
    return Facts(name_surface(words[0], words[1], words[2]), tuple(marks), (1000, 1000))


def caption(facts: Facts) -> str:
    """One sentence on the surface and one on its marks."""
    marks = " and ".join(f"a {mark.kind} at the {facts.region(mark)}" for mark in facts.marks)
    found = f"There is {marks}." if marks else "There is no visible defect."
    return f"The image shows {facts.surface}. {found}"


def make_turns(
    facts: Facts, rng: np.random.Generator, count: int, *, boxes: bool = True, open_share: float = 0.2
) -> list[Turn]:
    """Draws questions about a scene; no two of the same type unless they concern different marks.

    Args:
        facts: What is true.
        rng: Source of randomness.
        count: How many questions to draw.
        boxes: Whether to ask for boxes.
        open_share: Share of the questions on kind and place that come without options.
    """
    turns = [_presence(facts, rng)]
    if rng.random() < 0.2:
        turns.append(Turn(_pick(DESCRIBE, rng), caption(facts), 0.15))
    if len(facts.marks) == 1:
        mark = facts.marks[0]
        turns += [_kind(mark, WHICH, rng, open_share), _place(facts, mark, WHERE, rng, open_share)]
        turns += [_box(facts, mark, BOXED, rng)] if boxes else []
    for mark in facts.marks if len(facts.marks) > 1 else ():
        if sum(other.kind == mark.kind for other in facts.marks) == 1:
            turns.append(_place(facts, mark, (f"Where is the {mark.kind}?", f"Find the {mark.kind}."), rng, open_share))
            if boxes and rng.random() < 0.4:
                turns.append(_box(facts, mark, (f"Give the Bounding Box of the {mark.kind}.",), rng))
        place = facts.region(mark)
        if sum(facts.region(other) == place for other in facts.marks) == 1:
            prompts = (f"What is at the {place}?", f"Which type of mark is at the {place}?")
            turns.append(_kind(mark, prompts, rng, open_share))
    return [turns[index] for index in rng.permutation(len(turns))[:count].tolist()]


def corpus() -> list[str]:
    """Texts from which the tokenizer learns its merges: every word a scene can bring up."""
    rng = np.random.default_rng(0)
    texts = ["user\nassistant\n", "[1.000, 1.000, 0.000]"] * 50
    for _ in range(1500):
        facts = random_facts(rng)
        texts.append(caption(facts))
        texts += [f"{turn.question}\n{turn.answer}" for turn in make_turns(facts, rng, 4)]
    return texts


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _presence(facts: Facts, rng: np.random.Generator) -> Turn:
    question, answer = _pick(IS_MARKED, rng), "Yes." if facts.marks else "No."
    if rng.random() < 0.25:
        return Turn(question, answer)
    options = ["No.", "Yes."] if rng.random() < 0.7 else ["Yes.", "No."]
    return _lettered(question, options, answer, rng)


def _kind(mark: Fact, prompts: Sequence[str], rng: np.random.Generator, open_share: float) -> Turn:
    question = _pick(prompts, rng)
    if rng.random() < open_share:
        return Turn(question, mark.kind)
    wrong = draw_distractors(mark.kind, list(KINDS), int(rng.random() < 0.5), int(rng.integers(2, 5)), rng)
    options = [str(option) for option in rng.permutation(np.array([mark.kind, *wrong]))]
    return _lettered(question, options, mark.kind, rng)


def _place(facts: Facts, mark: Fact, prompts: Sequence[str], rng: np.random.Generator, open_share: float) -> Turn:
    question, place = _pick(prompts, rng), facts.region(mark)
    if rng.random() < open_share:
        return Turn(question, place)
    taken = {facts.region(other) for other in facts.marks}
    wrong = [str(name) for name in rng.permutation(np.array(REGIONS)) if name not in taken][: int(rng.integers(2, 5))]
    options = [str(option) for option in rng.permutation(np.array([place, *wrong]))]
    return _lettered(question, options, place, rng)


def _box(facts: Facts, mark: Fact, prompts: Sequence[str], rng: np.random.Generator) -> Turn:
    return Turn(_pick(prompts, rng), format_box(mark.box, facts.size), 0.15)


def _lettered(question: str, options: Sequence[str], answer: str, rng: np.random.Generator) -> Turn:
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return Turn("\n".join([question, *lines, _pick(HINTS, rng)]), LETTERS[options.index(answer)])

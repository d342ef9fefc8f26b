"""The tasks of DDQA (EIAD, Sec. III-A and Fig. 1): from an annotation to a question, its options and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import REGIONS, region_of, region_pixels
from data.ddqa.vocabulary import draw_distractors
from data.ddqa.wording import QUESTIONS, Task
from data.masks import Box, Region

LETTERS = "ABCDE"
LETTER_HINT = "Answer with the option's letter from the given choices directly."
AD_OPTIONS = ("No.", "Yes.")


class RegionRule(StrEnum):
    """Which of the nine regions RDL calls right when defects touch several; the paper does not say.

    largest_centroid: the cell of the centroid of the largest defect region.
    union_centroid: the cell of the centroid of all defect pixels, as if they were one defect.
    most_pixels: the cell that holds most defect pixels; of equal ones the first in reading order.
    skip_ambiguous: asks only where all defect pixels lie in one cell, so the counts fall below the paper's.
    """

    largest_centroid = "largest_centroid"
    union_centroid = "union_centroid"
    most_pixels = "most_pixels"
    skip_ambiguous = "skip_ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its answer.

    Attributes:
        task: Which task.
        options: The choices in their order; empty for DFM and description.
        answer: The letter of the right option, the box for DFM, the text for description.
        box: The box in pixels, for DFM alone.
    """

    task: Task
    options: tuple[str, ...]
    answer: str
    box: Box | None = None

    @property
    def prompt(self) -> str:
        """The user's text in the paper's wording, without the image placeholder."""
        return format_prompt(self.task, self.options)


def format_prompt(task: Task, options: tuple[str, ...] = (), question: str | None = None) -> str:
    """The user's text of a task with its lettered options.

    Args:
        task: The task.
        options: The choices; none leaves the letters out.
        question: Another wording; None takes the paper's.
    """
    question = question or QUESTIONS[task]
    if not options:
        return question
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([question, *lines, LETTER_HINT])


def ask_ad(*, normal: bool, letter: int | None = None) -> Question:
    """AD: is there a defect?

    Args:
        normal: Whether the right answer is no.
        letter: Position of the right option, 0 or 1; None keeps the paper's order, "No." first.
    """
    right, wrong = AD_OPTIONS if normal else AD_OPTIONS[::-1]
    if letter is None:
        letter = AD_OPTIONS.index(right)
    return _choice(Task.AD, right, [wrong], letter)


def ask_rdl(
    mask: NDArray[np.bool_],
    regions: list[Region],
    letter: int,
    rng: np.random.Generator,
    rule: RegionRule = RegionRule.largest_centroid,
) -> Question | None:
    """RDL: in which cell of the 3×3 grid is the defect?

    The wrong options are cells that no defect pixel touches; only where fewer than three such cells exist are the
    least touched ones taken, so that the answer stays the best one.

    Args:
        mask: (H, W) bool, all defects of the image.
        regions: Its defect regions, largest first.
        letter: Position of the right option, 0..3.
        rng: Source of randomness.
        rule: What counts when several cells are touched.

    Returns:
        The question; None where the rule asks none.
    """
    touched = region_pixels(mask, enclose(regions))
    answer = locate(regions, touched, (mask.shape[0], mask.shape[1]), rule)
    if answer is None:
        return None
    others = [REGIONS[k] for k in rng.permutation(len(REGIONS)) if REGIONS[k] != answer]
    wrong = sorted(others, key=lambda name: touched[name])[:3]
    return _choice(Task.RDL, answer, [wrong[k] for k in rng.permutation(3)], letter)


def locate(regions: list[Region], touched: dict[str, int], size: tuple[int, int], rule: RegionRule) -> str | None:
    """Name of the region that a rule calls right; None where it refuses.

    Args:
        regions: The defect regions, largest first.
        touched: Defect pixels by region name.
        size: (height, width) of the image.
        rule: The rule.
    """
    if rule is RegionRule.largest_centroid:
        return region_of(regions[0].centroid, size)
    if rule is RegionRule.union_centroid:
        area = sum(region.area for region in regions)
        x, y = (sum(region.area * region.centroid[axis] for region in regions) / area for axis in (0, 1))
        return region_of((x, y), size)
    if rule is RegionRule.skip_ambiguous and sum(count > 0 for count in touched.values()) != 1:
        return None
    return max(REGIONS, key=lambda name: touched[name])


def enclose(regions: list[Region]) -> Box:
    """The box around all regions."""
    x0, y0, x1, y1 = zip(*(region.box for region in regions), strict=True)
    return Box(min(x0), min(y0), max(x1), max(y1))


def ask_dc(defect: str, own: list[str], foreign: int, letter: int, rng: np.random.Generator) -> Question:
    """DC: which type of defect is it? See `draw_distractors` for the wrong options."""
    return _choice(Task.DC, defect, draw_distractors(defect, own, foreign, 3, rng), letter)


def ask_dfm(box: Box, size: tuple[int, int]) -> Question:
    """DFM: mark the defect with a box. The answer is xyxy in 0–1 of the (height, width) size, three decimals."""
    return Question(task=Task.DFM, options=(), answer=format_box(box, size), box=box)


def format_box(box: Box, size: tuple[int, int]) -> str:
    """Writes a pixel box as the paper does: `[0.415, 0.737, 0.473, 0.800]`."""
    height, width = size
    values = (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def _choice(task: Task, answer: str, wrong: list[str], letter: int) -> Question:
    options = [*wrong[:letter], answer, *wrong[letter:]]
    return Question(task=task, options=tuple(options), answer=LETTERS[letter])

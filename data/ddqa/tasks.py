"""The four tasks of DDQA in the paper's wording (EIAD, Sec. III-A and Fig. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from data.ddqa.regions import REGIONS, region_of, region_pixels
from data.ddqa.vocabulary import draw_distractors
from data.masks import Box, Region

LETTERS = "ABCDE"
LETTER_HINT = "Answer with the option's letter from the given choices directly."


class Task(StrEnum):
    """Anomaly discrimination, rough defect localization, defect fine mapping, defect classification."""

    AD = "AD"
    RDL = "RDL"
    DFM = "DFM"
    DC = "DC"


QUESTIONS = {
    Task.AD: "Is there any visible defect in this image?",
    Task.RDL: "There is a defect of the object present in the image. Where is the defect located?",
    Task.DC: "There is a defect in the object. What is the type of the defect?",
    Task.DFM: "There are defects in the picture. Find it and mark its location with Bounding Box.",
}
AD_OPTIONS = ("No.", "Yes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question with its answer.

    Attributes:
        task: Which of the four tasks.
        options: The choices in their order; empty for DFM.
        answer: The letter of the right option, or the box for DFM.
    """

    task: Task
    options: tuple[str, ...]
    answer: str

    @property
    def prompt(self) -> str:
        """The user's text, without the image placeholder."""
        return format_prompt(self.task, self.options)


def format_prompt(task: Task, options: tuple[str, ...] = ()) -> str:
    """The user's text of a task with its lettered options."""
    if not options:
        return QUESTIONS[task]
    lines = [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)]
    return "\n".join([QUESTIONS[task], *lines, LETTER_HINT])


def ask_ad(*, normal: bool) -> Question:
    """AD: is there a defect? The options keep the paper's order, "No." first."""
    return Question(task=Task.AD, options=AD_OPTIONS, answer="A" if normal else "B")


def ask_rdl(mask: NDArray[np.bool_], regions: list[Region], letter: int, rng: np.random.Generator) -> Question:
    """RDL: in which cell of the 3×3 grid is the defect?

    The paper does not say what counts when a defect touches several cells, or when there are several defects.
    Here the answer is the cell of the largest region's centroid, and the wrong options are cells that no defect
    pixel touches; only where fewer than three such cells exist are the least touched ones taken.

    Args:
        mask: (H, W) bool, all defects of the image.
        regions: Its defect regions, largest first.
        letter: Position of the right option, 0..3.
        rng: Source of randomness.
    """
    answer = region_of(regions[0].centroid, (mask.shape[0], mask.shape[1]))
    touched = region_pixels(mask)
    others = [name for name in rng.permutation(np.array(REGIONS)).tolist() if name != answer]
    wrong = sorted(others, key=lambda name: touched[name])[:3]
    return _choice(Task.RDL, answer, [str(name) for name in rng.permutation(np.array(wrong))], letter)


def ask_dc(defect: str, own: list[str], foreign: int, letter: int, rng: np.random.Generator) -> Question:
    """DC: which type of defect is it? See `draw_distractors` for the wrong options."""
    return _choice(Task.DC, defect, draw_distractors(defect, own, foreign, 3, rng), letter)


def ask_dfm(box: Box, size: tuple[int, int]) -> Question:
    """DFM: mark the defect with a box. The answer is xyxy in 0–1 of the (height, width) size, three decimals."""
    return Question(task=Task.DFM, options=(), answer=format_box(box, size))


def format_box(box: Box, size: tuple[int, int]) -> str:
    """Writes a pixel box as the paper does: `[0.415, 0.737, 0.473, 0.800]`."""
    height, width = size
    values = (box.x0 / width, box.y0 / height, box.x1 / width, box.y1 / height)
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def _choice(task: Task, answer: str, wrong: list[str], letter: int) -> Question:
    options = [*wrong[:letter], answer, *wrong[letter:]]
    return Question(task=task, options=tuple(options), answer=LETTERS[letter])

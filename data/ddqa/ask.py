"""All questions on one image: from a sample to its finished rows. Runs in the worker processes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data.ddqa.compose import compose_description
from data.ddqa.config import AnswerOrder, BoxFormat, DDQAConfig, OnError
from data.ddqa.regions import region_of
from data.ddqa.rows import name_image
from data.ddqa.tasks import Question, ask_ad, ask_dc, ask_dfm, ask_rdl, format_prompt
from data.ddqa.wording import Task, Wording, wordings
from data.errors import UserError
from data.image_size import read_header, read_size
from data.masks import Region, defect_regions
from data.sample import Sample, load_image, load_mask

ENCODER = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One image and what the whole listing decides about it.

    Attributes:
        sample: The image.
        letters: Position of the right option of AD, RDL and DC.
        held_out: Whether it belongs to the held-out split.
    """

    sample: Sample
    letters: tuple[int, int, int]
    held_out: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The questions on one image, ready to be written.

    Attributes:
        assignment: What was asked about.
        rows: (task, one line of JSON) in the order of the tasks.
        facts: One line of JSON about the image, for the statistics.
        problem: Why the image is left out; None when it is not.
        is_turned_or_deep: Whether programs that ignore the orientation tag, or clip 16 bits, see another image.
    """

    assignment: Assignment
    rows: list[tuple[Task, str]]
    facts: str = ""
    problem: str | None = None
    is_turned_or_deep: bool = False


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks the questions of a chunk of images; picklable.

    Attributes:
        config: What to ask and how.
        names: Defect names by (dataset, category): DC's nearest distractors.
        with_normals: Datasets that hold normal images: only they are asked AD.
    """

    config: DDQAConfig
    names: dict[tuple[str, str], list[str]]
    with_normals: set[str]

    def __call__(self, chunk: Sequence[Assignment]) -> list[Answered]:
        """Asks all questions on some images.

        Raises:
            UserError: On a broken image or mask, unless these are skipped.
        """
        return [self._try(assignment) for assignment in chunk]

    def _try(self, assignment: Assignment) -> Answered:
        try:
            return self._answer(assignment)
        except UserError as error:
            if self.config.on_error is OnError.stop:
                raise
            return Answered(assignment, [], problem=str(error))

    def _answer(self, assignment: Assignment) -> Answered:
        sample = assignment.sample
        size = read_size(sample.image)
        if self.config.decode_images:
            load_image(sample.image)
        digest = hashlib.sha256(f"{self.config.seed}/{sample.id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        if sample.is_normal:
            regions: list[Region] = []
            questions = self._ask_normal(assignment)
        else:
            regions, questions = self._ask_defect(assignment, size, rng)
        image = absolute(sample.image)
        if self.config.run_dir:
            image = name_image(image, _resolve(Path(self.config.run_dir)))
        rows = [
            (task, ENCODER.encode(self._row(sample, image, questions[task], rng)))
            for task in self.config.tasks
            if task in questions
        ]
        facts = _facts(assignment, image, size, regions)
        header = None if self.config.run_dir else read_header(sample.image)  # of a run only we read the images
        odd = header is not None and (header.orientation != 1 or header.bits > 8)
        return Answered(assignment, rows, ENCODER.encode(facts), is_turned_or_deep=odd)

    def _ask_normal(self, assignment: Assignment) -> dict[Task, Question]:
        text = compose_description(assignment.sample.category, None, None)
        return {
            Task.AD: ask_ad(normal=True, letter=self._ad_letter(assignment)),
            Task.description: Question(task=Task.description, options=(), answer=text),
        }

    def _ask_defect(
        self, assignment: Assignment, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[list[Region], dict[Task, Question]]:
        sample, (_, rdl, dc) = assignment.sample, assignment.letters
        mask = load_mask(sample, size)
        if sample.defect is None or sample.mask is None:
            raise AssertionError("load_mask refuses anomalous samples without a mask")
        regions = defect_regions(sample.mask, mask)
        questions: dict[Task, Question] = {}
        if sample.dataset in self.with_normals:
            questions[Task.AD] = ask_ad(normal=False, letter=self._ad_letter(assignment))
        located = ask_rdl(mask, regions, rdl, rng, self.config.region_rule)
        if located is not None:
            questions[Task.RDL] = located
        if len(regions) == 1:
            questions[Task.DFM] = ask_dfm(regions[0].box, size)
        own = self.names[sample.dataset, sample.category]
        questions[Task.DC] = ask_dc(sample.defect, own, self.config.foreign_distractors, dc, rng)
        text = compose_description(sample.category, sample.defect, region_of(regions[0].centroid, size))
        questions[Task.description] = Question(task=Task.description, options=(), answer=text)
        return regions, questions

    def _ad_letter(self, assignment: Assignment) -> int | None:
        return assignment.letters[0] if self.config.ad_options is AnswerOrder.balanced else None

    def _row(self, sample: Sample, image: str, question: Question, rng: np.random.Generator) -> dict[str, Any]:
        sentences = wordings(question.task, self.config.wording)
        chosen = sentences[rng.integers(len(sentences))] if self.config.wording is Wording.paraphrased else sentences[0]
        native = question.box is not None and self.config.box_format is BoxFormat.swift
        row: dict[str, Any] = {
            "messages": [
                {"role": "user", "content": f"<image>{format_prompt(question.task, question.options, chosen)}"},
                {"role": "assistant", "content": "<bbox>" if native else question.answer},
            ],
            "images": [image],
            "id": sample.id,
            "dataset": sample.dataset,
            "category": sample.category,
            "defect": sample.defect,
            "task": question.task.value,
            "options": list(question.options),
            "answer": question.answer,
        }
        if native and question.box is not None:
            row["objects"] = {"ref": [], "bbox": [list(question.box)]}
        return row


def _facts(assignment: Assignment, image: str, size: tuple[int, int], regions: list[Region]) -> dict[str, Any]:
    sample, (height, width) = assignment.sample, size
    return {
        "id": sample.id,
        "dataset": sample.dataset,
        "category": sample.category,
        "defect": sample.defect,
        "group": sample.group,
        "held_out": assignment.held_out,
        "image": image,
        "size": [width, height],
        "boxes": [list(region.box) for region in regions],
        "areas": [region.area for region in regions],
    }


def absolute(path: Path) -> str:
    """The absolute path of a file; links among its folders are followed, once per folder."""
    return f"{_resolve(path.parent)}{os.sep}{path.name}"


@lru_cache(maxsize=256)
def _resolve(folder: Path) -> Path:
    return folder.resolve()

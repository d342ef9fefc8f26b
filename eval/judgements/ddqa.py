"""Judged photos as DDQA's questions, for `train_eddm questions=`.

OUT/photos/…             the photos and masks in MVTec AD's layout
OUT/ddqa/train.jsonl     the rows, and beside them what else `scripts.build_ddqa` writes
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from data.ddqa.build import build_ddqa
from data.ddqa.config import AnswerOrder, DDQAConfig
from data.ddqa.wording import PAPER_TASKS, Task, Wording
from data.readers.mvtec_layout import NORMAL
from eval.judgements.mvtec import Written, write_mvtec
from eval.judgements.truth import Truth

READER = "folder"


@dataclass(kw_only=True, slots=True)
class QuestionConfig:
    """What is asked, as in `DDQAConfig`.

    Attributes:
        tasks: Tasks to write; the paper has no `description`.
        wording: The paper's sentences alone, or paraphrases too.
        ad_options: Order of AD's options.
        seed: Seed of distractors, letter positions and paraphrases.
    """

    tasks: list[Task] = field(default_factory=lambda: list(PAPER_TASKS))
    wording: Wording = Wording.paper
    ad_options: AnswerOrder = AnswerOrder.paper
    seed: int = 0


def write_questions(out: Path, truth: Truth, product: str, config: QuestionConfig) -> tuple[Written, str]:
    """Writes the photos and the rows about them.

    Returns:
        What became of the photos, and how many questions each task has, for a person.

    Raises:
        UserError: If no question can be asked, or a file cannot be written.
    """
    photos = out / "photos"
    written = write_mvtec(photos, truth, product)
    counts = build_ddqa(
        DDQAConfig(
            sources=[READER],
            paths={READER: str(photos)},
            out=str(out / "ddqa"),
            tasks=config.tasks,
            wording=config.wording,
            ad_options=config.ad_options,
            seed=config.seed,
            workers=1,
        )
    )
    told = ", ".join(f"{sum(by_dataset.values())} {task}" for task, by_dataset in counts.items())
    if Task.AD in config.tasks and not written.counts[NORMAL]:
        told += ". Without a sound photo nobody asks whether there is a defect (AD)"
    rows = out / "ddqa" / "train.jsonl"
    return written, f"{told}. Train on them: python -m scripts.train_eddm questions={rows} run_dir=RUN"

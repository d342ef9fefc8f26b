"""Builds DDQA: from samples to ms-swift JSONL rows, deterministically."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.ddqa.tasks import Question, Task, ask_ad, ask_dc, ask_dfm, ask_rdl
from data.errors import UserError
from data.files import make_dir, read_json, write_json, write_jsonl
from data.masks import defect_regions
from data.run import Run
from data.sample import Sample, load_image, load_mask
from data.source import DataConfig, load_samples

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class DDQAConfig:
    """What to build.

    Attributes:
        preset: Name of the preset; recorded, not interpreted.
        run_dir: Run directory; writes `ddqa/<part>.jsonl` and `ddqa/counts.json`.
        data: Training and zero-shot sources.
        part: `train` builds from `data.train`, `zero_shot` from `data.zero_shot` (the exam).
        tasks: Tasks to write, in the order of their rows within an image.
        foreign_distractors: How many of DC's three wrong options come from the shipped vocabulary even when the
            source has enough names of its own. The paper only says that foreign names are drawn as well.
        workers: Processes that decode images; the result does not depend on it.
        seed: Seed of distractors and letter positions.
    """

    preset: str
    run_dir: str
    data: DataConfig
    part: str = "train"
    tasks: list[Task] = field(default_factory=lambda: [Task.AD, Task.RDL, Task.DFM, Task.DC])
    foreign_distractors: int = 1
    workers: int = 2
    seed: int = 0


def build_ddqa(config: DDQAConfig) -> dict[str, dict[str, int]]:
    """Builds one part of DDQA and returns its counts, task → dataset → questions.

    Rules (they give the paper's BSData column exactly): AD asks once an image, but not in a source without
    normal images; RDL and DC once an anomalous image; DFM only where exactly one defect region is annotated.

    Raises:
        UserError: If a source is unusable, or an image or a mask does not decode.
    """
    listing = load_samples(config.data.part(config.part))
    samples = listing.samples
    names: dict[str, list[str]] = {}
    for dataset in {sample.dataset for sample in samples}:
        names[dataset] = sorted({s.defect for s in samples if s.dataset == dataset and s.defect})
    with_normals = {sample.dataset for sample in samples if sample.is_normal}
    letters = _letters(len(samples), config.seed)
    ask = partial(_ask, config=config, names=names, with_normals=with_normals)
    path = make_dir(Run(Path(config.run_dir)).ddqa) / f"{config.part}.jsonl"
    counts: Counter[tuple[str, str]] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        with ProcessPoolExecutor(config.workers) as pool:
            answers = pool.map(ask, samples, letters, chunksize=16)
            for sample_rows in tqdm(answers, total=len(samples), desc=f"DDQA {config.part}", unit="image"):
                for row in sample_rows:
                    counts[row["task"], row["dataset"]] += 1
                    yield row

    if not write_jsonl(path, rows()):
        raise UserError(f"No question could be built from {len(samples)} samples for the tasks {config.tasks}.")
    table = {task.value: {name: counts[task.value, name] for name in sorted(names)} for task in config.tasks}
    _save_counts(path.with_name("counts.json"), config.part, table, len(samples), listing.skipped)
    return table


def _letters(count: int, seed: int) -> list[tuple[int, int]]:
    """Balanced positions of the right option, one for RDL and one for DC an image."""
    rng = np.random.default_rng(seed)
    columns = [np.concatenate([rng.permutation(4) for _ in range(count // 4 + 1)])[:count] for _ in range(2)]
    return list(zip(columns[0].tolist(), columns[1].tolist(), strict=True))


def _ask(
    sample: Sample, letters: tuple[int, int], config: DDQAConfig, names: dict[str, list[str]], with_normals: set[str]
) -> list[dict[str, Any]]:
    image = load_image(sample.image)
    size = image.shape[:2]
    mask = load_mask(sample, size)
    digest = hashlib.sha256(f"{config.seed}/{sample.id}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    questions: dict[Task, Question] = {}
    if sample.dataset in with_normals:
        questions[Task.AD] = ask_ad(normal=sample.is_normal)
    if sample.defect is not None and sample.mask is not None:
        regions = defect_regions(sample.mask, mask)
        questions[Task.RDL] = ask_rdl(mask, regions, letters[0], rng)
        if len(regions) == 1:
            questions[Task.DFM] = ask_dfm(regions[0].box, size)
        questions[Task.DC] = ask_dc(sample.defect, names[sample.dataset], config.foreign_distractors, letters[1], rng)
    return [_row(sample, questions[task]) for task in config.tasks if task in questions]


def _row(sample: Sample, question: Question) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"<image>{question.prompt}"},
            {"role": "assistant", "content": question.answer},
        ],
        "images": [str(sample.image.resolve())],
        "id": sample.id,
        "dataset": sample.dataset,
        "category": sample.category,
        "defect": sample.defect,
        "task": question.task.value,
        "options": list(question.options),
        "answer": question.answer,
    }


def _save_counts(
    path: Path, part: str, table: dict[str, dict[str, int]], images: int, skipped: list[tuple[str, str]]
) -> None:
    counts = read_json(path) if path.exists() else {}
    counts[part] = {"images": images, "tasks": table, "skipped": skipped}
    write_json(path, counts)
    for sample_id, reason in skipped:
        log.info("Skipped by rule: %s (%s)", sample_id, reason)
    for task, by_dataset in table.items():
        log.info("%-3s %s", task, "  ".join(f"{name} {count}" for name, count in by_dataset.items()))

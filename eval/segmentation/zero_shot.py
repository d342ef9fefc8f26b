"""The zero-shot promise of an evaluation, checked against what both modules were trained on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from data.content import Memory, state_of
from data.ddqa.summary import stream_jsonl
from data.errors import UserError
from data.files import read_json
from data.run import Run
from data.sample import Sample
from data.source import Source, load_samples
from data.splits import check_disjoint, product
from eval.segmentation.prompts import TextSource

log = logging.getLogger(__name__)


def check_zero_shot(run: Run, folder: Path, description: TextSource, samples: Sequence[Sample]) -> str:
    """Checks against what was trained on; where that cannot be read, the result says `not verified`.

    MDLM's training sources are in its `config.json`; EDDM's categories are in `RUN/ddqa/train.jsonl`.

    Args:
        run: The run.
        folder: Directory of the MDLM.
        description: EDDM is only checked where its descriptions are used.
        samples: The zero-shot samples.

    Returns:
        `verified`, or `not verified` with the reason.

    Raises:
        UserError: If a category, or an image by content, was trained on.
    """
    trained = read_json(folder / "config.json")
    try:
        sources = [Source(**source) for source in trained["data"]["train"]]
        listing = load_samples(sources)
    except (KeyError, TypeError, UserError) as error:
        log.warning("The zero-shot split cannot be checked against the training data of %s: %s", folder, error)
        return f"not verified: {error}"
    check_disjoint(listing.samples, samples)
    if description is not TextSource.eddm:
        return "verified"
    questions = run.ddqa / "train.jsonl"
    if not questions.is_file():
        return f"verified for the MDLM; not verified for EDDM: {questions} is gone"
    asked = {product(dataset, category) for dataset, category in _asked(questions)}
    if shared := {s.category for s in samples if product(s.dataset, s.category) in asked}:
        names = ", ".join(sorted(shared))
        raise UserError(
            f"EDDM was trained on zero-shot categories ({questions}): {names}. Remove them and train again."
        )
    return "verified"


def _asked(questions: Path) -> list[list[str]]:
    """Datasets and categories that EDDM was asked about, read once from its 280,000 rows and then remembered."""
    memory, since, state = Memory(), time.time(), state_of(questions)
    known = memory.recall("categories", {questions: state}).get(questions)
    if known is None:
        rows = {(row["dataset"], row["category"]) for row in stream_jsonl(questions) if row.get("dataset")}
        known = json.dumps(sorted(rows))
        memory.remember("categories", [(questions, state, known)], since=since)
    found: list[list[str]] = json.loads(known)
    return found

"""The answer log of MMAD: append-only, one row an answer, keyed so that an interrupted run goes on where it was."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.errors import UserError, printable
from data.files import hash_value, read_jsonl
from data.mmad import DATASETS, LETTERS, MMAD, NORMAL_FLAG, Skipped
from data.ranks import Ranks
from data.row_log import RowLog, own_log, take_in
from eval.mmad.answer_file import OWN
from eval.mmad.prompt import Planned
from models.chat.answers import parse_letter
from models.chat.protocol import ChatModel, Failure, OptionScorer, StreamingChat

log = logging.getLogger(__name__)
Row = dict[str, Any]
IMAGES_AT_ONCE = 16  # between two writes of the log
ALONE = Ranks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, joined with its question.

    Attributes:
        image: Key of the image.
        prefix: First part of the key, as written.
        category: Object type.
        column: Column of the table.
        truth: Letter of the true option.
        choice: The model's letter; None when the reply could not be read.
        reply: What the model said, perhaps the empty text; None when nothing came.
        question: Text of the question.
        failure: Why nothing came; empty where a reply did.
        options: Option texts, A first.
    """

    image: str
    prefix: str
    category: str
    column: str
    truth: str
    choice: str | None
    reply: str | None
    options: tuple[str, ...]
    question: str = ""
    failure: str = ""

    @property
    def dataset(self) -> str:
        """Dataset in the tables, `MVTec-AD` pooled with `DS-MVTec`."""
        return DATASETS[self.prefix]

    @property
    def is_normal(self) -> bool:
        """Whether the image shows no defect, by MMAD's rule."""
        return NORMAL_FLAG in self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKey:
    """Who answers, and how it is asked.

    Attributes:
        model: Names the weights.
        adapter: Names the adapter's weights, "" for none.
        mode: `likelihood` or `generate`.
        setting: The setting for a reader.
        decoding: How replies are generated; empty where letters are scored.
    """

    model: str
    adapter: str
    mode: str
    setting: str
    decoding: Mapping[str, Any] = field(default_factory=dict)

    def of(self, planned: Planned) -> str:
        """Key of a question: model, adapter, mode, decoding, prompt with its longest reply, image and question."""
        asker = [self.model, self.adapter, self.mode, dict(self.decoding)]
        values = [*asker, planned.prompt, planned.image.key, planned.question.text]
        return hash_value(values)[:24]


def ask_open(
    plan: Sequence[Planned], key: AnswerKey, path: Path, model: ChatModel | OptionScorer, ranks: Ranks = ALONE
) -> list[Row]:
    """Asks what the log does not hold yet, and appends each answer as it comes.

    Ranks share the images; each writes a log of its own, and the main one brings all rows into the order of the plan.

    A question that no attempt got an answer to is logged with an empty reply, no choice and the reason as `failure`;
    the next run asks it again, and the new row replaces this one.

    Args:
        plan: All questions; those of one image follow one another.
        key: Who is asked, and how.
        path: The log, which the caller holds (`data.processes.lock`).
        model: An `OptionScorer` for `likelihood`, else a `ChatModel`.
        ranks: The processes that share the images.

    Returns:
        The rows of the plan's questions, in the order of the plan.
    """
    keys = [key.of(planned) for planned in plan]
    answered_before = ranks.once(lambda: _resume(path))
    waiting = [planned for planned, name in zip(plan, keys, strict=True) if name not in answered_before]
    if ranks.is_main:
        log.info("MMAD: %d questions, %d already answered in %s", len(plan), len(plan) - len(waiting), path)
    mine = [planned for image in ranks.share(_by_image(waiting)) for planned in image]
    _ask(mine, key, own_log(path, ranks), model, done=len(plan) - len(waiting) if ranks.world == 1 else 0)
    ranks.wait()
    ranks.once(lambda: take_in(path, keys))
    known = _read_keyed(path)
    return [known[name] for name in keys if name in known]


def _resume(path: Path) -> set[str]:
    """Keys of the questions that have an answer."""
    take_in(path)
    return {name for name, row in _read_keyed(path).items() if not row.get("failure")}


def _read_keyed(path: Path) -> dict[str, Row]:
    return {row["key"]: row for row in (read_jsonl(path) if path.is_file() else []) if "key" in row}


def _ask(waiting: Sequence[Planned], key: AnswerKey, path: Path, model: ChatModel | OptionScorer, *, done: int) -> None:
    """Asks some questions, and appends each answer as it comes; `done` were answered before."""
    bar = tqdm(total=done + len(waiting), initial=done, unit="question", desc="MMAD")
    with bar, RowLog(path, is_held=True) as rows:
        for answered in _answers(waiting, model):
            for planned, reply in answered:
                if isinstance(reply, Failure):
                    reason = f"{planned.image.key}: {planned.question.text!r}: {reply.reason}"
                    tqdm.write(printable(f"no answer: {reason}"))
                rows.add(_row(planned, key, reply))
            if not isinstance(model, StreamingChat):
                rows.flush()  # the next block may take long
            bar.update(len(answered))


def drop_superseded(rows: Iterable[Row]) -> list[Row]:
    """Leaves out the failures of questions that were answered later, and all but one of the others."""
    kept = list(rows)
    answered = {_where(row) for row in kept if not row.get("failure")}
    failed: set[tuple[str, str]] = set()
    found = []
    for row in kept:
        if row.get("failure"):
            if _where(row) in answered | failed:
                continue
            failed.add(_where(row))
        found.append(row)
    return found


def _where(row: Row) -> tuple[str, str]:
    return str(row.get("image")), str(row.get("question"))


def read_answers(rows: Iterable[Row], mmad: MMAD) -> tuple[list[Answer], list[Skipped]]:
    """Joins rows of a log with their questions, in the order of the log.

    Returns:
        The answers, and the rows that cannot be scored, each with its reason.

    Raises:
        UserError: If a row lacks a field, or the log mixes models or settings.
    """
    questions = {(image.key, one.text): (image, one) for image in mmad.images for one in image.questions}
    seen: set[tuple[str, str]] = set()
    answers, rejected = [], []
    sources = set()
    for number, row in enumerate(rows, 1):
        lacking = [name for name in OWN if name not in row] if isinstance(row, dict) else list(OWN)
        if lacking:
            raise UserError(f"Row {number} of the answer log has no {', '.join(lacking)}. Repair or delete that line.")
        sources.add(tuple(str(row.get(name, "")) for name in ("model", "adapter", "mode", "setting")))
        where = _where(row)
        reason = ""
        if where not in questions:
            reason = "not in mmad.json, or left out there"
        elif where in seen:
            reason = "answered twice (the first counts)"
        elif row["answer"] != questions[where][1].answer:
            reason = "true answer differs from mmad.json"
        if reason:
            rejected.append(Skipped(*where, reason))
            continue
        seen.add(where)
        image, question = questions[where]
        choice = row["choice"]
        answers.append(
            Answer(
                image=image.key,
                prefix=image.key.split("/")[0],
                category=image.category,
                column=question.column,
                truth=question.answer,
                choice=choice if choice in list(LETTERS[: len(question.options)]) else None,
                reply=None if row.get("failure") else row["reply"],
                options=question.options,
                question=question.text,
                failure=str(row.get("failure", "")),
            )
        )
    if len(sources) > 1:
        found = "; ".join(", ".join(filter(None, source)) or "unnamed" for source in sorted(sources))
        raise UserError(f"The answer log mixes {len(sources)} models or settings: {found}. Score each in its own file.")
    return answers, rejected


def _answers(
    waiting: Sequence[Planned], model: ChatModel | OptionScorer
) -> Iterator[list[tuple[Planned, str | list[float] | Failure]]]:
    """Answers in blocks to be written at once: as they come from a server, else a few images at a time."""
    if isinstance(model, StreamingChat):
        for index, reply in model.stream([planned.request for planned in waiting]):
            yield [(waiting[index], reply)]
        return
    blocks = list(_blocks(waiting))
    for block, following in zip_longest(blocks, blocks[1:], fillvalue=()):
        if hasattr(model, "expect"):  # it opens them while it works
            model.expect(path for planned in following for path in planned.request.images)
        requests = [planned.request for planned in block]
        if hasattr(model, "score"):
            counts = [len(planned.question.options) for planned in block]
            found = [_finite(scores) for scores in model.score(requests, counts)]
            yield list(zip(block, found, strict=True))
        else:
            yield list(zip(block, model.chat(requests), strict=True))


def _blocks(waiting: Sequence[Planned]) -> Iterator[list[Planned]]:
    images = _by_image(waiting)
    for start in range(0, len(images), IMAGES_AT_ONCE):
        yield [planned for image in images[start : start + IMAGES_AT_ONCE] for planned in image]


def _by_image(planned: Sequence[Planned]) -> list[list[Planned]]:
    return [list(group) for _, group in groupby(planned, key=lambda one: one.image.key)]


def _finite(scores: list[float]) -> list[float] | Failure:
    return scores if all(map(math.isfinite, scores)) else Failure(f"logits are not finite: {scores}")


def _row(planned: Planned, key: AnswerKey, reply: str | list[float] | Failure) -> Row:
    question = planned.question
    row: Row = {
        "key": key.of(planned),
        "model": key.model,
        "adapter": key.adapter,
        "mode": key.mode,
        "setting": key.setting,
        "prompt": planned.prompt,
        "image": planned.image.key,
        "question": question.text,
        "type": question.type,
        "answer": question.answer,
    }
    if isinstance(reply, Failure):
        return row | {"reply": "", "choice": None, "failure": reply.reason}
    if isinstance(reply, str):
        index = parse_letter(reply, len(question.options))
        return row | {"reply": reply, "choice": None if index is None else LETTERS[index]}
    best = LETTERS[max(range(len(reply)), key=reply.__getitem__)]
    shares = [math.exp(logit - max(reply)) for logit in reply]
    likelihoods = [round(share / sum(shares), 6) for share in shares]
    return row | {"reply": best, "choice": best, "likelihoods": likelihoods}

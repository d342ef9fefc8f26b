"""The exam: DDQA's four tasks on categories that EDDM has not seen (cf. Table II of EIAD)."""

from __future__ import annotations

import logging
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.ddqa.rows import read_rows
from data.ddqa.tasks import AD_OPTIONS
from data.ddqa.wording import PAPER_TASKS, Task
from data.errors import UserError
from data.files import hash_file, write_json
from data.processes.lock import held
from data.run import Run, open_run
from eval.metrics.figures import mean_known
from models.chat.answers import box_iou, parse_box, parse_letter
from models.chat.protocol import ChatModel, ChatRequest
from models.device import DeviceConfig
from models.eddm.eddm import BOX_TOKENS, LETTER_TOKENS, load_eddm

log = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(kw_only=True, slots=True)
class ExamConfig(DeviceConfig):
    """What to ask whom; where as `DeviceConfig` says.

    Attributes:
        run: Run directory with a trained EDDM; writes `eval/<name>.json`.
        part: Reads `ddqa/<part>.jsonl`.
        categories: Only these, named `category` or `dataset/category`; empty keeps all.
        use_adapter: False examines the base without its LoRA.
        batch_size: Questions a batch.
        name: Name of the result.
        trust_remote_code: Allows code that comes with the weights; it must be the code that was trained with.
    """

    run: str
    part: str = "zero_shot"
    categories: list[str] = field(default_factory=list)
    use_adapter: bool = True
    batch_size: int = 64
    name: str = "eddm"
    trust_remote_code: bool = False


def run_exam(config: ExamConfig) -> dict[str, Any]:
    """Examines the EDDM of a run and writes the result.

    Raises:
        UserError: If there is no EDDM, no exam, or no row of the categories, or another process writes that result.
    """
    run = open_run(config.run, writes=True)
    result = run.eval / f"{config.name}.json"
    with held(result):
        return _examine(config, run, result)


def _examine(config: ExamConfig, run: Run, out: Path) -> dict[str, Any]:
    path = run.ddqa / f"{config.part}.jsonl"
    wanted = set(config.categories)
    rows = [row for row in read_rows(path) if row["task"] in PAPER_TASKS]  # a description has no mark
    rows = [row for row in rows if not wanted or wanted & {row["category"], _name(row)}]
    if not rows:
        raise UserError(f"No questions in {path} for categories {config.categories or 'all'}. Build DDQA again.")
    eddm = load_eddm(
        run,
        use_adapter=config.use_adapter,
        batch_size=config.batch_size,
        trust_remote_code=config.trust_remote_code,
        where=config,
    )
    replies = ask_all(eddm.chat, rows, config.batch_size)
    result = grade(rows, replies)
    for name, value in result.items():
        if isinstance(value, float):
            log.info("%-8s %6.2f", name, value)
    log.info("unreadable replies: %s", result["unparsable"])
    result |= {"config": asdict(config), "questions": len(rows), "data": hash_file(path)}
    result |= {"model": eddm.model, "adapter": eddm.adapter}
    write_json(out, result)
    return result


def ask_all(chat: ChatModel, rows: Sequence[Row], batch_size: int) -> list[str]:
    """Asks every question of a DDQA file; the rows of one image stay together."""
    replies: list[str] = []
    spoken = time.monotonic()
    for start in range(0, len(rows), 4 * batch_size):
        requests = [
            ChatRequest(
                Path(row["images"][0]),
                row["messages"][0]["content"].replace("<image>", "", 1),
                BOX_TOKENS if row["task"] == Task.DFM else LETTER_TOKENS,
            )
            for row in rows[start : start + 4 * batch_size]
        ]
        replies += chat.chat(requests)
        if time.monotonic() - spoken > 5:
            spoken = time.monotonic()
            log.info("EDDM exam: %d of %d questions", len(replies), len(rows))
    return replies


def grade(rows: Sequence[Row], replies: Sequence[str]) -> dict[str, Any]:
    """Marks an exam, in percent.

    AD is balanced accuracy (`AD_accuracy` the plain one), RDL and DC accuracy, DFM the mean IoU. A reply that cannot be
    read is wrong (IoU 0), and counted. A task without questions is None; AD also when only one of its answers occurs.

    Args:
        rows: DDQA rows. Of several datasets, `categories` names each `dataset/category`.
        replies: What the model said to each.
    """
    right: dict[str, list[float]] = defaultdict(list)
    by_answer: dict[str, list[float]] = defaultdict(list)
    by_category: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    unparsable = {task.value: 0 for task in PAPER_TASKS}
    several = len({row.get("dataset") for row in rows}) > 1
    for row, reply in zip(rows, replies, strict=True):
        task = row["task"]
        score, readable = _mark(row, reply)
        unparsable[task] += not readable
        right[task].append(score)
        by_category[_name(row) if several else row["category"]][task].append(score)
        if task == Task.AD:
            by_answer[row["options"][ord(row["answer"]) - ord("A")]].append(score)
    normal, defective = (mean_known(by_answer.get(option, [])) for option in AD_OPTIONS)
    balanced = mean_known([normal, defective]) if len(by_answer) == 2 else None
    return {
        "AD": _percent(balanced),
        "RDL": _percent(mean_known(right[Task.RDL])),
        "DC": _percent(mean_known(right[Task.DC])),
        "DFM_iou": _percent(mean_known(right[Task.DFM])),
        "AD_accuracy": _percent(mean_known(right[Task.AD])),
        "AD_normal": _percent(normal),
        "AD_defective": _percent(defective),
        "counts": {task.value: len(right[task]) for task in PAPER_TASKS},
        "unparsable": unparsable,
        "categories": {
            category: {task: _percent(mean_known(scores)) for task, scores in sorted(tasks.items())}
            for category, tasks in sorted(by_category.items())
        },
    }


def _name(row: Row) -> str:
    return f"{row.get('dataset', '')}/{row['category']}"


def _mark(row: Row, reply: str) -> tuple[float, bool]:
    """Score in 0..1 and whether the reply could be read."""
    if row["task"] == Task.DFM:
        truth, box = _true_box(row), parse_box(reply)
        return (box_iou(box, truth), True) if box else (0.0, False)
    choice = parse_letter(reply, len(row["options"]))
    return float(choice == ord(row["answer"]) - ord("A")), choice is not None


def _true_box(row: Row) -> tuple[float, float, float, float]:
    values = [float(value) for value in re.findall(r"[\d.]+", row["answer"])]
    if len(values) != 4:
        raise UserError(f"Not a box: {row['answer']!r} is the answer of {row['id']}. Build DDQA again.")
    return values[0], values[1], values[2], values[3]


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)

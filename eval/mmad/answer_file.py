"""Answer files of MMAD: our own log, and the file that MMAD's query scripts write, as JSON or JSON lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import missing_file, read_json, read_jsonl
from data.mmad import LETTERS, MMAD, Question

OWN = ("image", "question", "type", "answer", "reply", "choice")
OFFICIAL = ("image", "question", "correct_answer", "gpt_answer")
OPTION = re.compile(rf"^\s*([{LETTERS}])[.:)]\s*(.*?)\s*$", re.MULTILINE)
EXPECTED = (
    'Expected is a row a question: {"image": "DS-MVTec/…/000.png", "question": "…", "type": "…", "answer": "B", '
    '"reply": "B", "choice": "B"}, or as MMAD writes it: {"image": "…", "question": {"text": "Question: …"}, '
    '"question_type": "…", "correct_answer": "B", "gpt_answer": "B"}'
)


def read_answer_rows(path: Path, mmad: MMAD) -> list[dict[str, Any]]:
    r"""Rows of an answer file in the form of our own log; a `\` in the name of an image counts as `/`.

    MMAD's scripts may shuffle the options, and write them behind the question: their letters are turned into those of
    `mmad.json`.

    Raises:
        UserError: If the file is missing or malformed, or a row has neither form.
    """
    rows = _read(path)
    questions = {(image.key, one.text.strip()): one for image in mmad.images for one in image.questions}
    return [_to_own(row, number, path, questions) for number, row in enumerate(rows, 1)]


def _read(path: Path) -> list[Any]:
    if not path.is_file():
        raise missing_file(path)
    with path.open("rb") as file:
        is_list = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    return read_json(path) if is_list else read_jsonl(path)


def _to_own(row: Any, number: int, path: Path, questions: Mapping[tuple[str, str], Question]) -> dict[str, Any]:
    if not isinstance(row, dict) or not isinstance(row.get("image"), str):
        raise UserError(f"Row {number} of {path} names no image. {EXPECTED}.")
    row = row | {"image": row["image"].replace("\\", "/")}
    if not set(OFFICIAL) <= set(row):
        if lacking := [name for name in OWN if name not in row]:
            raise UserError(f"Row {number} of {path} has no {', '.join(lacking)}. {EXPECTED}.")
        return row
    asked = row["question"].get("text") if isinstance(row["question"], dict) else row["question"]
    if not isinstance(asked, str):
        raise UserError(f"Row {number} of {path} has no text of its question. {EXPECTED}.")
    text, letters = _read_question(asked, row["image"], questions)
    truth, choice = (letters.get(str(row[name]).strip(), row[name]) for name in ("correct_answer", "gpt_answer"))
    return {
        "image": row["image"],
        "question": text,
        "type": row.get("question_type", ""),
        "answer": truth,
        "reply": "" if row["gpt_answer"] is None else str(choice),
        "choice": choice if choice in list(LETTERS) else None,
    }


def _read_question(asked: str, image: str, questions: Mapping[tuple[str, str], Question]) -> tuple[str, dict[str, str]]:
    """The text of a question alone, and the letter in `mmad.json` of each letter that was shown."""
    body = asked.strip().removeprefix("Question:").strip()
    shown = dict(OPTION.findall(body))
    text = body[: first.start()].strip() if (first := OPTION.search(body)) else body
    known = questions.get((image, text))
    if known is None:
        return text, {}
    if sorted(option.strip() for option in known.options) != sorted(shown.values()):
        return known.text, {}
    index = {option.strip(): letter for letter, option in zip(LETTERS, known.options, strict=False)}
    return known.text, {letter: index[option] for letter, option in shown.items()}

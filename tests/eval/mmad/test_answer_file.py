import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.mmad import MMAD, MMADConfig, read_mmad
from eval.mmad.answer_file import read_answer_rows
from eval.mmad.answers import read_answers
from tests.eval.mmad.mmad_tree import write_mmad  # type: ignore[import-not-found]


@pytest.fixture
def mmad(tmp_path: Path) -> MMAD:
    write_mmad(tmp_path)
    return read_mmad(MMADConfig(data_root=str(tmp_path)), check_images=False)


def official_rows(mmad: MMAD, *, turn: int) -> list[dict[str, Any]]:
    """Right answers as MMAD's scripts write them, the options moved on by `turn` places."""
    rows = []
    for image in mmad.images:
        for one in image.questions:
            order = [(place + turn) % len(one.options) for place in range(len(one.options))]
            options = "".join(f"{letter}. {one.options[old]}\n" for letter, old in zip("ABCDE", order, strict=False))
            letter = "ABCDE"[order.index("ABCDE".index(one.answer))]
            rows.append(
                {
                    "image": image.key,
                    "question": {"type": "text", "text": f"Question: {one.text} \n{options}"},
                    "question_type": one.type,
                    "correct_answer": letter,
                    "gpt_answer": letter,
                }
            )
    return rows


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("as_list", [False, True])
def test_what_mmads_own_scripts_write_is_scored(as_list: bool, turn: int, mmad: MMAD, tmp_path: Path) -> None:
    rows, path = official_rows(mmad, turn=turn), tmp_path / "answers.json"
    path.write_text(json.dumps(rows, indent=4) if as_list else "\n".join(map(json.dumps, rows)))
    answers, rejected = read_answers(read_answer_rows(path, mmad), mmad)
    assert rejected == [] and len(answers) == mmad.count
    assert all(answer.choice == answer.truth == answer.reply for answer in answers)


def test_a_question_without_its_options_and_an_answer_that_is_no_letter(mmad: MMAD, tmp_path: Path) -> None:
    row = official_rows(mmad, turn=0)[0]
    row |= {"question": f"Question: {mmad.images[0].questions[0].text}", "gpt_answer": ""}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (answer,), rejected = read_answers(read_answer_rows(tmp_path / "a.json", mmad), mmad)
    assert (answer.choice, answer.reply, rejected) == (None, "", [])


def test_names_of_images_as_windows_writes_them(mmad: MMAD, tmp_path: Path) -> None:
    rows = official_rows(mmad, turn=0)
    lines = [json.dumps(row | {"image": row["image"].replace("/", "\\")}) + "\n" for row in rows]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    assert [row["image"] for row in read_answer_rows(tmp_path / "a.jsonl", mmad)] == [row["image"] for row in rows]


@pytest.mark.parametrize("row", [{"question": "Q"}, {"image": "x"}, [], {"image": "x", "question": {}}])
def test_another_form_is_refused_with_the_expected_one(row: Any, mmad: MMAD, tmp_path: Path) -> None:
    if isinstance(row, dict) and "question" in row and "image" in row:
        row |= {"correct_answer": "A", "gpt_answer": "A"}
    (tmp_path / "a.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match=r"Row 1 of .*a\.json.*Expected is a row a question: .*gpt_answer"):
        read_answer_rows(tmp_path / "a.json", mmad)

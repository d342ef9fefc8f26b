from __future__ import annotations

from pathlib import Path

import pytest

from data.ddqa.wording import Task
from data.errors import UserError
from data.files import read_jsonl
from eval.judgements.ddqa import QuestionConfig, write_questions
from eval.judgements.judgement import Finding
from eval.judgements.log import JudgementLog
from eval.judgements.truth import read_truth
from tests.eval.judgements.judged import judged, photo, region, square


def test_the_questions_hold_what_the_person_said(log: JudgementLog, tmp_path: Path) -> None:
    log.append(judged(photo(0), Finding.fine), photo(0))
    regions = (region("dent", left=2, top=2),)
    log.append(judged(photo(1), Finding.wrong_class, regions=regions), photo(1), square(left=2, top=2))
    written, note = write_questions(tmp_path / "out", read_truth(log.folder), "part", QuestionConfig())
    assert dict(written.counts) == {"good": 1, "dent": 1}
    assert "2 AD, 1 RDL, 1 DFM, 1 DC" in note and "Without a sound photo" not in note
    rows = {(row["defect"], row["task"]): row for row in read_jsonl(tmp_path / "out" / "ddqa" / "train.jsonl")}
    assert set(rows) == {(None, "AD"), *(("dent", task) for task in ("AD", "RDL", "DFM", "DC"))}

    def said(defect: str | None, task: str) -> str:
        row = rows[defect, task]
        return row["options"][ord(row["answer"]) - ord("A")]

    assert (said(None, "AD"), said("dent", "AD"), said("dent", "DC")) == ("No.", "Yes.", "dent")
    assert (said("dent", "RDL"), rows["dent", "DFM"]["answer"]) == ("top left", "[0.033, 0.050, 0.167, 0.250]")
    assert Path(rows["dent", "DC"]["images"][0]).read_bytes() == photo(1)


def test_without_a_sound_photo_it_is_said_that_one_task_is_missing(log: JudgementLog, tmp_path: Path) -> None:
    log.append(judged(photo(1), Finding.redrawn, regions=(region("dent"),)), photo(1), square())
    _, note = write_questions(tmp_path / "out", read_truth(log.folder), "part", QuestionConfig())
    assert "0 AD" in note and "Without a sound photo nobody asks whether there is a defect" in note
    config = QuestionConfig(tasks=[Task.DC])
    _, note = write_questions(tmp_path / "dc", read_truth(log.folder), "part", config)
    assert note.startswith("1 DC. Train")


def test_a_log_without_any_question_is_told(log: JudgementLog, tmp_path: Path) -> None:
    log.append(judged(photo(1), Finding.accepted), photo(1))
    with pytest.raises(UserError, match=r"No (samples|question|dataset)"):
        write_questions(tmp_path / "out", read_truth(log.folder), "part", QuestionConfig())

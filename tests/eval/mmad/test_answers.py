"""The answer log of a server: written several rows at a time, readable on a terminal."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from data import row_log
from data.files import read_jsonl
from data.mmad import MMADImage, Question
from eval.mmad.answers import AnswerKey, ask_open
from eval.mmad.prompt import Planned
from models.chat.protocol import ChatRequest, Failure

KEY = AnswerKey(model="m", adapter="", mode="generate", setting="0-shot")


class Answers:
    """A `StreamingChat` that says the same about everything, and then perhaps dies."""

    name = "m"

    def __init__(self, reply: str | Failure, last: BaseException | None = None) -> None:
        self.reply, self.last = reply, last

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        for index in range(len(requests)):
            yield index, self.reply
        if self.last is not None:
            raise self.last


def plan(count: int) -> list[Planned]:
    planned = []
    for number in range(count):
        path = Path(f"{number}.png")
        question = Question(text=f"Q{number}\x1b[2J?", options=("Yes.", "No."), answer="B", type="Anomaly Detection")
        image = MMADImage(
            key=f"VisA/{number}\x9b.png", dataset="VisA", category="x", path=path, questions=(question,), templates={}
        )
        planned.append(Planned(image=image, question=question, request=ChatRequest(path, question.text), prompt="p"))
    return planned


def test_a_server_s_answers_are_written_together_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[int] = []
    append = row_log.append_jsonl
    monkeypatch.setattr(row_log, "append_jsonl", lambda path, rows: (writes.append(len(rows)), append(path, rows)))
    monkeypatch.setattr(row_log, "SECONDS", 1000.0)
    log = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        ask_open(plan(70), KEY, log, Answers("B", last=KeyboardInterrupt()))
    assert writes == [32, 32, 6]
    assert [row["choice"] for row in read_jsonl(log)] == ["B"] * 70
    assert len(ask_open(plan(70), KEY, log, Answers("A"))) == 70  # all are known
    assert len(read_jsonl(log)) == 70


def test_a_lost_answer_is_told_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_open(plan(1), KEY, tmp_path / "answers.jsonl", Answers(Failure("status 500 \x1b]0;owned\x07")))
    told = "".join(capsys.readouterr())
    assert r"no answer: VisA/0\x9b.png: 'Q0\x1b[2J?': status 500 \x1b]0;owned\x07" in told
    assert not {"\x1b[2J", "\x9b", "\x07"} & set(told.split("no answer")[1])

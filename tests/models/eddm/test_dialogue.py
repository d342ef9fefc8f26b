from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from data.ddqa.tasks import AD_OPTIONS, format_prompt
from data.ddqa.wording import QUESTIONS, Task
from data.errors import UserError
from data.run import open_run
from models.chat.protocol import ChatRequest, Turn
from models.eddm.dialogue import Dialogue
from models.eddm.eddm import BOX_TOKENS, EDDM, LETTER_TOKENS, load_eddm

IMAGE = Path("photo.png")
DEFECTS = ("bend", "crack", "dent", "hole", "scratch", "stain")


class Inspector:
    """Sees a scratch at the bottom left; `mumbles` instead of choosing where it is told to."""

    name = "inspector"

    def __init__(self, mumbles: bool = False) -> None:
        self.asked: list[ChatRequest] = []
        self.mumbles = mumbles

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        self.asked += requests
        return [self._reply(request.prompt) for request in requests]

    def _reply(self, prompt: str) -> str:
        options = {line[3:]: line[0] for line in prompt.split("\n")[1:-1]}
        if prompt == QUESTIONS[Task.DFM]:
            return "[0.1, 0.6, 0.3, 0.8]"
        if self.mumbles or not options:
            return "hm"
        return next((options[name] for name in ("Yes.", "bottom left", "scratch") if name in options), "A")


@pytest.mark.parametrize(
    ("task", "answer"),
    [(Task.AD, "Yes."), (Task.RDL, "bottom left"), (Task.DC, "scratch"), (Task.DFM, "[0.1, 0.6, 0.3, 0.8]")],
)
def test_each_of_the_four_questions_is_answered_in_words_and_becomes_a_turn(task: Task, answer: str) -> None:
    chat = Inspector()
    dialogue = Dialogue(EDDM(chat, DEFECTS), IMAGE)
    dialogue.ask("What is it?")
    assert dialogue.ask_task(task) == answer
    assert dialogue.turns == [Turn("What is it?", "hm"), Turn(QUESTIONS[task], answer)]
    asked = chat.asked[1:]
    assert all(request.prompt.startswith(QUESTIONS[task]) and request.history == () for request in asked)
    assert all(request.prompt.count("\n") <= 5 for request in asked)  # four options at most, as in training
    limit = BOX_TOKENS if task is Task.DFM else LETTER_TOKENS
    assert {request.max_tokens for request in asked} == {limit}
    dialogue.ask("Is that bad?")
    assert chat.asked[-1].history == tuple(dialogue.turns[:2])


def test_the_first_question_is_the_one_of_the_training() -> None:
    chat = Inspector()
    Dialogue(EDDM(chat, DEFECTS), IMAGE).ask_task(Task.AD)
    assert [request.prompt for request in chat.asked] == [format_prompt(Task.AD, AD_OPTIONS)]


def test_types_may_be_given_and_a_model_without_any_is_asked_freely() -> None:
    chat = Inspector()
    assert Dialogue(EDDM(chat, DEFECTS), IMAGE).ask_task(Task.DC, ["rust", "scratch"]) == "scratch"
    assert "A. rust\nB. scratch" in chat.asked[0].prompt
    assert Dialogue(EDDM(chat, ()), IMAGE, max_tokens=7).ask_task(Task.DC) == "hm"
    assert (chat.asked[-1].prompt, chat.asked[-1].max_tokens) == (QUESTIONS[Task.DC], 7)


def test_an_answer_that_is_no_option_is_shown_as_it_is_or_empty() -> None:
    dialogue = Dialogue(EDDM(Inspector(mumbles=True), DEFECTS), IMAGE)
    assert [dialogue.ask_task(task) for task in (Task.AD, Task.RDL, Task.DC)] == ["hm", "", ""]


def test_what_cannot_be_asked_is_refused() -> None:
    dialogue = Dialogue(EDDM(Inspector(), DEFECTS), IMAGE)
    with pytest.raises(UserError, match="One name, rust, leaves nothing to choose"):
        dialogue.ask_task(Task.DC, ["rust"])
    with pytest.raises(ValueError, match="no question of DDQA's four"):
        dialogue.ask_task(Task.description)
    assert not dialogue.turns


def test_the_shipped_eddm_answers_a_second_question_about_a_photo_that_it_encoded_once(tmp_path: Path) -> None:
    photo = np.full((256, 256, 3), 90, np.uint8)
    cv2.circle(photo, (128, 128), 90, (170, 170, 170), -1)
    cv2.line(photo, (80, 80), (110, 120), (30, 30, 30), 3)
    cv2.imwrite(str(tmp_path / "photo.png"), photo)
    eddm = load_eddm(open_run("tiny"))
    model: Any = getattr(eddm.chat, "model")  # noqa: B009
    calls: list[int] = []
    model.model.vision_tower.register_forward_hook(lambda *_: calls.append(1))

    def converse() -> list[str]:
        dialogue = Dialogue(eddm, tmp_path / "photo.png")
        free = [dialogue.ask("What is wrong?"), dialogue.ask("Where is it?")]
        return [*free, *(dialogue.ask_task(task) for task in (Task.AD, Task.RDL, Task.DFM, Task.DC))]

    answers = converse()
    assert len(calls) == 1
    what, where, is_there, region, box, kind = answers
    assert what and where and what != where
    assert is_there in AD_OPTIONS and region and box.startswith("[") and kind in eddm.defects
    assert converse() == answers

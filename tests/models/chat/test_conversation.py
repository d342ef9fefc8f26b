from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from data.errors import UserError
from models.chat.conversation import LONGEST_QUESTION, TURNS, Conversation, turns_of
from models.chat.protocol import ChatRequest, Turn

IMAGE = Path("photo.png")


class Counter:
    """Answers by counting; fails where it is told to."""

    name = "counter"

    def __init__(self, model: nn.Module | None = None) -> None:
        self.asked: list[ChatRequest] = []
        self.fails = False
        if model is not None:
            self.model = model

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        if self.fails:
            raise UserError("No answer.")
        self.asked += requests
        return [f"answer {len(self.asked)}"]


def test_a_question_is_asked_with_the_turns_before_it() -> None:
    chat = Counter()
    conversation = Conversation(chat, IMAGE, max_tokens=9)
    assert [conversation.ask("What is wrong?"), conversation.ask(" Where? ")] == ["answer 1", "answer 2"]
    first = Turn("What is wrong?", "answer 1")
    assert chat.asked == [
        ChatRequest(IMAGE, "What is wrong?", 9),
        ChatRequest(IMAGE, "Where?", 9, history=(first,)),
    ]
    assert conversation.turns == [first, Turn("Where?", "answer 2")]


@pytest.mark.parametrize(("recall", "given"), [(None, TURNS), (2, 2), (0, 0)])
def test_only_the_latest_turns_go_with_a_question_and_all_are_kept(recall: int | None, given: int) -> None:
    chat = Counter()
    conversation = Conversation(chat, IMAGE, max_tokens=9, recall=recall)
    for number in range(TURNS + 3):
        conversation.ask(f"Question {number}?")
    assert len(conversation.turns) == TURNS + 3
    latest = tuple(conversation.turns[TURNS + 2 - given : TURNS + 2])
    assert chat.asked[-1].history == latest and len(latest) == given


def test_a_turn_without_an_answer_is_not_remembered() -> None:
    chat = Counter()
    conversation = Conversation(chat, IMAGE, max_tokens=9)
    chat.fails = True
    with pytest.raises(UserError, match="No answer"):
        conversation.ask("Where?")
    chat.fails = False
    conversation.ask("What?")
    assert chat.asked == [ChatRequest(IMAGE, "What?", 9)] and len(conversation.turns) == 1


@pytest.mark.parametrize(
    ("question", "fault"), [("  ", "is empty"), ("x" * (LONGEST_QUESTION + 1), "2001 characters. Ask in 2000 or fewer")]
)
def test_a_question_that_cannot_be_asked_is_refused(question: str, fault: str) -> None:
    chat = Counter()
    with pytest.raises(UserError, match=fault):
        Conversation(chat, IMAGE, max_tokens=9).ask(question)
    assert not chat.asked


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"max_tokens": 9, "recall": -1}])
def test_numbers_that_are_too_small_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match=r"max_tokens=0|recall=-1"):
        Conversation(Counter(), IMAGE, **options)  # type: ignore[arg-type]


def test_the_tiny_models_are_asked_each_question_alone() -> None:
    assert turns_of(Counter()) == TURNS  # a server
    assert turns_of(Counter(nn.Linear(2, 2))) == 0
    with torch.device("meta"):
        assert turns_of(Counter(nn.Linear(4000, 4000))) == TURNS

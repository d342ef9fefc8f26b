"""A conversation about one image: each question is asked with the turns before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from data.errors import UserError
from models.chat.protocol import ChatModel, ChatRequest, Turn

TURNS = 8  # that a question is asked with, where the model can follow
LONGEST_QUESTION = 2000  # characters


class Conversation:
    """Questions about one image, and the answers.

    Attributes:
        turns: All turns so far, the oldest first; the latest `recall` of them go with the next question.
        recall: How many that are.
    """

    def __init__(self, chat: ChatModel, image: Path, *, max_tokens: int, recall: int | None = None) -> None:
        """Begins without turns; the image is opened with the first question.

        Args:
            chat: Answers.
            image: The image.
            max_tokens: Longest answer.
            recall: Most turns that a question is asked with; None is what the model can follow, see `turns_of`.

        Raises:
            UserError: If a number is too small.
        """
        if max_tokens < 1:
            raise UserError(f"max_tokens={max_tokens}: an answer needs at least one token.")
        if recall is not None and recall < 0:
            raise UserError(f"recall={recall}: give 0 to ask each question alone, or more.")
        self.chat, self.image, self.max_tokens = chat, image, max_tokens
        self.recall = turns_of(chat) if recall is None else recall
        self.turns: list[Turn] = []

    def ask(self, question: str) -> str:
        """Asks a question in the user's own words; a turn that fails is not remembered.

        Raises:
            UserError: If the question is empty, too long or cannot be asked, or there was no answer.
        """
        question = question.strip()
        if not question:
            raise UserError("The question is empty. Write what you want to know about the image.")
        if len(question) > LONGEST_QUESTION:
            raise UserError(f"The question has {len(question)} characters. Ask in {LONGEST_QUESTION} or fewer.")
        history = tuple(self.turns[max(0, len(self.turns) - self.recall) :])
        request = ChatRequest(self.image, question, self.max_tokens, history=history)
        return self._remember(question, lambda: self.chat.chat([request])[0])

    def _remember(self, question: str, answer: Callable[[], str]) -> str:
        turn = Turn(question, answer())
        self.turns.append(turn)
        return turn.answer


def turns_of(chat: ChatModel) -> int:
    """How many earlier turns a model can follow: `TURNS`, and none for the tiny models that ship with the code.

    Those were trained from scratch on single questions: after an earlier turn they repeat scraps of their training
    instead of answering, while each question alone is answered. Every larger base has learned to converse.
    """
    from models.tiny.batched_vision import is_tiny  # slow to import

    model = getattr(chat, "model", None)
    return 0 if isinstance(model, nn.Module) and is_tiny(model) else TURNS

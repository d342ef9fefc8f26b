"""What every multimodal chat model offers here, whatever runs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from data.errors import UserError


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier question about an image, and what was answered."""

    question: str
    answer: str


class Message(NamedTuple):
    """What one side says: texts, and paths of images; `role` is `user` or `assistant`."""

    role: str
    parts: list[str | Path]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question about one image.

    Attributes:
        image: Path of the image.
        prompt: The user's text, without an image placeholder.
        max_tokens: Longest reply.
        before: Texts and further images (templates) that precede the image in the first turn of the user.
        history: Earlier turns about the same image, the oldest first.
    """

    image: Path
    prompt: str
    max_tokens: int = 64
    before: tuple[str | Path, ...] = ()
    history: tuple[Turn, ...] = ()

    @property
    def images(self) -> list[Path]:
        """All images, in order; the last is the one in question."""
        return [*(part for part in self.before if isinstance(part, Path)), self.image]

    @property
    def messages(self) -> list[Message]:
        """The conversation up to the question; its images stand in the first turn."""
        said = [text for turn in self.history for text in (turn.question, turn.answer)]
        first, *others = [*said, self.prompt]
        roles = ("assistant", "user")
        return [
            Message("user", [*self.before, self.image, first]),
            *(Message(roles[place % 2], [text]) for place, text in enumerate(others)),
        ]

    @property
    def parts(self) -> list[str | Path]:
        """All texts, and paths of images, whoever said them."""
        return [part for message in self.messages for part in message.parts]

    def refuse(self, marks: Iterable[str]) -> None:
        """Refuses texts that hold what stands for an image in a model's prompt.

        Raises:
            UserError: Naming the mark.
        """
        for mark in marks:
            if any(isinstance(part, str) and mark in part for part in self.parts):
                raise UserError(f"A prompt about {self.image} holds {mark!r}, which stands for images. Reword it.")

    def mark(self) -> list[dict[str, Any]]:
        """The messages as chat templates of transformers take them, with a mark in the place of each image."""
        return [
            {
                "role": role,
                "content": [
                    {"type": "image"} if isinstance(part, Path) else {"type": "text", "text": part} for part in parts
                ],
            }
            for role, parts in self.messages
        ]


class ChatModel(Protocol):
    """Answers questions about images, deterministically.

    Attributes:
        name: Names the weights, adapter included: two models with one name give the same replies.
    """

    name: str

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests, without thoughts; batches them as it likes."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer came, however often it was asked for: the fault is the server's, not a reply of the model.

    Whoever scores counts the question as unanswered, which is wrong, and says how many there are and why; whoever logs
    marks the row, so that the same command asks the question again.

    Attributes:
        reason: What went wrong.
    """

    reason: str


@runtime_checkable
class StreamingChat(Protocol):
    """A chat model whose answers come one by one and may fail one by one."""

    name: str

    def stream(self, requests: Sequence[ChatRequest]) -> Iterator[tuple[int, str | Failure]]:
        """Yields (index, reply) in the order in which they come, each request once."""
        ...


class OptionScorer(Protocol):
    """Says how likely each option's letter is as the first token of the reply: nothing to parse.

    Attributes:
        name: As `ChatModel.name`.
    """

    name: str

    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Scores the letters A, B, … of each question.

        Args:
            requests: Questions; those of one image share it and what precedes it, and follow one another.
            counts: Number of options of each.

        Returns:
            Next-token logits of the letters, one list a question.
        """
        ...

"""What every multimodal chat model offers here, whatever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question about one image.

    Attributes:
        image: Path of the image.
        prompt: The user's text, without an image placeholder.
        max_tokens: Longest reply.
        before: Texts and further images (templates) that precede the image in the user's turn.
    """

    image: Path
    prompt: str
    max_tokens: int = 64
    before: tuple[str | Path, ...] = ()

    @property
    def images(self) -> list[Path]:
        """All images of the turn, in order; the last is the one in question."""
        return [*(part for part in self.before if isinstance(part, Path)), self.image]

    @property
    def parts(self) -> list[str | Path]:
        """The turn: texts, and paths of images."""
        return [*self.before, self.image, self.prompt]


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

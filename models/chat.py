"""What every multimodal chat model offers here, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question about one image.

    Attributes:
        image: Path of the image.
        prompt: The user's text, without an image placeholder.
        max_tokens: Longest reply.
    """

    image: Path
    prompt: str
    max_tokens: int = 64


class ChatModel(Protocol):
    """Answers questions about images, deterministically.

    Attributes:
        name: Names the weights, adapter included: two models with one name give the same replies.
    """

    name: str

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests, without thoughts; batches them as it likes."""
        ...

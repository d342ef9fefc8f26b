"""Scores letters with any model that can go on from a cache: what the questions about an image share runs once.

Shape legend: V vocabulary.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from models.chat.letters import common_length, group_by_image, letter_tokens, read_letters
from models.chat.protocol import ChatRequest

log = logging.getLogger(__name__)
ROUNDING = 2  # steps of the number format by which a large logit may differ: in bfloat16 a step is 0.125 at 20


class PromptModel(Protocol):
    """A chat model whose prompts and logits can be seen: `models.chat.vlm.VLM`, `models.chat.swift.SwiftChat`.

    Attributes:
        name: As `ChatModel.name`.
        batch_size: Whole prompts at once.
    """

    name: str
    batch_size: int

    @property
    def model(self) -> Any:
        """Takes what `encode_first` gives, and token ids with `past_key_values`."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        ...

    @property
    def image_tokens(self) -> set[int]:
        """Ids that stand for images."""
        ...

    def encode_first(self, request: ChatRequest) -> tuple[dict[str, Any], list[int]]:
        """What the model takes for one prompt, and its token ids, images expanded."""
        ...

    def encode_plain(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Token ids of each prompt without opening its images; only what follows the images must be exact."""
        ...

    def predict_next(self, requests: Sequence[ChatRequest]) -> Sequence[Tensor]:
        """Logits after each whole prompt, (V,) each."""
        ...


class ReuseScorer:
    """An `OptionScorer`: the image and what precedes it run once, its questions continue from copies of that cache.

    Whether a model allows this is tried on the first image: if a question that continues from the cache does not get
    the logits of the whole prompt, every question runs whole, and that is said.
    """

    def __init__(self, chat: PromptModel, *, tolerance: float = 0.05) -> None:
        """Keeps the model.

        Args:
            chat: The model.
            tolerance: Largest difference of a letter's logit in the trial, beside `ROUNDING`.
        """
        self.chat, self.name, self.tolerance = chat, chat.name, tolerance
        self.letters = letter_tokens(chat.tokenizer)
        self.reuses: bool | None = None

    @torch.inference_mode()
    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Scores the letters of each question; see `OptionScorer`."""
        found: dict[int, Tensor] = {}
        for group in group_by_image(requests):
            batch = [requests[index] for index in group]
            if self.reuses is None and len(batch) > 1:
                self.reuses = self._try(batch)
            rows = self._continue(batch) if self.reuses and len(batch) > 1 else None
            found |= dict(zip(group, rows or (), strict=rows is not None))
        whole = [index for index in range(len(requests)) if index not in found]
        for start in range(0, len(whole), self.chat.batch_size):
            indices = whole[start : start + self.chat.batch_size]
            found |= dict(zip(indices, self.chat.predict_next([requests[index] for index in indices]), strict=True))
        return [read_letters(found[index], self.letters, count) for index, count in enumerate(counts)]

    def _try(self, batch: Sequence[ChatRequest]) -> bool:
        try:
            rows = self._continue(batch)
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, NotImplementedError) as error:
            log.warning("%s cannot continue from a cache (%s): each question runs whole.", self.name, error)
            return False
        if rows is None:
            log.warning("The prompts of %s share no beginning with the image: each question runs whole.", self.name)
            return False
        tokens = [token for letter in self.letters for token in letter]
        whole = [self.chat.predict_next([one])[0] for one in batch]
        found, expected = (torch.stack([row[tokens].float() for row in some]) for some in (rows, whole))
        difference = float((found - expected).abs().max())
        steps = torch.finfo(self.chat.model.dtype).eps * float(expected.abs().max())
        if not difference <= self.tolerance + ROUNDING * steps:
            log.warning("%s: logits from a cache differ by %.2g: each question runs whole.", self.name, difference)
            return False
        return True

    def _continue(self, batch: Sequence[ChatRequest]) -> list[Tensor] | None:
        """Logits after each prompt, (V,) each; None when the questions' tokens cannot be split after the image."""
        whole, first = self.chat.encode_first(batch[0])
        rows = self._tokens(batch, first)
        if rows is None:
            return None
        shared = min(common_length(rows), *(len(row) - 1 for row in rows))
        head = {
            name: value[:, :shared] if isinstance(value, Tensor) and value.shape[:2] == (1, len(first)) else value
            for name, value in whole.items()
        }
        model = self.chat.model
        cache = model(**head, use_cache=True).past_key_values
        found: list[Tensor] = []
        for start in range(0, len(rows), self.chat.batch_size):
            tails = [torch.tensor(row[shared:]) for row in rows[start : start + self.chat.batch_size]]
            ids = pad_sequence(tails, batch_first=True).to(
                model.device
            )  # on the right, where nothing follows to see it
            seen = torch.ones(len(tails), shared + ids.shape[1], dtype=torch.long, device=ids.device)
            copies = copy.deepcopy(cache)
            copies.reorder_cache(torch.zeros(len(tails), dtype=torch.long, device=ids.device))
            logits = model(input_ids=ids, attention_mask=seen, past_key_values=copies).logits
            found += [row[len(tail) - 1] for row, tail in zip(logits, tails, strict=True)]
        return found

    def _tokens(self, batch: Sequence[ChatRequest], first: list[int]) -> list[list[int]] | None:
        """Token ids of each prompt, images expanded, from those of the first without opening the images again."""
        plain = self.chat.encode_plain(batch)
        start = common_length(plain)
        tail = len(plain[0]) - start  # of the first prompt, after what the unexpanded prompts share
        if tail <= 0 or first[-tail:] != plain[0][start:]:
            return None
        if self.chat.image_tokens & {token for row in plain for token in row[start:]}:
            return None
        return [first[:-tail] + row[start:] for row in plain]

"""Scores the letters of multiple-choice options by next-token logits, with the image and what precedes it encoded once.

Per image: the tokens that all its questions share (template images, query image, instruction) run through the language
model once; what the previous image shares with this one (its templates) is not run again. Then all questions run as
one sequence: each sees the shared part and, causally, itself, but no other question, and has the positions that it
would have alone. Logits equal those of one question at a time up to rounding.

Shape legend: Q questions, P shared tokens, R tokens of all questions without P, D text width.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from data.errors import UserError
from models.chat.batched_vision import batched_vision
from models.chat.local import TransformersChat
from models.chat.protocol import ChatRequest

IMAGES_AT_ONCE = 16
Key = int | tuple[Path, int]  # a token, or a place in an image


def can_pack(config: Any) -> bool:
    """Whether a language model's attention can be masked by blocks: recurrent or windowed layers cannot."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return all(kind == "full_attention" for kind in kinds)


class PackedScorer:
    """An `OptionScorer` on MiniCPM-V 4.6 in this process."""

    def __init__(self, chat: TransformersChat) -> None:
        """Finds the letters' tokens.

        Raises:
            UserError: If its attention cannot be packed.
        """
        if not can_pack(chat.model.config.text_config):
            raise UserError("This model has recurrent or windowed layers: packing fails. Set mode=generate.")
        self.chat, self.name = chat, chat.name
        self.letters = letter_tokens(chat.processor.tokenizer)
        self._cache = DynamicCache(config=chat.model.config.text_config)
        self._cached: list[Key] = []

    @torch.inference_mode()
    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Scores the letters of each question; see `OptionScorer`."""
        groups = group_by_image(requests)
        scores: list[list[float]] = []
        for start in range(0, len(groups), IMAGES_AT_ONCE):
            chunk = groups[start : start + IMAGES_AT_ONCE]
            self.chat.look({path for group in chunk for path in requests[group[0]].images})
            for group in chunk:
                with batched_vision(self.chat.model):  # its fused norms serve the language model, too
                    logits = self._score_image([requests[index] for index in group])
                scores += [
                    read_letters(row, self.letters, counts[index]) for row, index in zip(logits, group, strict=True)
                ]
        return scores

    def _score_image(self, requests: Sequence[ChatRequest]) -> Tensor:
        """Next-token logits of the questions about one image, (Q, vocabulary)."""
        texts = [self.chat.expand(request) for request in requests]
        ids = self.chat.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        keys = self._keys(ids[0], requests[0].images)
        shared = min(common_length(ids), *(len(row) - 1 for row in ids))
        shared = max(shared, _last_image(keys) + 1)
        self._prefill(ids[0][:shared], keys[:shared], requests[0].images)
        return self._ask([row[shared:] for row in ids])

    def _keys(self, ids: Sequence[int], images: Sequence[Path]) -> list[Key]:
        """What each place holds: equal keys at equal places have equal keys and values in the cache."""
        places = iter([(path, place) for path in images for place in range(self.chat.visual_tokens(path))])
        mark = self.chat.processor.tokenizer.image_token_id
        return [next(places) if token == mark else token for token in ids]

    def _prefill(self, ids: Sequence[int], keys: list[Key], images: Sequence[Path]) -> None:
        """Makes the cache hold exactly the shared part."""
        known = common_length([keys, self._cached])
        if surplus := self._cache.get_seq_length() - known:  # the last image's questions among it
            self._cache.crop(-surplus)
        self._cached = self._cached[:known]  # stays true if the forward pass below is interrupted
        if known < len(keys):
            embedded = self.chat.embed(torch.tensor([list(ids)]), images)[:, known:]
            self._forward(inputs_embeds=embedded, position_ids=torch.arange(known, len(keys))[None])
        self._cached = keys

    def _ask(self, tails: Sequence[Sequence[int]]) -> Tensor:
        """Runs all questions on top of the cache: (Q, vocabulary)."""
        shared = len(self._cached)
        lengths = [len(tail) for tail in tails]
        mask = block_mask(shared, lengths)
        positions = torch.cat([torch.arange(shared, shared + length) for length in lengths])
        hidden = self._forward(
            input_ids=torch.tensor([[token for tail in tails for token in tail]]),
            attention_mask=mask[None, None],
            position_ids=positions[None],
        )
        last = torch.tensor(lengths).cumsum(0) - 1
        return self.chat.model.get_output_embeddings()(hidden[0, last])

    def _forward(self, **inputs: Any) -> Tensor:
        language = self.chat.model.model.language_model
        return language(past_key_values=self._cache, use_cache=True, **inputs).last_hidden_state


def block_mask(shared: int, lengths: Sequence[int]) -> Tensor:
    """Who sees whom: (R, P + R) bool; a question sees the shared part and its own earlier tokens."""
    total = sum(lengths)
    mask = torch.zeros(total, shared + total, dtype=torch.bool)
    mask[:, :shared] = True
    start = 0
    for length in lengths:
        block = slice(start, start + length)
        mask[block, shared + start : shared + start + length] = torch.ones(length, length, dtype=torch.bool).tril()
        start += length
    return mask


def group_by_image(requests: Sequence[ChatRequest]) -> list[list[int]]:
    """Indices of neighbouring requests that share the image and what precedes it."""
    found = groupby(range(len(requests)), key=lambda index: (requests[index].before, requests[index].image))
    return [list(group) for _, group in found]


def common_length(rows: Sequence[Sequence[Any]]) -> int:
    """Length of the longest common beginning."""
    shortest = min(len(row) for row in rows)
    for place in range(shortest):
        if any(row[place] != rows[0][place] for row in rows):
            return place
    return shortest


def letter_tokens(tokenizer: Any) -> list[list[int]]:
    """Token ids of the letters A to Z, alone and after a space.

    Raises:
        UserError: If a letter is no single token.
    """
    found = []
    for letter in string.ascii_uppercase:
        spelled = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (letter, f" {letter}")]
        tokens = sorted({ids[0] for ids in spelled if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})
        if not tokens:
            raise UserError(f"The tokenizer has no token for the letter {letter}. Set mode=generate for this model.")
        found.append(tokens)
    return found


def read_letters(logits: Tensor, letters: Sequence[Sequence[int]], count: int) -> list[float]:
    """Logit of each of the first `count` letters; the spellings of a letter add up as probabilities."""
    return [float(torch.logsumexp(logits[list(tokens)].float(), 0)) for tokens in letters[:count]]


def _last_image(keys: Sequence[Key]) -> int:
    return max((place for place, key in enumerate(keys) if isinstance(key, tuple)), default=-1)

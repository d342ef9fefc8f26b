"""Scores the letters of multiple-choice options by next-token logits, with the image and what precedes it encoded once.

Per image: the tokens that all its questions share (template images, query image, instruction) run through the language
model once; what images share (their templates) is run once for all of them, and not again for the next ones. Then all
questions run as one sequence: each sees the shared part and, causally, itself, but no other question, and has the
positions that it would have alone. Images of about the same length form a batch, padded on the right. Logits equal
those of one question at a time up to rounding.

Shape legend: B images, Q questions of an image, P shared tokens and R tokens of all questions without them
(both of the longest image of a batch).
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from data.errors import UserError
from models.chat.local import TransformersChat
from models.chat.protocol import ChatRequest
from models.tiny.batched_vision import batched_vision

IMAGES_AT_ONCE = 16  # encoded
TOKENS_AT_ONCE = 4096  # in a batch, padding included: more leave the processor's cache
WORTH_A_PASS = 32  # tokens that images share are run by themselves if they are so many
Key = int | tuple[str, int]  # a token, or the content of an image and a place in it


def can_pack(config: Any) -> bool:
    """Whether a language model's attention can be masked by blocks: recurrent or windowed layers cannot."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return all(kind == "full_attention" for kind in kinds)


@dataclass(frozen=True, slots=True)
class Packed:
    """The questions about one image.

    Attributes:
        places: Their places among all requests.
        images: Paths of the images of the turn.
        ids: Tokens that they share.
        keys: What each of these places holds: equal keys at equal places have equal keys and values in the cache.
        tails: The tokens of each question behind the shared ones.
    """

    places: list[int]
    images: list[Path]
    ids: list[int]
    keys: list[Key]
    tails: list[list[int]]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each question without the shared ones."""
        return [len(tail) for tail in self.tails]


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
        self._cached: list[list[Key]] = []  # of each row of the cache

    @torch.inference_mode()
    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Scores the letters of each question; see `OptionScorer`."""
        groups = group_by_image(requests)
        scores: dict[int, list[float]] = {}
        for start in range(0, len(groups), IMAGES_AT_ONCE):
            chunk = groups[start : start + IMAGES_AT_ONCE]
            self.chat.look({path for group in chunk for path in requests[group[0]].images})
            with batched_vision(self.chat.model):  # its fused norms serve the language model, too
                for batch in _batches(self._pack(requests, chunk)):
                    self._prefill(batch)
                    places = [place for packed in batch for place in packed.places]
                    letters = letter_logits(self._ask(batch), self.letters[: max(counts)]).tolist()
                    scores |= {place: row[: counts[place]] for place, row in zip(places, letters, strict=True)}
        return [scores[place] for place in range(len(requests))]

    def expect(self, paths: Iterable[Path]) -> None:
        """Opens images that will be asked about next, while this one is busy."""
        self.chat.expect(paths)

    def _pack(self, requests: Sequence[ChatRequest], groups: Sequence[list[int]]) -> list[Packed]:
        texts = [self.chat.expand(requests[place]) for places in groups for place in places]
        every = iter(self.chat.processor.tokenizer(texts, add_special_tokens=False)["input_ids"])
        packs = []
        for places in groups:
            ids, images = list(islice(every, len(places))), requests[places[0]].images
            keys = self._keys(ids[0], images)
            shared = max(min(common_length(ids), *(len(row) - 1 for row in ids)), _last_image(keys) + 1)
            packs.append(Packed(places, images, ids[0][:shared], keys[:shared], [row[shared:] for row in ids]))
        return packs

    def _keys(self, ids: Sequence[int], images: Sequence[Path]) -> list[Key]:
        chat = self.chat
        places = iter([(chat.content(path), place) for path in images for place in range(chat.visual_tokens(path))])
        mark = self.chat.processor.tokenizer.image_token_id
        return [next(places) if token == mark else token for token in ids]

    def _prefill(self, batch: Sequence[Packed]) -> None:
        """Makes the cache hold the shared part of each image, padded to P."""
        alike = common_length([packed.keys for packed in batch])
        if len(batch) > 1 and alike - self._known([batch[0].keys[:alike]])[0] > WORTH_A_PASS:
            self._fill(batch[:1], alike)
        self._fill(batch, max(len(packed.keys) for packed in batch))

    def _fill(self, batch: Sequence[Packed], length: int) -> None:
        """Makes the cache hold the first `length` shared tokens of each image, or as many as it has."""
        keys = [packed.keys[:length] for packed in batch]
        known, rows = self._known(keys)
        self._cached = []  # stays true if the forward pass below is interrupted
        if not known:
            self._cache = DynamicCache(config=self.chat.model.config.text_config)
        else:
            if surplus := self._cache.get_seq_length() - known:  # the last images' questions among it
                self._cache.crop(-surplus)
            self._cache.batch_select_indices(torch.tensor(rows))
        if known < length:
            ids = _pad([packed.ids[:length] for packed in batch])
            embedded = self.chat.embed(ids, [path for packed in batch for path in packed.images])[:, known:]
            self._forward(inputs_embeds=embedded, position_ids=torch.arange(known, length)[None])
        self._cached = keys

    def _known(self, keys: Sequence[list[Key]]) -> tuple[int, list[int]]:
        """How many tokens of each row need not be run again, and which rows of the cache hold them."""
        if not self._cached:
            return 0, []
        found = []
        for row in keys:
            alike = [common_length([row, cached]) for cached in self._cached]
            found.append(max(zip(alike, range(len(alike)), strict=True), key=lambda pair: pair[0]))
        return min(length for length, _ in found), [row for _, row in found]

    def _ask(self, batch: Sequence[Packed]) -> Tensor:
        """Runs all questions on top of the cache: next-token logits, (sum of Q, vocabulary)."""
        shared = [len(packed.ids) for packed in batch]
        starts = [
            torch.cat([torch.arange(start, start + length) for length in packed.lengths])
            for packed, start in zip(batch, shared, strict=True)
        ]
        hidden = self._forward(
            input_ids=_pad([[token for tail in packed.tails for token in tail] for packed in batch]),
            attention_mask=block_mask(shared, [packed.lengths for packed in batch])[:, None],
            position_ids=torch.nn.utils.rnn.pad_sequence(starts, batch_first=True),
        )
        ends = [torch.tensor(list(accumulate(packed.lengths))) - 1 for packed in batch]
        last = torch.cat([hidden[row, end] for row, end in enumerate(ends)])
        return self.chat.model.get_output_embeddings()(last)

    def _forward(self, **inputs: Any) -> Tensor:
        language = self.chat.model.model.language_model
        return language(past_key_values=self._cache, use_cache=True, **inputs).last_hidden_state


def _batches(packs: Sequence[Packed]) -> Iterator[list[Packed]]:
    """Images of about the same length, at most `TOKENS_AT_ONCE` tokens with their padding."""
    batch: list[Packed] = []
    for packed in sorted(packs, key=lambda packed: (len(packed.ids), sum(packed.lengths))):
        wider = [*batch, packed]
        size = max(len(one.ids) for one in wider) + max(sum(one.lengths) for one in wider)
        if batch and len(wider) * size > TOKENS_AT_ONCE:
            yield batch
            wider = [packed]
        batch = wider
    yield batch


def _pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """(B, longest) token ids; what is added on the right is seen by nobody."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def block_mask(shared: Sequence[int], lengths: Sequence[Sequence[int]]) -> Tensor:
    """Who sees whom: (B, R, P + R) bool; a question sees the shared part and its own earlier tokens.

    Args:
        shared: Shared tokens of each image.
        lengths: Tokens of each question of each image without the shared ones.

    Padding sees the shared part, too: what sees nothing becomes NaN.
    """
    total, most = max(map(sum, lengths)), max(shared)
    mask = torch.zeros(len(shared), total, most + total, dtype=torch.bool)
    for row, (seen, questions) in enumerate(zip(shared, lengths, strict=True)):
        mask[row, :, :seen] = True
        start = 0
        for length in questions:
            own = torch.ones(length, length, dtype=torch.bool).tril()
            mask[row, start : start + length, most + start : most + start + length] = own
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
    """Logit of each of the first `count` letters, from those of all tokens, (V,); see `letter_logits`."""
    return letter_logits(logits[None], letters[:count])[0].tolist()


def letter_logits(logits: Tensor, letters: Sequence[Sequence[int]]) -> Tensor:
    """(N, V) logits of all tokens → (N, letters); the spellings of a letter add up as probabilities."""
    return torch.stack([torch.logsumexp(logits[:, list(tokens)].float(), 1) for tokens in letters], 1)


def _last_image(keys: Sequence[Key]) -> int:
    return max((place for place, key in enumerate(keys) if isinstance(key, tuple)), default=-1)

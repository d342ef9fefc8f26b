"""Several independent questions on one image in one sequence: the image is read once, for all of them.

Shape legend: B sequences, L tokens, P tokens of the common prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from data.tiny.captions import Turn

IGNORED = -100
ANSWER_START = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
ANSWER_END = "<|im_end|>"
END_WEIGHT = 0.1  # the end of an answer is easy: it shall not drown the answer


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of packed sequences.

    Attributes:
        ids: (B, L) token ids.
        positions: (B, L); every question starts right behind the prefix.
        bias: (B, 1, L, L), 0 where attention is allowed and a large negative number elsewhere.
        labels: (B, L) the token that each position must predict next, or `IGNORED`.
        weights: (B, L) weight of each prediction.
    """

    ids: Tensor
    positions: Tensor
    bias: Tensor
    labels: Tensor
    weights: Tensor


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of several texts, without added special tokens."""
    return tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []


def pack(
    tokenizer: PreTrainedTokenizerFast, prefixes: Sequence[Sequence[int]], turns: Sequence[Sequence[Turn]]
) -> Packed:
    """Packs B prefixes, each with its own questions and answers."""
    flat = [turn for group in turns for turn in group]
    questions = iter(encode(tokenizer, [turn.question + ANSWER_START for turn in flat]))
    answers = iter(encode(tokenizer, [turn.answer + ANSWER_END for turn in flat]))
    rows = []
    for prefix, group in zip(prefixes, turns, strict=True):
        tokens, places, owners = list(prefix), list(range(len(prefix))), [0] * len(prefix)
        targets, shares = [IGNORED] * len(prefix), [0.0] * len(prefix)
        for part, turn in enumerate(group, 1):
            question, answer = next(questions), next(answers)
            new = question + answer[:-1]  # the end token is predicted, never read
            tokens += new
            places += range(len(prefix), len(prefix) + len(new))
            owners += [part] * len(new)
            targets += [IGNORED] * (len(question) - 1) + answer
            shares += [0.0] * (len(question) - 1) + [turn.weight] * (len(answer) - 1) + [END_WEIGHT * turn.weight]
        rows.append((tokens, places, owners, targets, shares))
    length = max(len(row[0]) for row in rows)
    fills = (tokenizer.pad_token_id, 0, -1, IGNORED, 0.0)
    table = [
        torch.tensor([row[field] + [fill] * (length - len(row[0])) for row in rows]) for field, fill in enumerate(fills)
    ]
    ids, positions, parts, labels, weights = table
    return Packed(ids, positions, packed_bias(parts), labels, weights)


def packed_bias(parts: Tensor) -> Tensor:
    """Additive attention mask of packed sequences.

    Args:
        parts: (B, L); 0 for the prefix, 1.. for the questions, -1 for padding.

    Returns:
        (B, 1, L, L): a token sees earlier tokens of the prefix and of its own part.
    """
    length = parts.shape[1]
    same = (parts[:, None, :] == parts[:, :, None]) | (parts[:, None, :] == 0)
    seen = same & torch.ones(length, length, dtype=torch.bool).tril()
    return torch.zeros(seen.shape).masked_fill_(~seen, -1e9)[:, None]

"""What a visual token should say: which region it is, which kinds of mark are there, and where exactly.

The language model and the vision tower are trained apart and meet in this code: the one learns to read it, the other to
write it. It is spoken in the language model's own first embeddings of the words, so that a token that shows a scratch
starts out alike to the word "scratch".

Shape legend: B images, T visual tokens an image (a square of side `side`), K kinds of mark, D text width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from data.ddqa.regions import REGIONS, region_of
from data.tiny.captions import KINDS, Facts
from train.tiny.packing import encode

CLEAR = 0.15  # less of a mark than this is no more than a doubt
NOISE = 0.03  # of each coordinate, so that the reader takes nothing for exact


@dataclass(frozen=True, slots=True)
class Reading:
    """What there is at each visual token.

    Attributes:
        marked: (B, T), how much of a mark is there: 1 at the token that holds most of it.
        kinds: (B, T, K), 1 where a mark of that kind has its centre.
        boxes: (B, T, 4), xyxy in -1..1 of the largest mark with its centre there; 0 without one.
    """

    marked: NDArray[np.float32]
    kinds: NDArray[np.float32]
    boxes: NDArray[np.float32]


class Spelling:
    """Turns readings into visual tokens.

    Attributes:
        regions: (T, D) what a token says of its place.
    """

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerFast, side: int) -> None:
        """Takes the words' embeddings as they are now: call it before any training, on the seeded model."""
        core: Any = model
        words = core.get_input_embeddings().weight.detach().clone()
        self.side = side
        self._kinds, names, self._mark = (
            words[[ids[0] for ids in encode(tokenizer, [f" {name}" for name in group])]]
            for group in (KINDS, REGIONS, ("mark",))
        )
        middles = [((column + 0.5) / side, (row + 0.5) / side) for row in range(side) for column in range(side)]
        self.regions = names[[REGIONS.index(region_of(middle, (1, 1))) for middle in middles]]
        others = torch.randn(4, words.shape[1], generator=torch.Generator().manual_seed(0))
        self._corners = others * (words.norm(dim=1).mean() / others.norm(dim=1, keepdim=True))

    def read(self, facts: Sequence[Facts]) -> Reading:
        """What is true at each token; marks are listed largest first, and a mark is taken to fill its box."""
        tokens = self.side**2
        marked = np.zeros((len(facts), tokens), np.float32)
        kinds = np.zeros((len(facts), tokens, len(KINDS)), np.float32)
        boxes = np.zeros((len(facts), tokens, 4), np.float32)
        for row, item in enumerate(facts):
            height, width = item.size
            for mark in reversed(item.marks):
                x0, y0, x1, y1 = np.array(mark.box) / np.array([width, height, width, height])
                shares = np.outer(self._overlap(y0, y1), self._overlap(x0, x1)).ravel()
                column, line = (
                    min(int(self.side * at / size), self.side - 1)
                    for at, size in zip(mark.centre, (width, height), strict=True)
                )
                token = self.side * line + column
                marked[row] = np.maximum(marked[row], shares / shares.max())
                marked[row, token] = 1
                kinds[row, token, KINDS.index(mark.kind)] = 1
                boxes[row, token] = 2 * np.array([x0, y0, x1, y1]) - 1
        return Reading(marked, kinds, boxes)

    def _overlap(self, low: float, high: float) -> NDArray[np.float64]:
        """How much of an interval in 0..1 lies in each row (or column) of tokens, (side,)."""
        edges = np.linspace(0, 1, self.side + 1)
        return np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)

    def spell(self, reading: Reading) -> Tensor:
        """Visual tokens that say it, (B, T, D)."""
        marked, kinds, boxes = (torch.from_numpy(v) for v in (reading.marked, reading.kinds, reading.boxes))
        return self.regions + kinds @ self._kinds + marked.unsqueeze(-1) * self._mark + boxes @ self._corners

    def spell_with_doubt(self, reading: Reading, rng: np.random.Generator) -> Tensor:
        """The same as a vision tower would say it, which is never sure: weak marks, false alarms, mixed-up kinds."""
        shape = reading.marked.shape
        clear = reading.marked > CLEAR
        sure = np.where(clear, 1 - rng.beta(0.7, 2.5, shape), 0.6 * rng.beta(0.3, 4, shape))
        marked = np.where(clear, sure * reading.marked, np.maximum(sure, reading.marked))
        mixed = np.where(clear, rng.beta(0.5, 3, shape), 1.0)
        others = rng.dirichlet(np.full(len(KINDS), 0.3), shape) * (marked * mixed)[..., None]
        kinds = reading.kinds * (sure * (1 - mixed))[..., None] + others
        boxes = (reading.boxes + rng.normal(0, 0.05, reading.boxes.shape)) * sure[..., None]
        doubted = self.spell(Reading(*(value.astype(np.float32) for value in (marked, kinds, boxes))))
        return doubted + NOISE * torch.from_numpy(rng.standard_normal(doubted.shape, np.float32))

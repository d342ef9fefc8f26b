"""The language model alone: it learns to answer from what a vision tower would say, before there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from data.tiny.captions import Turn, make_turns, random_facts
from train.tiny.config import BaseConfig
from train.tiny.packing import IGNORED, encode, pack
from train.tiny.spelling import Spelling
from train.tiny.steps import Losses

USER_START = "<|im_start|>user\n"


class Reader:
    """Asks the language model about visual tokens and compares its answers.

    Attributes:
        model: The whole model.
    """

    def __init__(self, model: nn.Module, tokenizer: PreTrainedTokenizerFast, tokens: int) -> None:
        self.model: Any = model
        self._tokenizer = tokenizer
        (self._prefix,) = encode(tokenizer, [USER_START + "<image>" + "<|image_pad|>" * tokens + "</image>\n"])

    def loss(self, turns: list[list[Turn]], seen: Tensor) -> Tensor:
        """Cross-entropy of the answers to the questions about B images, given their visual tokens, (B, T, D)."""
        packed = pack(self._tokenizer, [self._prefix] * len(turns), turns)
        embedded = self.model.get_input_embeddings()(packed.ids)
        where = (packed.ids == self.model.config.image_token_id).unsqueeze(-1)
        hidden = self.model.model.language_model(
            inputs_embeds=embedded.masked_scatter(where, seen.to(embedded.dtype)),
            attention_mask=packed.bias,
            position_ids=packed.positions,
            use_cache=False,
        ).last_hidden_state
        chosen = packed.labels != IGNORED
        weights = packed.weights[chosen]
        logits = self.model.lm_head(hidden[chosen])
        losses = F.cross_entropy(logits, packed.labels[chosen], reduction="none")
        return (losses * weights).sum() / weights.sum()


class LanguageLoss:
    """Losses of a step of the language model alone."""

    def __init__(self, config: BaseConfig, reader: Reader, spelling: Spelling) -> None:
        self._config, self._reader, self._spelling = config, reader, spelling

    def __call__(self, rng: np.random.Generator, share: float) -> Losses:
        """Random facts, spelled out with doubt, and questions about them."""
        config = self._config
        facts = [random_facts(rng) for _ in range(config.language_batch)]
        turns = [
            make_turns(item, rng, config.turns, boxes=bool(rng.random() < config.box_share), open_share=0.1)
            for item in facts
        ]
        with torch.no_grad():
            spelled = self._spelling.spell_with_doubt(self._spelling.read(facts), rng)
        return {"language": (1.0, self._reader.loss(turns, spelled))}

"""Any vision-language model of transformers that comes with a processor and a chat template, in this process.

`models.chat.local` is faster where it applies (MiniCPM-V 4.6 with one tile an image).

Shape legend: L tokens of a whole prompt, P tokens that the questions about an image share, V vocabulary.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.errors import UserError
from data.sample import load_image
from models.chat.answers import strip_thinking
from models.chat.config import VLMConfig
from models.chat.decoding import NO_PENALTY, say_penalty
from models.chat.letters import common_length, group_by_image, letter_tokens, read_letters
from models.chat.protocol import ChatRequest

log = logging.getLogger(__name__)
Inputs = dict[str, Any]


class VLM:
    """A `ChatModel` on a model and its processor."""

    def __init__(self, model: str, adapter: Path | None, config: VLMConfig, *, name: str) -> None:
        """Loads the model, and an adapter merged into it; nothing is downloaded when `model` is a folder.

        Raises:
            UserError: If it cannot be loaded, has no chat template, or its remote code is not pinned.
        """
        if config.trust_remote_code and not config.revision:
            raise UserError(f"trust_remote_code=true for {model} needs a pinned revision=<commit>.")
        options = {"revision": config.revision, "trust_remote_code": config.trust_remote_code}
        try:
            self.processor: Any = AutoProcessor.from_pretrained(model, **options)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                model, dtype=getattr(torch, config.torch_dtype), **options
            )
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"Cannot load {model}: {reason} Fix mllm=, or use backend=swift.") from error
        if not getattr(self.processor, "chat_template", None):
            raise UserError(f"{model} has no chat template. Use backend=swift, which brings its own.")
        if adapter is not None:
            from peft import PeftModel  # slow to import, and not needed for a base

            loaded = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()
        self.model = loaded.to(config.device).eval()
        say_penalty(model, self.model.generation_config)
        self.name, self.batch_size = name, config.batch_size
        self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests (greedy)."""
        replies = []
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            inputs = self.encode(batch)
            limit = max(request.max_tokens for request in batch)
            output = self.model.generate(**inputs, max_new_tokens=limit, do_sample=False, repetition_penalty=NO_PENALTY)
            new = output[:, inputs["input_ids"].shape[1] :]
            replies += self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [strip_thinking(reply) for reply in replies]

    def render(self, request: ChatRequest) -> str:
        """The prompt as text, with one placeholder an image."""
        content = [
            {"type": "image"} if isinstance(part, Path) else {"type": "text", "text": part} for part in request.parts
        ]
        return self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    def encode(self, requests: Sequence[ChatRequest]) -> Inputs:
        """What the model takes, images included; padded on the left."""
        images = [[load_image(path) for path in request.images] for request in requests]
        return dict(
            self.processor(
                text=[self.render(request) for request in requests],
                images=images,
                padding=True,
                return_tensors="pt",
                add_special_tokens=False,
            ).to(self.model.device)
        )


class ReuseScorer:
    """An `OptionScorer`: the image and what precedes it run once, each question continues from a copy of that cache.

    Whether a model allows this is tried on the first image: if a question that continues from the cache does not get
    the logits of the whole prompt, every question runs whole, and that is said.
    """

    def __init__(self, vlm: VLM, *, tolerance: float = 0.05) -> None:
        """Finds the letters' tokens; the first scored image tells whether its cache can be used.

        Args:
            vlm: The model.
            tolerance: Largest difference of a letter's logit in the trial (bfloat16 rounds).
        """
        self.vlm, self.name, self.tolerance = vlm, vlm.name, tolerance
        self.letters = letter_tokens(vlm.processor.tokenizer)
        self.reuses: bool | None = None

    @torch.inference_mode()
    def score(self, requests: Sequence[ChatRequest], counts: Sequence[int]) -> list[list[float]]:
        """Scores the letters of each question; see `OptionScorer`."""
        scores: list[list[float]] = []
        for group in group_by_image(requests):
            batch = [requests[index] for index in group]
            if self.reuses is None and len(batch) > 1:
                self.reuses = self._try(batch)
            rows = self._continue(batch) if self.reuses and len(batch) > 1 else None
            rows = rows if rows is not None else [self._whole(request) for request in batch]
            scores += [read_letters(row, self.letters, counts[index]) for row, index in zip(rows, group, strict=True)]
        return scores

    def _whole(self, request: ChatRequest) -> Tensor:
        """Logits after one prompt, (V,)."""
        return self.vlm.model(**self.vlm.encode([request])).logits[0, -1]

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
        found, expected = rows[-1][tokens], self._whole(batch[-1])[tokens]
        difference = float((found - expected).abs().max())
        if difference > self.tolerance:
            log.warning("%s: logits from a cache differ by %.2g: each question runs whole.", self.name, difference)
            return False
        return True

    def _continue(self, batch: Sequence[ChatRequest]) -> list[Tensor] | None:
        """Logits after each prompt, (V,) each; None when the questions' tokens cannot be split after the image."""
        whole = self.vlm.encode(batch[:1])
        rows = self._tokens(batch, whole["input_ids"][0].tolist())
        if rows is None:
            return None
        shared = min(common_length(rows), *(len(row) - 1 for row in rows))
        length = len(rows[0])
        head = {
            name: value[:, :shared] if isinstance(value, Tensor) and value.shape[:2] == (1, length) else value
            for name, value in whole.items()
        }
        cache = self.vlm.model(**head, use_cache=True).past_key_values
        found = []
        for row in rows:
            tail = torch.tensor([row[shared:]], device=self.vlm.model.device)
            seen = torch.ones(1, len(row), dtype=torch.long, device=tail.device)
            output = self.vlm.model(input_ids=tail, attention_mask=seen, past_key_values=copy.deepcopy(cache))
            found.append(output.logits[0, -1])
        return found

    def _tokens(self, batch: Sequence[ChatRequest], first: list[int]) -> list[list[int]] | None:
        """Token ids of each prompt, images expanded, from those of the first without opening the images again."""
        texts = [self.vlm.render(request) for request in batch]
        plain = self.vlm.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        start = common_length(plain)
        tail = len(plain[0]) - start  # of the first prompt, after what the unexpanded prompts share
        if tail <= 0 or first[-tail:] != plain[0][start:]:
            return None
        if self._image_token() in {token for row in plain for token in row[start:]}:
            return None
        return [first[:-tail] + row[start:] for row in plain]

    def _image_token(self) -> int | None:
        config = self.vlm.model.config
        return getattr(config, "image_token_id", getattr(config, "image_token_index", None))

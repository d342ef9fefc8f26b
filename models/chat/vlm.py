"""Any vision-language model of transformers that comes with a processor and a chat template, in this process.

`models.chat.local` is faster where it applies (MiniCPM-V 4.6 with one tile an image).

Shape legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from data.errors import UserError
from data.sample import load_image
from models.chat.answers import strip_thinking
from models.chat.config import GREEDY, say_penalty
from models.chat.memory import ImageMemory
from models.chat.protocol import ChatRequest
from models.device import Placement
from models.weights.trust import Admitted
from models.weights.versions import check_architecture

Inputs = dict[str, Any]


class VLM:
    """A `ChatModel` on a model and its processor."""

    def __init__(
        self, admitted: Admitted, adapter: Path | None, placement: Placement, *, name: str, batch_size: int = 8
    ) -> None:
        """Loads the model, and an adapter merged into it; nothing is downloaded.

        Raises:
            UserError: If it cannot be loaded, or has no chat template.
        """
        check_architecture(admitted.place)
        model = str(admitted.place)
        options: dict[str, Any] = {"trust_remote_code": admitted.trust_remote_code, "local_files_only": True}
        try:
            self.processor: Any = AutoProcessor.from_pretrained(model, **options)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                model, dtype=placement.dtype, use_safetensors=True, **options
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"Cannot load {model}: {reason} Fix mllm=, or use backend=swift.") from error
        if not getattr(self.processor, "chat_template", None):
            raise UserError(f"{model} has no chat template. Use backend=swift, which brings its own.")
        if adapter is not None:
            from peft import PeftModel  # slow to import, and not needed for a base

            loaded = PeftModel.from_pretrained(loaded, str(adapter)).merge_and_unload()
        self.model = placement.place(loaded).eval()
        say_penalty(model, self.model.generation_config)
        self.memory = ImageMemory(self.model)
        self.name, self.batch_size = name, batch_size
        self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token

    @torch.inference_mode()
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests (greedy)."""
        marks = self.tokenizer.convert_ids_to_tokens(sorted(self.image_tokens))
        for request in requests:
            request.refuse(marks)
        replies = []
        for start in range(0, len(requests), self.batch_size):
            batch = requests[start : start + self.batch_size]
            inputs = self.encode(batch)
            limit = max(request.max_tokens for request in batch)
            with self.memory.lent([path for request in batch for path in request.images]):
                output = self.model.generate(**inputs, max_new_tokens=limit, **GREEDY)
            new = output[:, inputs["input_ids"].shape[1] :]
            replies += self.processor.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [strip_thinking(reply) for reply in replies]

    def render(self, request: ChatRequest) -> str:
        """The prompt as text, with one placeholder an image."""
        return self.processor.apply_chat_template(request.mark(), tokenize=False, add_generation_prompt=True)

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

    def encode_first(self, request: ChatRequest) -> tuple[Inputs, list[int]]:
        """What the model takes for one prompt, and its token ids, images expanded."""
        inputs = self.encode([request])
        return inputs, inputs["input_ids"][0].tolist()

    def encode_plain(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Token ids of each prompt without opening its images."""
        return self.tokenizer([self.render(request) for request in requests], add_special_tokens=False)["input_ids"]

    def predict_next(self, requests: Sequence[ChatRequest]) -> list[Tensor]:
        """Logits after each whole prompt, (V,) each."""
        return [self.model(**self.encode([request])).logits[0, -1] for request in requests]

    @property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    @property
    def image_tokens(self) -> set[int]:
        """Ids that stand for images."""
        config = self.model.config
        found = (getattr(config, name, None) for name in ("image_token_id", "image_token_index"))
        return {token for token in found if token is not None}

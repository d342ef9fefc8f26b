"""Chat through ms-swift's engine: any model it supports, with its own template, slicing included."""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from data.errors import UserError
from data.image_size import read_header
from data.sample import load_image
from models.chat.answers import strip_thinking
from models.chat.config import GREEDY, say_penalty
from models.chat.minicpmv26 import check_positions, mended
from models.chat.protocol import ChatRequest
from models.weights.trust import Admitted
from models.weights.versions import check_architecture


def import_swift() -> None:
    """Imports ms-swift with its chatter kept to errors; by itself it turns our own log down, too."""
    levels = [(handler, handler.level) for handler in logging.getLogger().handlers]
    from swift import get_logger  # slow to import

    get_logger().setLevel(logging.ERROR)
    for handler, level in levels:
        handler.setLevel(level)


def check_swift(place: Path, model_type: str, template: str) -> None:
    """Refuses a checkpoint that the installed transformers or ms-swift does not know.

    Args:
        place: Its folder.
        model_type: ms-swift's model type.
        template: ms-swift's template.

    Raises:
        UserError: Naming the version and what it does not know.
    """
    check_architecture(place)
    import swift
    from swift.model import MODEL_MAPPING
    from swift.template import TEMPLATE_MAPPING

    for name, value, known in (("model_type", model_type, MODEL_MAPPING), ("template", template, TEMPLATE_MAPPING)):
        if value not in known:
            near = ", ".join(difflib.get_close_matches(value, list(known))) or "none"
            raise UserError(
                f"The installed ms-swift {swift.__version__} knows no {name}={value}; similar: {near}. "
                "Correct it, or install the version that knows it."
            )


@contextlib.contextmanager
def remote_code(trusted: bool) -> Iterator[None]:
    """Within the block ms-swift runs the code that comes with weights only if `trusted`, and fetches none.

    Its own default is to run it. For some model types it also clones a repository of code, which no pin holds.
    """
    from swift.model.register import ModelLoader  # slow to import
    from swift.utils import hub_utils

    before = ModelLoader.default_trust_remote_code, hub_utils.subprocess_run
    ModelLoader.default_trust_remote_code, hub_utils.subprocess_run = trusted, _refuse_to_clone
    try:
        yield
    finally:
        ModelLoader.default_trust_remote_code, hub_utils.subprocess_run = before


def _refuse_to_clone(command: Sequence[str], *args: Any, **kwargs: Any) -> None:
    raise UserError(
        f"ms-swift would run '{' '.join(command)}' for this model_type, and then the code that it gets, which nothing "
        "pins. Choose a model that transformers knows, or that brings its code with its weights."
    )


@dataclass(kw_only=True, slots=True)
class SwiftChatConfig:
    """How ms-swift loads the model.

    Attributes:
        model: What may be loaded.
        model_type: ms-swift's model type.
        template: ms-swift's template.
        torch_dtype: `bfloat16`, `float16` or `float32`.
        attn_impl: Attention implementation.
        device_map: `cpu`, `auto` …
        batch_size: Questions a batch.
    """

    model: Admitted
    model_type: str
    template: str
    torch_dtype: str = "bfloat16"
    attn_impl: str = "sdpa"
    device_map: str = "auto"
    batch_size: int = 16


class SwiftChat:
    """A `ChatModel` on ms-swift's `TransformersEngine`."""

    def __init__(self, config: SwiftChatConfig, adapter: Path | None, *, name: str) -> None:
        """Loads the model; nothing is downloaded.

        Raises:
            UserError: If transformers or ms-swift does not know it.
        """
        import_swift()
        check_swift(config.model.place, config.model_type, config.template)
        from swift import TransformersEngine

        self.name, self.batch_size = name, config.batch_size
        trusted = config.model.trust_remote_code
        with contextlib.redirect_stdout(None), remote_code(trusted), mended(config.model.place, trusted=trusted):
            self.engine = TransformersEngine(
                str(config.model.place),
                adapters=[str(adapter)] if adapter is not None else [],
                model_type=config.model_type,
                template_type=config.template,
                torch_dtype=getattr(torch, config.torch_dtype),
                attn_impl=config.attn_impl,
                device_map=config.device_map,
                max_batch_size=config.batch_size,
            )
        check_positions(self.engine.model)
        say_penalty(str(config.model.place), self.engine.generation_config)

    @property
    def model(self) -> Any:
        """The loaded model, adapter included."""
        return self.engine.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self.engine.tokenizer

    @property
    def image_tokens(self) -> set[int]:
        """Ids that stand for images."""
        return {token for token in self.engine.template.placeholder_tokens if isinstance(token, int)}

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests: greedy, without the checkpoint's own penalty for repeated tokens."""
        from swift import RequestConfig

        marks = self.tokenizer.convert_ids_to_tokens(sorted(self.image_tokens))
        for request in requests:
            request.refuse(marks)
        replies = [""] * len(requests)
        for limit in sorted({request.max_tokens for request in requests}):
            chosen = [index for index, request in enumerate(requests) if request.max_tokens == limit]
            asked = [_ask(requests[index]) for index in chosen]
            settings = RequestConfig(max_tokens=limit, temperature=0, repetition_penalty=GREEDY["repetition_penalty"])
            responses = self.engine.infer(asked, settings, use_tqdm=False)
            for index, response in zip(chosen, responses, strict=True):
                replies[index] = strip_thinking(response.choices[0].message.content)
        return replies

    def encode_first(self, request: ChatRequest) -> tuple[dict[str, Any], list[int]]:
        """What the model takes for one prompt, and its token ids, images expanded; see `models.chat.reuse`."""
        encoded = self._encode([_ask(request)])
        return self._collate(encoded), list(encoded[0]["input_ids"])

    def encode_plain(self, requests: Sequence[ChatRequest]) -> list[list[int]]:
        """Token ids of each prompt as if it had no images."""
        return [list(row["input_ids"]) for row in self._encode([_ask(request, images=False) for request in requests])]

    @torch.inference_mode()
    def predict_next(self, requests: Sequence[ChatRequest]) -> Sequence[Tensor]:
        """Logits after each whole prompt, (B, V): those of the model's own first step, padding included."""
        from transformers import GenerationConfig

        tokenizer = self.tokenizer
        settings = GenerationConfig(
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        inputs = self._collate(self._encode([_ask(request) for request in requests]))
        output = self.engine.template.generate(self.model, generation_config=settings, **inputs)
        return output.logits[0]

    def _encode(self, asked: Sequence[Any]) -> list[dict[str, Any]]:
        """Each prompt by the model's own template; on the CPU."""
        template = self.engine.template
        template.set_mode("transformers")
        if template.use_model:
            template.model = self.model
        return [template.encode(one) for one in asked]

    def _collate(self, encoded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One batch, padded on the left, on the model's device; images embedded where the template does that."""
        from swift.utils import to_device

        self.model.eval()
        template = self.engine.template
        inputs = to_device(template.data_collator(list(encoded)), self.model.device)
        inputs = template.pre_forward_hook(self.model, None, inputs)[1]
        return {name: value for name, value in inputs.items() if name != "labels"}


def _ask(request: ChatRequest, *, images: bool = True) -> Any:
    """The conversation in ms-swift's spelling: a tag for each image, a line for each text before the last of a turn."""
    from swift import InferRequest

    tag = "<image>" if images else ""
    messages = []
    for role, (*before, text) in request.messages:
        head = "".join(tag if isinstance(part, Path) else f"{part}\n" for part in before)
        messages.append({"role": role, "content": f"{head}{text}"})
    return InferRequest(messages=messages, images=[_picture(path) for path in request.images] if images else [])


def _picture(path: Path) -> str | Image.Image:
    """A picture as ms-swift takes it: by its path where it would see the same as the project, else decoded."""
    return str(path) if read_header(path).is_plain else Image.fromarray(load_image(path))

"""Chat through ms-swift's engine: any model it supports, with its own template, slicing included."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from data.errors import UserError
from models.chat.answers import strip_thinking
from models.chat.decoding import NO_PENALTY, say_penalty
from models.chat.minicpmv26 import check_positions, mended
from models.chat.protocol import ChatRequest

log = logging.getLogger(__name__)


def import_swift() -> None:
    """Imports ms-swift with its chatter kept to errors; by itself it turns our own log down, too."""
    levels = [(handler, handler.level) for handler in logging.getLogger().handlers]
    from swift import get_logger  # slow to import

    get_logger().setLevel(logging.ERROR)
    for handler, level in levels:
        handler.setLevel(level)


@contextlib.contextmanager
def remote_code(trusted: bool) -> Iterator[None]:
    """Within the block ms-swift runs the code that comes with weights only if `trusted`; its own default is to."""
    from swift.model.register import ModelLoader  # slow to import

    before = ModelLoader.default_trust_remote_code
    ModelLoader.default_trust_remote_code = trusted
    try:
        yield
    finally:
        ModelLoader.default_trust_remote_code = before


@dataclass(kw_only=True, slots=True)
class SwiftChatConfig:
    """How ms-swift loads the model.

    Attributes:
        model: Hub id or checkpoint folder.
        model_type: ms-swift's model type.
        template: ms-swift's template.
        revision: Pinned revision; needed with remote code.
        trust_remote_code: Run the code that comes with the weights (MiniCPM-V 2.6 needs it).
        torch_dtype: `bfloat16`, `float16` or `float32`.
        attn_impl: Attention implementation.
        device_map: `cpu`, `auto` …
        batch_size: Questions a batch.
    """

    model: str
    model_type: str
    template: str
    revision: str | None = None
    trust_remote_code: bool = False
    torch_dtype: str = "bfloat16"
    attn_impl: str = "sdpa"
    device_map: str = "auto"
    batch_size: int = 16


class SwiftChat:
    """A `ChatModel` on ms-swift's `TransformersEngine`."""

    def __init__(self, config: SwiftChatConfig, adapter: Path | None, *, name: str) -> None:
        """Loads the model; nothing is downloaded when `config.model` is a folder.

        Raises:
            UserError: If remote code is trusted without a pinned revision.
        """
        if config.trust_remote_code and not config.revision:
            raise UserError(f"trust_remote_code=true for {config.model} needs a pinned revision=<commit>.")
        import_swift()
        from swift import TransformersEngine

        self.name = name
        with (
            contextlib.redirect_stdout(None),
            remote_code(config.trust_remote_code),
            mended(config.model, trusted=config.trust_remote_code),
        ):
            self.engine = TransformersEngine(
                config.model,
                adapters=[str(adapter)] if adapter is not None else [],
                model_type=config.model_type,
                template_type=config.template,
                revision=config.revision,
                torch_dtype=getattr(torch, config.torch_dtype),
                attn_impl=config.attn_impl,
                device_map=config.device_map,
                max_batch_size=config.batch_size,
            )
        check_positions(self.engine.model)
        say_penalty(config.model, self.engine.generation_config)

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Replies in the order of the requests: greedy, without the checkpoint's own penalty for repeated tokens."""
        from swift import InferRequest, RequestConfig

        replies = [""] * len(requests)
        for limit in sorted({request.max_tokens for request in requests}):
            chosen = [index for index, request in enumerate(requests) if request.max_tokens == limit]
            asked = [
                InferRequest(
                    messages=[{"role": "user", "content": _content(requests[index])}],
                    images=[str(path) for path in requests[index].images],
                )
                for index in chosen
            ]
            settings = RequestConfig(max_tokens=limit, temperature=0, repetition_penalty=NO_PENALTY)
            responses = self.engine.infer(asked, settings, use_tqdm=False)
            for index, response in zip(chosen, responses, strict=True):
                replies[index] = strip_thinking(response.choices[0].message.content)
        return replies


def _content(request: ChatRequest) -> str:
    """The turn in ms-swift's spelling: a tag in the place of each image, a line for each text before the last."""
    before = "".join("<image>" if isinstance(part, Path) else f"{part}\n" for part in request.before)
    return f"{before}<image>{request.prompt}"

"""How a chat model is run: by which back end, on which device, with which weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from models.chat.api import ApiConfig


class Backend(StrEnum):
    """What runs a model: this process, ms-swift's engine, or an OpenAI-compatible server."""

    transformers = "transformers"
    swift = "swift"
    api = "api"


@dataclass(kw_only=True, slots=True)
class VLMConfig:
    """How a model of transformers is loaded.

    Attributes:
        device: `cpu`, `cuda` …
        torch_dtype: `bfloat16`, `float16` or `float32`.
        revision: Pinned revision of a hub model; with code of its own the pin of that code, of a folder, too.
        batch_size: Questions a batch in `mode=generate`.
    """

    device: str = "cpu"
    torch_dtype: str = "float32"
    revision: str | None = None
    batch_size: int = 8


@dataclass(kw_only=True, slots=True)
class SwiftNames:
    """What ms-swift must be told beside `VLMConfig`.

    Attributes:
        model_type: ms-swift's model type.
        template: ms-swift's template.
    """

    model_type: str = ""
    template: str = ""


@dataclass(kw_only=True, slots=True)
class ChatConfig:
    """How a model is run.

    Attributes:
        backend: What runs it.
        adapter: PEFT folder to put on it; empty is none.
        local: For `transformers` and `swift`.
        swift: For `swift`.
        api: For `api`.
    """

    backend: Backend = Backend.transformers
    adapter: str = ""
    local: VLMConfig = field(default_factory=VLMConfig)
    swift: SwiftNames = field(default_factory=SwiftNames)
    api: ApiConfig = field(default_factory=ApiConfig)

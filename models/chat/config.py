"""How a chat model is run: by which back end, on which device, with which weights, and how it decodes.

Always greedily, as evaluation needs it: the likeliest token, whatever the checkpoint adds to its logits.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from data.errors import UserError, suggest
from data.plugins.trust import is_plugin
from models.device import DeviceConfig

log = logging.getLogger(__name__)
NO_PENALTY = 1.0  # of repeated tokens
# As transformers spells it. The keys of stored replies hold it: another way of decoding asks again.
GREEDY = {"do_sample": False, "repetition_penalty": NO_PENALTY}


class Backend(StrEnum):
    """What runs a model: this process, ms-swift's engine, an OpenAI-compatible server, or code of the user's own."""

    transformers = "transformers"
    swift = "swift"
    api = "api"
    own = "package.module:Class"


def parse_backend(name: str) -> Backend:
    """The back end of a name; of `package.module:Class`, `own`.

    Raises:
        UserError: If there is none.
    """
    if name in list(Backend) or is_plugin(name):
        return Backend(name) if name in list(Backend) else Backend.own
    raise UserError(f"Unknown backend '{name}'.{suggest(name, Backend)} Known back ends: {', '.join(Backend)}.")


@dataclass(kw_only=True, slots=True)
class VLMConfig(DeviceConfig):
    """How a model of transformers is loaded; where and in which number format as `DeviceConfig` says.

    Attributes:
        revision: Pinned revision of a hub model; with code of its own the pin of that code, of a folder, too.
        batch_size: Questions a batch in `mode=generate`.
    """

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
class ApiConfig:
    """The server and how hard it is pressed.

    Attributes:
        base_url: Its address, as `http://127.0.0.1:8000/v1`; empty is OpenAI's own. A user, a password and a query in
            it are sent, and told nowhere.
        key_variable: Environment variable that holds the key.
        concurrency: Requests under way at once.
        requests_per_minute: Upper bound on new requests; 0 is none.
        timeout: Seconds a request may take, from the look-up of the address to the last byte.
        retries: Further attempts after a failed one.
        backoff: Seconds before the first retry; doubles with each.
        longest_wait: Upper bound on the seconds before a retry.
        give_up_after: Questions failed in a row after which the run stops.
        max_side: Images whose longer side is above this are reduced; 0 sends the file as it is, but turned where its
            orientation tag says so, and with 8 bits.
    """

    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 8
    requests_per_minute: int = 0
    timeout: float = 60.0
    retries: int = 5
    backoff: float = 1.0
    longest_wait: float = 60.0
    give_up_after: int = 20
    max_side: int = 0


def public_url(url: str) -> str:
    """An address as it may be told: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable)"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@dataclass(kw_only=True, slots=True)
class ChatConfig:
    """How a model is run.

    Attributes:
        backend: Name of the back end that runs it.
        adapter: PEFT folder to put on it; empty is none.
        local: For `transformers` and `swift`.
        swift: For `swift`.
        api: For `api`.
        options: Arguments of a back end of your own, by name.
    """

    backend: str = "transformers"
    adapter: str = ""
    local: VLMConfig = field(default_factory=VLMConfig)
    swift: SwiftNames = field(default_factory=SwiftNames)
    api: ApiConfig = field(default_factory=ApiConfig)
    options: dict[str, Any] = field(default_factory=dict)


def say_penalty(model: str, generation: Any) -> None:
    """Says that a checkpoint's own `repetition_penalty` is left out.

    It makes tokens that the prompt or the reply already holds less likely: digits of a box, the letter of an
    option. MiniCPM-V 2.6 comes with 1.05.

    Args:
        model: Names the model.
        generation: Its generation config; None where it has none.
    """
    own = getattr(generation, "repetition_penalty", None)
    if own is not None and own != NO_PENALTY:
        log.info("%s: repetition_penalty is set to %g instead of the checkpoint's own %g", model, NO_PENALTY, own)

"""From a name to a chat model: a local EDDM's peers, by back end."""

from __future__ import annotations

import json
from pathlib import Path

from data.errors import UserError
from data.files import hash_file
from models.chat.api import ApiChat
from models.chat.config import Backend, ChatConfig, parse_backend
from models.chat.own import OwnChat, OwnScorer
from models.chat.protocol import ChatModel, OptionScorer
from models.device import CPU
from models.weights.shards import name_weights
from models.weights.trust import admit


def load_chat(model: str, config: ChatConfig, *, trust_remote_code: bool = False) -> ChatModel:
    """Loads a model.

    Args:
        model: Checkpoint folder, hub id in the cache, or the server's name of it.
        config: How to run it.
        trust_remote_code: Whether the user's command line allows code that comes with the weights.

    Raises:
        UserError: If it cannot be loaded, or runs code that is not allowed or not pinned.
    """
    backend = parse_backend(config.backend)
    if config.options and backend is not Backend.own:
        raise UserError(f"options= are those of a back end of your own, not of backend={backend}. Leave them out.")
    if backend is Backend.own:
        if config.adapter:
            raise UserError("A back end of your own takes adapters by options.NAME=, not by adapter=.")
        return OwnChat(config.backend, model, config.options, config.local.device)
    if backend is Backend.api:
        if config.adapter:
            raise UserError("backend=api takes no adapter=. Serve the adapter and give its name as mllm=.")
        return ApiChat(model, config.api)
    adapter = Path(config.adapter) if config.adapter else None
    if adapter is not None and not (adapter / "adapter_model.safetensors").is_file():
        raise UserError(f"No adapter at {adapter}: adapter_model.safetensors is missing. Fix adapter=.")
    weights = f"+{hash_file(adapter / 'adapter_model.safetensors')[:16]}" if adapter else ""
    if backend is Backend.swift and not (config.swift.model_type and config.swift.template):
        raise UserError("backend=swift needs swift.model_type= and swift.template=, as ms-swift names them.")
    admitted = admit(model, revision=config.local.revision, trusted=trust_remote_code, pin="local.revision")
    is_hub = not Path(model).expanduser().exists()
    placement = config.local.place()
    if placement.number != "float32":  # answers may differ
        weights += f"+{placement.number}"
    name = (f"{model}@{admitted.revision}" if is_hub else name_weights(admitted.place)) + weights
    if backend is Backend.swift:
        from models.chat.swift import SwiftChat, SwiftChatConfig  # slow to import

        swift = SwiftChatConfig(
            model=admitted,
            model_type=config.swift.model_type,
            template=config.swift.template,
            torch_dtype=placement.number,
            device_map=placement.where,
            batch_size=config.local.batch_size,
        )
        return SwiftChat(swift, adapter, name=name)
    if _is_single_tile(admitted.place) and placement == CPU:
        from models.chat.local import TransformersChat

        return TransformersChat(admitted.place, adapter, name=name, batch_size=config.local.batch_size)
    from models.chat.vlm import VLM

    return VLM(admitted, adapter, placement, name=name, batch_size=config.local.batch_size)


def load_scorer(chat: ChatModel) -> OptionScorer:
    """The fastest way to score option letters with a loaded model.

    Raises:
        UserError: If its back end does not show the logits.
    """
    from models.chat.letters import PackedScorer
    from models.chat.local import TransformersChat  # slow to import
    from models.chat.reuse import ReuseScorer
    from models.chat.swift import SwiftChat
    from models.chat.vlm import VLM

    if isinstance(chat, OwnChat):
        return OwnScorer(chat)
    if isinstance(chat, TransformersChat):
        return PackedScorer(chat)
    if isinstance(chat, VLM | SwiftChat):
        return ReuseScorer(chat)
    raise UserError("mode=likelihood needs a model in this process, not a server. Set mode=generate.")


def _is_single_tile(folder: Path) -> bool:
    """Whether `TransformersChat` can run it: MiniCPM-V 4.6 with one tile an image and full attention."""
    try:
        config = json.loads((folder / "config.json").read_text())
        images = [json.loads(path.read_text()) for path in sorted(folder.glob("*processor_config.json"))]
    except (OSError, json.JSONDecodeError):
        return False
    slices = [part.get("slice_mode") for one in images for part in (one, one.get("image_processor", {}))]
    kinds = config.get("text_config", {}).get("layer_types") or ["full_attention"]
    return config.get("model_type") == "minicpmv4_6" and False in slices and set(kinds) == {"full_attention"}

"""Models without weights, on the meta device: their parameters and sizes, from config classes, without a hub.

MiniCPM-V 2.6 brings its own classes, which are not run here: the same sizes are put together from transformers' SigLIP
and Qwen2 and a resampler of its dimensions (64 queries that attend to the patches), under its own module names. What a
step of it needs is measured on this stand-in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    Qwen2Config,
    Qwen2ForCausalLM,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from data.errors import UserError
from data.files import read_json
from models.mdlm.sam import Sam, SamConfig
from models.weights.table import checkpoints, find_checkpoint
from models.weights.trust import KERNEL

REMOTE = "minicpmv"  # model_type of MiniCPM-V 2.6


def architecture(place: str) -> dict[str, Any]:
    """The architecture of a checkpoint as `config.json` says it: its own where it is a folder, else the table's.

    Args:
        place: A folder, or a hub id of the table.

    Raises:
        UserError: If it is neither.
    """
    path = Path(place) / "config.json"
    if path.is_file():
        values: dict[str, Any] = read_json(path)
        if "auto_map" in values:  # remote code is not run to read a few numbers
            return values
        return AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False).to_dict()
    entry = find_checkpoint(place)
    if entry is None or not entry.config:
        known = ", ".join(item.hub for item in checkpoints().values() if item.hub)
        raise UserError(f"The sizes of '{place}' are not known here. Give its downloaded folder, or one of: {known}.")
    return entry.config


def build_llava_shape(values: dict[str, Any]) -> LlavaNextForConditionalGeneration:
    """LLaVA-NeXT on the meta device."""
    if values.get("model_type") != "llava_next":
        raise UserError(f"model_type '{values.get('model_type')}' is not LLaVA-NeXT. Check mdlm.llava.path.")
    with torch.device("meta"):
        return LlavaNextForConditionalGeneration(LlavaNextConfig(**_without_type(values)))


def build_sam_shape(config: SamConfig) -> Sam:
    """SAM on the meta device."""
    with torch.device("meta"):
        return Sam(config)


def build_chat_shape(values: dict[str, Any]) -> nn.Module:
    """The EDDM's model on the meta device: `MiniCPMVShape` for 2.6, transformers' own class for 4.6."""
    kind = values.get("model_type")
    with torch.device("meta"):
        if kind == REMOTE:
            try:
                return MiniCPMVShape(values)
            except KeyError as error:
                raise UserError(f"MiniCPM-V 2.6's config.json names no {error}. Download it again.") from error
        if kind == "minicpmv4_6":
            config_class: Any = MiniCPMV4_6Config
            return MiniCPMV4_6ForConditionalGeneration(config_class(**_without_type(values)))
    raise UserError(f"model_type '{kind}' cannot be planned. Known: {REMOTE} (MiniCPM-V 2.6), minicpmv4_6.")


class MiniCPMVShape(nn.Module):
    """MiniCPM-V 2.6's parts in its sizes: `llm` (Qwen2), `vpm` (SigLIP) and `resampler`, joined as it joins them."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__()
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        text = {name: values[name] for name in (*names, "num_key_value_heads", "vocab_size")}
        vision = {name: values["vision_config"][name] for name in (*names, "image_size", "patch_size")}
        vision_class: Any = SiglipVisionConfig
        self.config = values
        self.llm = Qwen2ForCausalLM(Qwen2Config(**text, tie_word_embeddings=False))
        self.vpm = SiglipVisionModel(vision_class(**vision, vision_use_head=False))
        self.resampler = _Resampler(values["query_num"], values["hidden_size"], vision["hidden_size"])

    def look(self, pixel_values: Tensor) -> Tensor:
        """Tokens of tiles: (T, 3, H, W) → (T, queries, width)."""
        return self.resampler(self.vpm(pixel_values, interpolate_pos_encoding=True).last_hidden_state)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, images: Tensor) -> Any:
        """The language loss of rows (B, L) that start with the tokens of their images, (B · tokens, width)."""
        images = images.reshape(len(input_ids), -1, self.config["hidden_size"])
        words: Any = self.llm.get_input_embeddings()(input_ids[:, images.shape[1] :])
        embeds = torch.cat([images.to(words.dtype), words], 1)
        return self.llm(inputs_embeds=embeds, attention_mask=attention_mask, labels=labels, use_cache=False)

    def gradient_checkpointing_enable(self, settings: dict[str, Any]) -> None:
        """Recomputes the language model's layers in the backward pass."""
        self.llm.gradient_checkpointing_enable(settings)


class _Resampler(nn.Module):
    """Queries that read a tile's patches: (T, P, vision width) → (T, queries, width)."""

    def __init__(self, queries: int, width: int, vision_width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, width))
        self.kv_proj = nn.Linear(vision_width, width, bias=False)
        self.attn = nn.MultiheadAttention(width, width // 128)
        self.ln_q, self.ln_kv, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.empty(width, width))

    def forward(self, patches: Tensor) -> Tensor:
        seen = self.ln_kv(self.kv_proj(patches)).transpose(0, 1)
        queries = self.ln_q(self.query)[:, None].expand(-1, len(patches), -1)
        read, _ = self.attn(queries, seen, seen, need_weights=False)
        return self.ln_post(read.transpose(0, 1)) @ self.proj


def _without_type(values: dict[str, Any]) -> dict[str, Any]:
    """A copy without the keys that transformers' config classes set themselves, and without any attention kernel."""
    kept = {key: value for key, value in values.items() if key not in ("model_type", "transformers_version")}
    return _without_kernels(kept)


def _without_kernels(values: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if not KERNEL.fullmatch(str(key))}
    return {key: _without_kernels(value) if isinstance(value, dict) else value for key, value in kept.items()}

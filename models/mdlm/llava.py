"""LLaVA-NeXT as a prompt encoder: image and text in, last-layer states and the state at [SEG] out.

Shapes: I images, N prompts in B conversations, L tokens, D language width, V the vision tower's input side, P tokens
per image, T tiles per image.

One base tile per image (P = 576 for LLaVA-v1.6) unless `image_tiles` says anyres, which costs up to 2928 tokens; SAM
sees the image at full resolution anyway. The paper's loss has no language term, so `lm_head` is never evaluated: [SEG]
is appended by the template and its state is read "at [SEG]" (LISA generates the token, and reads one before it). A
conversation may hold several prompts, each with its own [SEG].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration, PreTrainedTokenizerBase

from data.errors import UserError
from data.files import read_json
from models.mdlm.places import Places, find_places
from models.mdlm.preprocess import normalise_for_tower
from models.quantize import Precision, QuantizeConfig, keep_trainable_on_cpu, loading_options
from models.weights.shards import list_shards
from models.weights.trust import admit

SEG_TOKEN = "[SEG]"
IMAGE_TOKEN = "<image>"
TEMPLATE = "USER: {image}\n{prompt} ASSISTANT: {seg}"


class Attention(StrEnum):
    """Kernel of the attention layers; `flash_attention_2` needs the flash-attn package and a GPU."""

    eager = "eager"
    sdpa = "sdpa"
    flash_attention_2 = "flash_attention_2"


class ImageTiles(StrEnum):
    """What the language model sees of an image: one overview, or LLaVA-NeXT's overview and tiles."""

    base = "base"
    anyres = "anyres"


class Conversations(StrEnum):
    """Several prompts of one image: a conversation each, or the turns of a joint one, which is cheaper.

    In a joint conversation a later turn can read the earlier ones.
    """

    separate = "separate"
    joint = "joint"


@dataclass(kw_only=True, slots=True)
class LlavaConfig:
    """Where LLaVA comes from and how it is asked.

    Attributes:
        path: Hub id, or a directory in the same format.
        revision: Commit of the hub repository; None takes its main branch.
        precision: Number format of the frozen weights.
        template: Chat format; `{image}` becomes the image tokens, `{prompt}` the text, `{seg}` the [SEG] token.
        turn: Format of each further turn of a joint conversation.
        conversations: What happens to several prompts of one image.
        image_tiles: What is seen of an image.
        attention: Kernel of the attention layers.
        quantize: 4-bit weights (QLoRA); None keeps `precision`.
    """

    path: str
    revision: str | None = None
    precision: Precision = Precision.float32
    template: str = TEMPLATE
    turn: str = "</s>USER: {prompt} ASSISTANT: {seg}"
    conversations: Conversations = Conversations.separate
    image_tiles: ImageTiles = ImageTiles.base
    attention: Attention = Attention.sdpa
    quantize: QuantizeConfig | None = None


@dataclass(frozen=True, slots=True)
class PromptStates:
    """What the language model says about N prompts.

    Attributes:
        seg: State at each [SEG], (N, D).
        text: States of all tokens of its conversation, (N, L, D).
        text_mask: (N, L) bool, True on the tokens of the instruction and the description of its own turn.
    """

    seg: Tensor
    text: Tensor
    text_mask: Tensor


def load_llava(
    config: LlavaConfig, *, device: torch.device | None = None
) -> tuple[LlavaNextForConditionalGeneration, PreTrainedTokenizerBase]:
    """Loads LLaVA and its tokenizer, with [SEG] in both.

    Args:
        config: Which checkpoint, and how.
        device: Where 4-bit weights are made; None takes this process's GPU, or the CPU.

    Raises:
        UserError: If the path is neither a checkpoint directory nor a hub id in the cache; or the checkpoint is of
            another architecture or vocabulary, incomplete, a pickle, or names code of its own.
    """
    path = admit(config.path, revision=config.revision, flag=None).place
    check_llava_folder(path)
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    quantized = loading_options(config.quantize, device) if config.quantize is not None else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        loaded: Any = LlavaNextForConditionalGeneration.from_pretrained(
            path,
            dtype=getattr(torch, config.precision.value),
            attn_implementation=config.attention.value,
            use_safetensors=True,
            output_loading_info=True,
            **options,
            **quantized,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        if "flash" in reason.lower():
            raise UserError(f"{reason} Install flash-attn, or set mdlm.llava.attention=sdpa.") from error
        raise UserError(f"No LLaVA-NeXT checkpoint at '{config.path}': {reason} Set mdlm.llava.path.") from error
    model, report = loaded
    check_loaded(model, tokenizer, report, config.path)
    keep_trainable_on_cpu(model)
    add_seg_token(model, tokenizer)
    return model, tokenizer


def check_llava_folder(folder: Path) -> None:
    """Refuses a directory that cannot be loaded, before gigabytes are read.

    Raises:
        UserError: If it is of another architecture, lacks a shard, or holds pickles.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"No LLaVA-NeXT checkpoint at '{folder}': config.json is missing. Set mdlm.llava.path.")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "llava_next":
        raise UserError(
            f"{folder} holds a model of type '{kind}', not 'llava_next'. Set mdlm.llava.path to a LLaVA-v1.6 "
            "checkpoint in transformers' format, such as llava-hf/llava-v1.6-vicuna-7b-hf."
        )
    list_shards(folder)


def check_loaded(
    model: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, report: Any, path: str
) -> None:
    """Refuses weights that did not fill the model, and a tokenizer that is not the model's own.

    Raises:
        UserError: If weights are missing or left over, or the two vocabularies differ.
    """
    read = getattr(report, "get", lambda key, default: getattr(report, key, default))
    missing, unexpected = (sorted(read(name, None) or []) for name in ("missing_keys", "unexpected_keys"))
    if missing or unexpected:
        raise UserError(
            f"{path} is not a complete LLaVA-NeXT: {len(missing)} weights are missing and {len(unexpected)} unknown, "
            f"{(missing or unexpected)[0]} first. Download it again, or set mdlm.llava.path."
        )
    embeddings: Any = model.get_input_embeddings()
    rows = embeddings.weight.shape[0]
    image_id = tokenizer.get_vocab().get(IMAGE_TOKEN)
    if image_id != model.config.image_token_id:
        raise UserError(
            f"The tokenizer at {path} is not the model's: {IMAGE_TOKEN} is token {image_id} there and token "
            f"{model.config.image_token_id} in the model. Download both from one place."
        )
    known = len(tokenizer) - (SEG_TOKEN in tokenizer.get_vocab())
    if known > rows:
        raise UserError(f"The tokenizer at {path} has {known} tokens, the model {rows}. Download both from one place.")


def add_seg_token(model: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> int:
    """Adds [SEG] to the vocabulary if it is not there, grows the embeddings if they are full, returns its id."""
    if SEG_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"extra_special_tokens": [SEG_TOKEN]})
    seg_id = int(tokenizer.get_vocab()[SEG_TOKEN])
    embeddings: Any = model.get_input_embeddings()
    if seg_id >= embeddings.weight.shape[0]:
        # no mean of the old rows: the [SEG] row is trained, and a published checkpoint has rows to spare anyway
        model.resize_token_embeddings(seg_id + 1, mean_resizing=False)
    return seg_id


class LlavaEncoder(nn.Module):
    """Reads the state at [SEG] and the text states, in one forward pass without generation.

    Attributes:
        model: LLaVA-NeXT, or its PEFT wrapper.
        seg_id: Token id of [SEG].
    """

    def __init__(self, model: nn.Module, seg_id: int) -> None:
        super().__init__()
        self.model = model
        self.seg_id = seg_id

    @property
    def llava(self) -> Any:
        """LLaVA itself, with the adapter's layers in it if there are any."""
        get_base = getattr(self.model, "get_base_model", None)
        return get_base() if get_base else self.model

    @property
    def width(self) -> int:
        """D, the width of the language model."""
        return int(self.llava.config.text_config.hidden_size)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        tiles: Tensor,
        row_image: Tensor,
        tile_sizes: Tensor | None = None,
        places: Places | None = None,
    ) -> PromptStates:
        """Runs B conversations with N prompts over I images.

        Args:
            input_ids: (B, L), each row with the tokens of one image and one [SEG] per prompt; padded on the right.
            attention_mask: (B, L), 0 on the padding.
            tiles: (I, 3, V, V) uint8; with anyres (I, T, 3, V, V) float32, normalised for the vision tower.
            row_image: (B,), the image of each conversation.
            tile_sizes: (I, 2), native sizes of the images, on the CPU; with anyres only.
            places: Where the special tokens are; None looks for them, for which a GPU is waited for.
        """
        core = self.llava.model
        config = self.llava.config
        if places is None:
            ids, mask, images = input_ids.cpu(), attention_mask.cpu(), row_image.cpu()
            places = find_places(ids, mask, images, seg_id=self.seg_id, image_id=config.image_token_id)
            places = places.to(input_ids.device)
        embeds = core.get_input_embeddings()(input_ids)
        seen = torch.cat(self._image_tokens(tiles, row_image, tile_sizes, places.images)).to(embeds.dtype)
        states = core.language_model(
            inputs_embeds=embeds.flatten(0, 1).index_copy(0, places.image_at, seen).view_as(embeds),
            attention_mask=self._attention(attention_mask) if places.padded else None,
            use_cache=False,
        ).last_hidden_state
        is_seg = input_ids == self.seg_id
        is_image = input_ids == config.image_token_id
        after_image = is_image.cumsum(1) == is_image.sum(1, keepdim=True)
        text_mask = after_image & ~is_image & ~is_seg & attention_mask.bool()
        turn = is_seg.cumsum(1) - is_seg.int()  # how many [SEG] come before a token
        rows, at = places.seg_row, places.seg_at
        in_turn = turn[rows] == turn[rows, at][:, None]
        text = states if len(rows) == len(input_ids) else states[rows]
        return PromptStates(states[rows, at], text, text_mask[rows] & in_turn)

    def _attention(self, attention_mask: Tensor) -> Tensor:
        """Who sees whom, (B, 1, L, L) bool: as transformers makes it, without asking the GPU whether it is needed."""
        if self.llava.config.text_config._attn_implementation != "sdpa":
            return attention_mask
        length = attention_mask.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=attention_mask.device).tril()
        return causal & attention_mask[:, None, None].bool()

    def _image_tokens(
        self, tiles: Tensor, row_image: Tensor, tile_sizes: Tensor | None, images: Sequence[int]
    ) -> list[Tensor]:
        """Projected features of the image of each conversation, B times (P, D)."""
        core = self.llava.model
        config = self.llava.config
        if tile_sizes is not None:
            packed = core.get_image_features(tiles.to(core.dtype), tile_sizes, return_dict=True).pooler_output
            return [packed[image] for image in images]
        pixels = normalise_for_tower(tiles).to(core.dtype)
        trained = any(parameter.requires_grad for parameter in core.vision_tower.parameters())
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):  # checkpointing asks for gradients even here
            features = core.vision_tower(pixels, output_hidden_states=True).hidden_states
        selected = features[config.vision_feature_layer][:, 1:]
        return list(core.multi_modal_projector(selected)[row_image])

"""LLaVA-NeXT as a prompt encoder: image and text in, last-layer states and the state at [SEG] out.

Shapes: I images, N prompts, L tokens, D language width, V the vision tower's input side, P tokens per image.

One base tile per image (P = 576 for LLaVA-v1.6): the anyres tiling would cost up to 2928 tokens, and SAM already
sees the image at full resolution. The paper's loss has no language term, so `lm_head` is never evaluated: [SEG] is
appended by the template and its state is read "at [SEG]" (LISA generates the token, and reads one before it).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, LlavaNextForConditionalGeneration, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutputWithPooling

from data.errors import UserError

SEG_TOKEN = "[SEG]"
IMAGE_TOKEN = "<image>"


class Precision(StrEnum):
    """Number format of the frozen weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(kw_only=True, slots=True)
class LlavaConfig:
    """Where LLaVA comes from and how it is asked.

    Attributes:
        path: Hub id, or a directory in the same format.
        precision: Number format of the frozen weights.
        template: Chat format; `{image}` becomes the image tokens, `{prompt}` the text, `{seg}` the [SEG] token.
    """

    path: str
    precision: Precision = Precision.float32
    template: str = "USER: {image}\n{prompt} ASSISTANT: {seg}"


@dataclass(frozen=True, slots=True)
class PromptStates:
    """What the language model says about N prompts.

    Attributes:
        seg: State at [SEG], (N, D).
        text: States of all tokens, (N, L, D).
        text_mask: (N, L) bool, True on the tokens of the instruction and the description.
    """

    seg: Tensor
    text: Tensor
    text_mask: Tensor


def load_llava(config: LlavaConfig) -> tuple[LlavaNextForConditionalGeneration, PreTrainedTokenizerBase]:
    """Loads LLaVA and its tokenizer, with [SEG] in both.

    Raises:
        UserError: If the path is neither a checkpoint directory nor reachable on the hub.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(config.path)
        model = LlavaNextForConditionalGeneration.from_pretrained(
            config.path, dtype=getattr(torch, config.precision.value)
        )
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"No LLaVA-NeXT checkpoint at '{config.path}': {reason} Set mdlm.llava.path.") from error
    add_seg_token(model, tokenizer)
    return model, tokenizer


def add_seg_token(model: LlavaNextForConditionalGeneration, tokenizer: PreTrainedTokenizerBase) -> int:
    """Adds [SEG] to the vocabulary if it is not there, grows the embeddings if they are full, returns its id."""
    if SEG_TOKEN not in tokenizer.get_vocab():
        tokenizer.add_special_tokens({"extra_special_tokens": [SEG_TOKEN]})
    seg_id = int(tokenizer.get_vocab()[SEG_TOKEN])
    embeddings: Any = model.get_input_embeddings()
    if seg_id >= embeddings.weight.shape[0]:
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

    def forward(self, input_ids: Tensor, attention_mask: Tensor, tiles: Tensor, image_index: Tensor) -> PromptStates:
        """Runs N prompts over I images.

        Args:
            input_ids: (N, L), each row with P image tokens and one [SEG]; padded on the right.
            attention_mask: (N, L), 0 on the padding.
            tiles: (I, 3, V, V), normalised for the vision tower.
            image_index: (N,), the image of each prompt.
        """
        core = self.llava.model
        config = self.llava.config
        features = core.vision_tower(tiles.to(core.dtype), output_hidden_states=True).hidden_states
        selected = features[config.vision_feature_layer][:, 1:]
        image_tokens = core.multi_modal_projector(selected)[image_index]
        states = core(
            input_ids=input_ids,
            attention_mask=attention_mask,
            mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=list(image_tokens))},  # type: ignore[arg-type]
            use_cache=False,
        ).last_hidden_state
        is_seg = input_ids == self.seg_id
        is_image = input_ids == config.image_token_id
        after_image = is_image.cumsum(1) == is_image.sum(1, keepdim=True)
        text_mask = after_image & ~is_image & ~is_seg & attention_mask.bool()
        at_seg = is_seg.int().argmax(1)
        rows = torch.arange(len(input_ids), device=input_ids.device)
        return PromptStates(states[rows, at_seg], states, text_mask)

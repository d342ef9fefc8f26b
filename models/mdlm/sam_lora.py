"""LoRA on SAM's attention projections, in the decoder or in the image encoder.

The paper tunes LLaVA-v1.6 and SAM with LoRA and does not say which part of SAM. LISA trains the mask decoder in full
and freezes the encoder. All three are here: `SamLora` names the part, `train_mask_decoder` is LISA's way.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from models.mdlm.sam import Sam

ENCODER_TARGETS = ["qkv", "proj"]
DECODER_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]


class SamLora(StrEnum):
    """Which attention layers of SAM get LoRA."""

    none = "none"
    decoder = "decoder"
    encoder = "encoder"


def add_sam_lora(sam: Sam, part: SamLora, *, rank: int, alpha: int, dropout: float) -> None:
    """Puts LoRA layers into a frozen SAM, in place; only they require a gradient afterwards.

    Args:
        sam: SAM with its base weights loaded: the layers' parameters get other names here.
        part: Where.
        rank: r.
        alpha: The update is multiplied by alpha / r.
        dropout: Dropout on the adapter's input.
    """
    if part is SamLora.none:
        return
    if part is SamLora.encoder:
        # the patch embedding's convolution is also named proj
        module: nn.Module = sam.image_encoder.blocks
        targets = ENCODER_TARGETS
    else:
        module, targets = sam.mask_decoder.transformer, DECODER_TARGETS
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets), module)


def merge_sam_lora(sam: Sam) -> int:
    """Folds LoRA into the base weights and puts the plain layers back; returns the number of layers.

    Afterwards the state dictionary has Meta's names again.
    """
    found = [(name, module) for name, module in sam.named_modules() if isinstance(module, LoraLayer)]
    for name, module in found:
        layer: Any = module
        layer.merge()
        owner, _, attribute = name.rpartition(".")
        setattr(sam.get_submodule(owner), attribute, layer.get_base_layer())
    return len(found)

"""4-bit weights for the frozen language model (QLoRA), through bitsandbytes.

The language model's linear layers are quantised; the vision tower, the projector and `lm_head` keep their precision,
and what is trained (LoRA, [SEG], heads) is never quantised.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import nn

from data.errors import UserError
from models.device import choose

KEPT = ["lm_head", "model.vision_tower", "model.multi_modal_projector"]


class Kind(StrEnum):
    """4-bit number format: normal floats (QLoRA's), or plain ones."""

    nf4 = "nf4"
    fp4 = "fp4"


class Precision(StrEnum):
    """Number format of unquantised weights, or of the arithmetic on quantised ones."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(kw_only=True, slots=True)
class QuantizeConfig:
    """How weights are stored and multiplied; the defaults are QLoRA's.

    Attributes:
        kind: 4-bit number format.
        double: Quantises the scales, too: 0.4 bit a weight less.
        compute: Number format of the arithmetic.
    """

    kind: Kind = Kind.nf4
    double: bool = True
    compute: Precision = Precision.bfloat16


def loading_options(config: QuantizeConfig, device: torch.device | None = None) -> dict[str, Any]:
    """Arguments of `from_pretrained`.

    Args:
        config: How to quantise.
        device: Where; None takes the GPU of this process's rank, or the CPU.

    Raises:
        UserError: If bitsandbytes is not installed.
    """
    try:
        import bitsandbytes  # noqa: F401  (transformers' own message for this names no remedy)
    except ImportError as error:
        raise UserError("4-bit weights need bitsandbytes: install it, or set mdlm.llava.quantize=null.") from error
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=config.kind.value,
            bnb_4bit_use_double_quant=config.double,
            bnb_4bit_compute_dtype=getattr(torch, config.compute.value),
            llm_int8_skip_modules=KEPT,
        ),
        "device_map": {"": choose().device if device is None else device},
    }


def quantized_layers(model: nn.Module) -> list[nn.Module]:
    """The 4-bit layers of a model, without the LoRA layers of the same name that PEFT puts around them."""
    return [
        module
        for module in model.modules()
        if type(module).__name__ == "Linear4bit" and type(module).__module__.startswith("bitsandbytes")
    ]


def keep_trainable_on_cpu(model: nn.Module) -> None:
    """Forbids the one CPU kernel that would repack 4-bit weights in evaluation: it passes wrong gradients afterwards.

    On CPUs with AVX512-BF16, bitsandbytes repacks a layer's weights at its first forward pass in evaluation mode, for a
    kernel without a backward pass; training after that would go on silently with wrong gradients.
    """
    for layer in quantized_layers(model):
        layer.support_avx512bf16_for_cpu = False  # type: ignore[assignment]

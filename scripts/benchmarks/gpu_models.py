"""Random models of the paper's sizes, made on the device itself, for `scripts.benchmarks.gpu_check`.

`full` is LLaVA-v1.6 (7B) with SAM ViT-H, and MiniCPM-V 4.6; `tiny` is the same code at a few million parameters.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from models.quantize import QuantizeConfig, keep_trainable_on_cpu, loading_options
from models.tiny import minicpmv
from models.weights.table import find_checkpoint

if TYPE_CHECKING:
    from models.mdlm.model import MDLM

TEXT = "Segment the defect in this image. There is a thin scratch near the top left of the washer, across its rim."
QUESTIONS = ["Is there a defect?\nA. yes\nB. no", "Where is it?\nA. top left\nB. center\nC. right", "Describe it."]
SMALL_TEXT = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
SMALL_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_SAM: dict[str, Any] = {
    "image_size": 256,
    "width": 64,
    "depth": 2,
    "heads": 2,
    "global_layers": [1],
    "decoder_mlp": 64,
}


@contextmanager
def _drawn_on(device: str) -> Iterator[None]:
    """Within the block modules are made on the device, in bfloat16."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def make_mdlm(sizes: str, device: str, *, checkpointing: bool = False, quantize: bool = False) -> MDLM:
    """The paper's MDLM: LLaVA in bfloat16 or 4 bits, SAM and the heads in float32, LoRA in both.

    Args:
        sizes: `full` or `tiny`.
        device: Where it is made; `meta` for sizes alone.
        checkpointing: Recomputes activations in the backward pass.
        quantize: Keeps LLaVA in 4 bits.
    """
    from models.mdlm.llava import IMAGE_TOKEN, SEG_TOKEN, LlavaConfig  # need segment_anything, which may be missing
    from models.mdlm.model import MDLMConfig, build_mdlm, build_processor
    from models.mdlm.sam import Sam, SamConfig
    from models.mdlm.sam_lora import SamLora
    from models.tiny.llava_sam import build_tiny_tokenizer

    tokenizer: PreTrainedTokenizerBase = build_tiny_tokenizer([TEXT] * 4, 512)
    text: dict[str, Any] = {"model_type": "llama", "vocab_size": 32064}
    vision: dict[str, Any] | None = None  # LLaVA-v1.6's own
    sam = SamConfig()
    if sizes == "tiny":
        text |= {**SMALL_TEXT, "num_key_value_heads": 4}
        vision = {**SMALL_VISION, "image_size": 112, "patch_size": 14, "model_type": "clip_vision_model"}
        sam = SamConfig(**SMALL_SAM, channels=64)
    ids = tokenizer.get_vocab()
    shape = LlavaNextConfig(text_config=text, vision_config=vision, image_token_index=ids[IMAGE_TOKEN])
    with _drawn_on(device):
        llava = LlavaNextForConditionalGeneration(shape)
    if quantize:
        llava = _in_four_bits(llava)
    config = MDLMConfig(
        llava=LlavaConfig(path=""),
        sam=sam,
        sam_lora=SamLora.decoder,
        train_mask_decoder=False,
        gradient_checkpointing=checkpointing,
    )
    with torch.device(device):
        parts = Sam(sam)
        processor = build_processor(llava, tokenizer, parts, config.llava)
        return build_mdlm(llava, ids[SEG_TOKEN], parts, config, processor).to(device)


def _in_four_bits(llava: LlavaNextForConditionalGeneration) -> LlavaNextForConditionalGeneration:
    """The same model in 4 bits, by way of the disk, for quantisation is a part of loading."""
    with tempfile.TemporaryDirectory() as folder:
        llava.save_pretrained(folder)
        llava.to("meta")  # type: ignore[arg-type]
        quantized = LlavaNextForConditionalGeneration.from_pretrained(
            folder, dtype=torch.bfloat16, **loading_options(QuantizeConfig())
        )
    keep_trainable_on_cpu(quantized)
    return quantized


def write_eddm(sizes: str, device: str, folder: Path) -> None:
    """A MiniCPM-V 4.6 with its processor as a checkpoint folder; one tile an image."""
    shape = minicpmv.TinyMiniCPMVConfig(vocab_size=512)
    if sizes == "full":
        shape = minicpmv.TinyMiniCPMVConfig(image_size=448, patch_size=14, vocab_size=512)
    tokenizer = minicpmv.build_tokenizer(QUESTIONS, units=[], vocab_size=shape.vocab_size)
    processor = minicpmv.build_processor(shape, tokenizer)
    if sizes == "tiny":
        minicpmv.save_checkpoint(folder, minicpmv.build_model(shape, tokenizer), processor)
        return
    minicpmv.save_checkpoint(folder, make_eddm(tokenizer, device), processor)


def make_eddm(tokenizer: PreTrainedTokenizerBase, device: str) -> MiniCPMV4_6ForConditionalGeneration:
    """A MiniCPM-V 4.6 of its own size, in bfloat16."""
    ids = tokenizer.get_vocab()
    entry = find_checkpoint("openbmb/MiniCPM-V-4.6")
    if entry is None or entry.config is None:
        raise AssertionError("the table of checkpoints holds its sizes")
    values = {key: value for key, value in entry.config.items() if key != "model_type"}
    config_class: Any = MiniCPMV4_6Config
    config = config_class(**values, image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"])
    with _drawn_on(device):
        model = MiniCPMV4_6ForConditionalGeneration(config)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = tokenizer.eos_token_id
    return model

"""A LLaVA-NeXT of a million parameters: the real classes and the real file format, random weights, a CPU's size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from models.mdlm.llava import IMAGE_TOKEN, SEG_TOKEN

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<s>", "</s>"


@dataclass(kw_only=True, slots=True)
class TinyLlavaConfig:
    """Sizes.

    Attributes:
        vocabulary: Tokens of the byte-level BPE, special ones included.
        width: Width of the language model.
        layers: Layers of the language model.
        heads: Attention heads of the language model.
        mlp: Feed-forward width of the language model.
        tile_size: Side of the vision tower's input, in pixels.
        patch_size: Patch side of the vision tower; (tile_size / patch_size)² tokens per image.
        vision_width: Width of the vision tower.
        vision_layers: Layers of the vision tower; the last but one is read, as in LLaVA.
    """

    vocabulary: int = 512
    width: int = 96
    layers: int = 3
    heads: int = 4
    mlp: int = 256
    tile_size: int = 64
    patch_size: int = 16
    vision_width: int = 64
    vision_layers: int = 2


def build_tiny_tokenizer(corpus: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE: any text has tokens, and frequent words have one of their own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, UNKNOWN, BEGIN, END, IMAGE_TOKEN, SEG_TOKEN]
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        extra_special_tokens=[IMAGE_TOKEN, SEG_TOKEN],
        padding_side="right",
    )


def build_tiny_llava(
    config: TinyLlavaConfig, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> LlavaNextForConditionalGeneration:
    """Builds the model with random weights drawn from `seed`; the global generator is left as it was."""
    vision = CLIPVisionConfig(
        hidden_size=config.vision_width,
        intermediate_size=2 * config.vision_width,
        num_hidden_layers=config.vision_layers,
        num_attention_heads=4,
        image_size=config.tile_size,
        patch_size=config.patch_size,
        projection_dim=config.vision_width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlavaNextForConditionalGeneration(
            LlavaNextConfig(
                vision_config=vision,
                text_config=text,
                image_token_index=int(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)),  # type: ignore[arg-type]
                image_grid_pinpoints=[[config.tile_size, config.tile_size]],
                vision_feature_layer=-2,
                vision_feature_select_strategy="default",
            )
        )

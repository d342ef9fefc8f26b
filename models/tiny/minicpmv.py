"""A few-million-parameter MiniCPM-V 4.6: the real architecture, processor and chat format, with random weights.

Nothing here is a stand-in: the classes are those of transformers, and ms-swift loads the written folder as
`minicpmv4_6`. Only the sizes are small, and the weights are not trained yet (`train.tiny` does that).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import (
    MiniCPMV4_6Config,
    MiniCPMV4_6ForConditionalGeneration,
    MiniCPMV4_6Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.minicpmv4_6.image_processing_minicpmv4_6 import MiniCPMV4_6ImageProcessor
from transformers.models.minicpmv4_6.video_processing_minicpmv4_6 import MiniCPMV4_6VideoProcessor

from data.errors import writing
from data.files import make_dir
from data.processes.aside import share

IMAGE_TOKENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}
SPECIAL_TOKENS = ["<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", *IMAGE_TOKENS.values()]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image_pad|>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}"
)


@dataclass(kw_only=True, slots=True)
class TinyMiniCPMVConfig:
    """Sizes of the tiny checkpoint. The defaults give about two million parameters.

    Attributes:
        image_size: Side of the square the image is resized to, in pixels; a multiple of 4 × `patch_size`.
        patch_size: Side of a ViT patch in pixels. Every 4 × 4 patches become one visual token.
        vision_hidden: Width of the vision tower.
        vision_layers: Its depth.
        vision_heads: Its attention heads.
        vision_intermediate: Width of its MLPs.
        insert_layer: Index of the layer after which 2 × 2 patches are merged.
        text_hidden: Width of the language model.
        text_layers: Its depth.
        text_heads: Its query heads; half as many key-value heads.
        text_intermediate: Width of its MLPs.
        vocab_size: Upper bound on the number of tokens.
    """

    image_size: int = 96
    patch_size: int = 8
    vision_hidden: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    vision_intermediate: int = 256
    insert_layer: int = 1
    text_hidden: int = 128
    text_layers: int = 3
    text_heads: int = 4
    text_intermediate: int = 256
    vocab_size: int = 1536


def build_tokenizer(corpus: Iterable[str], *, units: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer.

    Args:
        corpus: Texts to learn merges from.
        units: Phrases of several words that may become one token, such as names of regions.
        vocab_size: Upper bound on the vocabulary.
    """
    phrases = "|".join(re.escape(unit) for unit in sorted(units, key=lambda unit: -len(unit)))
    # A lettered option is one token where its words are a unit. A number such as 0.415 becomes "0.", "41", "5":
    # coarse to fine, with few and frequent tokens.
    option = rf"(?:(?:\n[A-E]\.)? ?(?:{phrases})\b)|\n[A-E]\."
    number = r"(?:\[|, )?[01]\.(?=\d)|\d\d|\d"
    pattern = rf"{option}|\n+|{number}| ?[A-Za-z]+| ?[^\sA-Za-z\d]|\s+"
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=IMAGE_TOKENS,
        clean_up_tokenization_spaces=False,
    )


def build_processor(config: TinyMiniCPMVConfig, tokenizer: PreTrainedTokenizerFast) -> MiniCPMV4_6Processor:
    """The processor of MiniCPM-V 4.6 at the tiny resolution, without slicing."""
    sizes = {
        "scale_resolution": config.image_size,
        "patch_size": config.patch_size,
        "slice_mode": False,
        "max_slice_nums": 1,
        "use_image_id": False,
        "downsample_mode": "16x",
    }
    return MiniCPMV4_6Processor(
        image_processor=MiniCPMV4_6ImageProcessor(**sizes),
        video_processor=MiniCPMV4_6VideoProcessor(**sizes),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(config: TinyMiniCPMVConfig, tokenizer: PreTrainedTokenizerFast) -> MiniCPMV4_6ForConditionalGeneration:
    """A randomly initialised model in float32 with SDPA attention; seed torch before the call."""
    ids: Any = tokenizer.convert_tokens_to_ids
    config_class: Any = MiniCPMV4_6Config
    model_config = config_class(
        text_config={
            "model_type": "qwen3",
            "hidden_size": config.text_hidden,
            "intermediate_size": config.text_intermediate,
            "num_hidden_layers": config.text_layers,
            "num_attention_heads": config.text_heads,
            "num_key_value_heads": config.text_heads // 2,
            "head_dim": config.text_hidden // config.text_heads,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            "hidden_size": config.vision_hidden,
            "intermediate_size": config.vision_intermediate,
            "num_hidden_layers": config.vision_layers,
            "num_attention_heads": config.vision_heads,
            "image_size": config.image_size,
            "patch_size": config.patch_size,
        },
        insert_layer_id=config.insert_layer,
        image_size=config.image_size,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    model = MiniCPMV4_6ForConditionalGeneration(model_config)
    _initialise_vision(model, config)
    _initialise_words(model.get_input_embeddings(), tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def save_checkpoint(folder: Path, model: MiniCPMV4_6ForConditionalGeneration, processor: MiniCPMV4_6Processor) -> None:
    """Writes weights (safetensors), config, tokenizer and processor into one folder that transformers loads."""
    with writing(make_dir(folder)):
        processor.save_pretrained(folder)
        model.save_pretrained(folder)
    share(folder)


@torch.no_grad()
def _initialise_vision(model: MiniCPMV4_6ForConditionalGeneration, config: TinyMiniCPMVConfig) -> None:
    """Weights for training from scratch: the stock merger expects pre-trained ones, with a std of 1."""
    tower = model.model.vision_tower
    for module in [*tower.vit_merger.modules(), *model.model.merger.modules(), *tower.encoder.modules()]:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.zeros_(module.bias)
    for layer in tower.encoder.layers:
        layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)  # attend to what is alike and near
        layer.self_attn.out_proj.weight.mul_(0.5)
        layer.mlp.fc2.weight.mul_(0.5)
    nn.init.normal_(tower.embeddings.patch_embedding.weight, std=(3 * config.patch_size**2) ** -0.5)
    nn.init.zeros_(tower.embeddings.patch_embedding.bias)
    side = config.image_size // config.patch_size
    tower.embeddings.position_embedding.weight.copy_(_grid_positions(side, config.vision_hidden))


@torch.no_grad()
def _initialise_words(embedding: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    """Gives tokens with a common word a common part: `scratch`, ` scratch` and `B. scratch`; `B` and `B. scratch`.

    To choose an option is to find the word and to say its letter; with independent embeddings a small model would have
    to learn that anew for every pair.
    """
    nn.init.normal_(embedding.weight, std=0.1)
    weight = embedding.weight.clone()
    for index in range(len(tokenizer)):
        text = str(tokenizer.decode([index]))
        found = re.fullmatch(r"\n([A-E])\.(?: (.+))?", text)
        parts = [part for part in found.groups() if part] if found else [text.strip()]
        if found or text != text.strip():
            roots = [tokenizer.convert_tokens_to_ids(part.replace(" ", "Ġ")) for part in parts]
            if all(root is not None and root != tokenizer.unk_token_id for root in roots):
                weight[index] = 0.3 * weight[index] + embedding.weight[roots].sum(0)
    embedding.weight.copy_(weight)


def _grid_positions(side: int, width: int) -> torch.Tensor:
    """Sine and cosine of row and column at several frequencies: (side², width)."""
    count = width // 4
    frequencies = torch.pi * 2.0 ** torch.linspace(-1, 3, count)
    place = (torch.arange(side) + 0.5) / side
    waves = torch.cat([torch.sin(place[:, None] * frequencies), torch.cos(place[:, None] * frequencies)], 1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    grid = torch.cat([rows, columns], -1).reshape(side * side, -1)
    return nn.functional.pad(grid, (0, width - grid.shape[1])) * 0.5

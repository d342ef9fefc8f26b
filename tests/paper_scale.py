"""Checkpoints as the hub lays them out, at true widths and vocabulary but with few layers and random weights."""

from __future__ import annotations

from pathlib import Path

import segment_anything
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    PreTrainedTokenizerFast,
)

from data.files import read_json, write_json

ROWS, PIECES = 32064, 32000  # of LLaVA-v1.6's embeddings; of Llama's tokenizer


def write_llava(folder: Path, language: str) -> Path:
    """LLaVA-v1.6 on `vicuna` or `mistral`: one language and two vision layers, fp16, in shards."""
    shared = {"vocab_size": ROWS, "num_hidden_layers": 1, "rms_norm_eps": 1e-5}
    if language == "mistral":
        text = MistralConfig(**shared, max_position_embeddings=32768, num_key_value_heads=8)
    else:
        text = LlamaConfig(**shared, max_position_embeddings=4096)
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=2,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    config = LlavaNextConfig(vision_config=vision, text_config=text, image_token_index=PIECES)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    try:
        model = LlavaNextForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(str(folder), max_shard_size="400MB")
    _name_as_the_hub_does(folder)
    llama_tokenizer().save_pretrained(str(folder))
    return folder


def _name_as_the_hub_does(folder: Path) -> None:
    """The published files still carry the vision tower's older names."""
    index = folder / "model.safetensors.index.json"
    content = read_json(index)
    names = {name: name.replace("vision_tower.", "vision_tower.vision_model.") for name in content["weight_map"]}
    for shard in sorted(folder.glob("model-*.safetensors")):
        save_file({names[name]: tensor for name, tensor in load_file(shard).items()}, shard, {"format": "pt"})
    write_json(index, {**content, "weight_map": {names[name]: file for name, file in content["weight_map"].items()}})


def llama_tokenizer() -> PreTrainedTokenizerFast:
    """Llama's kind of tokenizer, with fillers in the place of its words: <image> is 32000 and <pad> 32001."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    vocabulary |= {f"▁filler{index}": index for index in range(len(vocabulary), PIECES)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<image>", "<pad>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def write_sam(file: Path) -> Path:
    """SAM ViT-B in full, as Meta's `.pth`."""
    torch.manual_seed(0)
    torch.save(segment_anything.build_sam_vit_b().state_dict(), file)
    return file

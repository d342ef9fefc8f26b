"""Writes a tiny checkpoint folder with code of its own, which stumbles where MiniCPM-V 2.6's does.

Its model is an eye of one linear layer, a resampler that reads patches by attention, and a Qwen2 of one layer. The
positions that the resampler adds are a buffer that only its `__init__` fills, with `POSITION` everywhere.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

COMMIT = "5" * 40
HUB_ID = "openbmb/MiniCPM-V-2_6"
POSITION = 0.25
WIDTH, EYE, QUERIES, SHARDS = 32, 16, 4, 2
SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>", "<image>", "</image>"),
    *("<slice>", "</slice>", "<image_id>", "</image_id>"),
)

CONFIGURATION = """\
from transformers import Qwen2Config


class MiniCPMVConfig(Qwen2Config):
    model_type = "minicpmv"

    def __init__(self, query_num=4, eye_width=16, **others):
        self.query_num = query_num
        self.eye_width = eye_width
        self.slice_mode = True
        super().__init__(**others)
"""

RESAMPLER = """\
import numpy as np
import torch
from torch import nn
from torch.nn.functional import *


class Resampler(nn.Module):
    def __init__(self, queries, width, eye_width):
        super().__init__()
        self.max_size = (70, 70)
        self.query = nn.Parameter(torch.zeros(queries, width))
        self.kv_proj = nn.Linear(eye_width, width, bias=False)
        self.attn = nn.MultiheadAttention(width, 2, batch_first=True)
        self._set_2d_pos_cache(self.max_size)

    def _set_2d_pos_cache(self, max_size, device="cpu"):
        positions = np.full((*max_size, self.query.shape[1]), 0.25, dtype="float32")
        positions = torch.from_numpy(positions).to(device)
        self.register_buffer("pos_embed", positions, persistent=False)

    def forward(self, patches: List[torch.Tensor], sizes):
        found = []
        for seen, (rows, columns) in zip(patches, sizes.tolist()):
            values = self.kv_proj(seen)[None]
            keys = values + self.pos_embed[:rows, :columns].flatten(0, 1).to(values.dtype)
            found.append(self.attn(self.query[None].to(values.dtype), keys, values, need_weights=False)[0])
        return torch.cat(found)
"""

MODELING = """\
import torch
from torch import nn
from transformers import Qwen2ForCausalLM, Qwen2PreTrainedModel

from .configuration_minicpm import MiniCPMVConfig
from .resampler import Resampler


class MiniCPMV(Qwen2PreTrainedModel):
    config_class = MiniCPMVConfig

    def __init__(self, config):
        super().__init__(config)
        self.llm = Qwen2ForCausalLM(config)
        self.vpm = nn.Linear(3 * 7 * 7, config.eye_width)
        self.resampler = Resampler(config.query_num, config.hidden_size, config.eye_width)

    def get_input_embeddings(self):
        return self.llm.get_input_embeddings()

    def get_output_embeddings(self):
        return self.llm.lm_head

    def get_vllm_embedding(self, data):
        embedded = self.llm.model.embed_tokens(data["input_ids"]).clone()
        for row, (tiles, bounds, sizes) in enumerate(zip(data["pixel_values"], data["image_bound"], data["tgt_sizes"])):
            if len(tiles) == 0:
                continue
            patches = [torch.nn.functional.unfold(tile[None], 7, stride=7)[0].T for tile in tiles]
            patches = [self.vpm(some.to(self.vpm.weight.dtype)) for some in patches]
            for tokens, (start, end) in zip(self.resampler(patches, sizes), bounds.tolist()):
                embedded[row, start:end] = tokens.to(embedded.dtype)
        return embedded, None

    def forward(self, data, **others):
        return self.llm(inputs_embeds=self.get_vllm_embedding(data)[0], **others)

    def generate(self, input_ids=None, **others):
        return self.llm.generate(input_ids=input_ids, **others)
"""

IMAGES = """\
import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


class Tiles(BatchFeature):
    def to(self, dtype):
        self["pixel_values"] = [[tile.to(dtype) for tile in tiles] for tiles in self["pixel_values"]]
        return self


class MiniCPMVImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(self, query_num=4, **others):
        super().__init__(**others)
        self.query_num = query_num

    def __call__(self, images, return_tensors=None, max_slice_nums=None):
        def tile(image):
            pixels = np.asarray(image.convert("RGB").resize((28, 21)), dtype="float32") / 127.5 - 1
            return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

        return Tiles({
            "pixel_values": [[tile(image) for image in some] for some in images],
            "tgt_sizes": [torch.tensor([[3, 4]] * len(some)).reshape(-1, 2) for some in images],
            "image_sizes": [[image.size for image in some] for some in images],
        })

    def get_slice_image_placeholder(self, size, image_idx=0, max_slice_nums=None, use_image_id=None):
        return f"<image_id>{image_idx}</image_id><image>" + "<unk>" * self.query_num + "</image>"
"""

PROCESSING = """\
from transformers.processing_utils import ProcessorMixin


class MiniCPMVProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor=None, tokenizer=None):
        super().__init__(image_processor, tokenizer)
"""

TOKENIZATION = """\
from transformers.models.qwen2 import Qwen2TokenizerFast


class MiniCPMVTokenizerFast(Qwen2TokenizerFast):
    pass
"""

CODE = {
    "configuration_minicpm.py": CONFIGURATION,
    "resampler.py": RESAMPLER,
    "modeling_minicpmv.py": MODELING,
    "image_processing_minicpmv.py": IMAGES,
    "processing_minicpmv.py": PROCESSING,
    "tokenization_minicpmv_fast.py": TOKENIZATION,
}


def write_folder(folder: Path, *, code: Mapping[str, str] = CODE) -> Path:
    """Writes the checkpoint: configuration, two shards of random weights, tokenizer, and its code.

    Args:
        folder: Where it goes; its name becomes part of the name under which its code is imported.
        code: Python files by name.
    """
    folder.mkdir(parents=True)
    for name, text in code.items():
        (folder / name).write_text(text, encoding="utf-8")
    tokenizer = _write_tokenizer(folder)
    words, end = tokenizer.get_vocab_size(), tokenizer.token_to_id("<|im_end|>")
    language: dict[str, Any] = {
        "vocab_size": words,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "eos_token_id": end,
    }
    modules = {
        "AutoConfig": "configuration_minicpm.MiniCPMVConfig",
        "AutoModel": "modeling_minicpmv.MiniCPMV",
        "AutoModelForCausalLM": "modeling_minicpmv.MiniCPMV",
    }
    own = {"architectures": ["MiniCPMV"], "model_type": "minicpmv", "query_num": QUERIES, "eye_width": EYE}
    _write(folder / "config.json", {**own, **language, "torch_dtype": "bfloat16", "auto_map": modules})
    generation = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.05, "eos_token_id": [end]}
    _write(folder / "generation_config.json", {**generation, "pad_token_id": tokenizer.token_to_id("<|endoftext|>")})
    processors = {
        "AutoProcessor": "processing_minicpmv.MiniCPMVProcessor",
        "AutoImageProcessor": "image_processing_minicpmv.MiniCPMVImageProcessor",
    }
    kinds = {"image_processor_type": "MiniCPMVImageProcessor", "processor_class": "MiniCPMVProcessor"}
    _write(folder / "preprocessor_config.json", {**kinds, "query_num": QUERIES, "auto_map": processors})
    _write_weights(folder, _make_weights(Qwen2Config(**language)))
    return folder


def write_snapshot(cache: Path) -> Path:
    """Writes the checkpoint as the hub's cache holds it (`HF_HOME/hub`), at `COMMIT` of `HUB_ID`."""
    home = cache / f"models--{HUB_ID.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    return write_folder(home / "snapshots" / COMMIT)


def _make_weights(config: Qwen2Config) -> dict[str, Tensor]:
    torch.manual_seed(0)
    resampler = nn.Module()
    resampler.query = nn.Parameter(torch.randn(QUERIES, WIDTH))
    resampler.kv_proj = nn.Linear(EYE, WIDTH, bias=False)
    resampler.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    parts = {"llm": Qwen2ForCausalLM(config), "vpm": nn.Linear(3 * 7 * 7, EYE), "resampler": resampler}
    state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    return {key: value.to(torch.bfloat16).contiguous() for key, value in sorted(state.items())}


def _write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    index = {}
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05d}-of-{SHARDS:05d}.safetensors"
        part = dict(list(weights.items())[shard::SHARDS])
        save_file(part, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(part, name)
    _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})


def _write_tokenizer(folder: Path) -> Tokenizer:
    """One token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))
    added = {
        str(tokenizer.token_to_id(name)): {"content": name, "special": True, "normalized": False} for name in SPECIAL
    }
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "MiniCPMVTokenizerFast",
            "auto_map": {"AutoTokenizer": [None, "tokenization_minicpmv_fast.MiniCPMVTokenizerFast"]},
            "added_tokens_decoder": added,
            **{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
            "unk_token": "<unk>",
        },
    )
    return tokenizer


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")

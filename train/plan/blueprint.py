"""The two trainings in numbers, read off models without weights: parameters, stacks, tokens, batch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from models.mdlm.llava import ImageTiles
from models.mdlm.model import MDLM, MDLMConfig, build_mdlm
from models.mdlm.sam import SamAttention
from models.weights.shapes import MiniCPMVShape, architecture, build_chat_shape, build_llava_shape, build_sam_shape
from train.eddm.config import EDDMConfig
from train.engine.launch import MixedPrecision
from train.mdlm.config import TrainMDLMConfig
from train.plan.segmenter import Segmenter
from train.plan.stack import Stack

SHARED_INPUT = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "gate_proj": "gate_up", "up_proj": "gate_up"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Blueprint:
    """One training in numbers.

    Attributes:
        name: EDDM or MDLM.
        source: What the sizes were read from.
        total: Parameters, the adapter's included.
        trainable: Parameters that are trained.
        quantizable: Parameters of the language model's frozen matrices, which QLoRA keeps in 4 bits.
        largest: Parameters of the largest single matrix.
        frozen_bytes: Bytes of all frozen weights in the configured formats.
        embedding_bytes: Bytes of the copy of the word embeddings that training one row of them makes; 0 without.
        weights: Bytes of a frozen weight of the language model.
        number: Bytes of a number of the forward pass.
        language: The language model.
        vision: The vision tower; frozen.
        patches: Tokens of one image tile in the vision tower.
        vision_trained: Whether the vision tower is trained.
        image_tokens: Image tokens of a row, with one tile and with several.
        tiles: Tiles of an image, in the same two cases.
        vocabulary: Words that the loss is taken over; 0 where `lm_head` is never evaluated.
        segmenter: SAM and DAM; None for the EDDM.
        batch: Rows (images) a step, over all GPUs.
        micro_batch: Most rows that one GPU takes at a time.
        steps: Steps that the configuration asks for; None leaves it to the epochs.
        epochs: Passes over the data; None where steps are given.
        configured_tiles: Which of the two cases the training runs as configured.
    """

    name: str
    source: str
    total: int
    trainable: int
    quantizable: int
    largest: int
    frozen_bytes: int
    embedding_bytes: int
    weights: int
    number: int
    language: Stack
    vision: Stack
    patches: int
    vision_trained: bool
    image_tokens: dict[str, int]
    tiles: dict[str, int]
    vocabulary: int
    segmenter: Segmenter | None
    batch: int
    micro_batch: int
    steps: int | None
    epochs: float | None
    configured_tiles: str


def mdlm_blueprint(config: TrainMDLMConfig) -> Blueprint:
    """The MDLM's training: the model that training builds, without its weights."""
    model, source = mdlm_shape(config)
    llava = model.llava.llava
    text, vision = llava.config.text_config, llava.config.vision_config
    weights = 2 if config.mdlm.llava.precision.value == "bfloat16" else 4
    number = 4 if config.loop.precision is MixedPrecision.no else 2
    side = vision.image_size // vision.patch_size
    grid = max(height * width for height, width in llava.config.image_grid_pinpoints) // vision.image_size**2
    language = llava.model.language_model
    tiles = 1 + max(1, grid)
    return Blueprint(
        name="MDLM",
        source=source,
        **_parameters(model, language, weights=weights, weights_of="llava."),
        embedding_bytes=text.vocab_size * text.hidden_size * weights,
        weights=weights,
        number=number,
        language=_stack(text, language, config.mdlm.lora.dropout),
        vision=_stack(vision, llava.model.vision_tower, 0.0, gated=False),
        patches=side**2 + 1,
        vision_trained=_is_trained(llava.model.vision_tower),
        # several tiles: the whole image, its tiles, and one separator a row of cells
        image_tokens={"one": side**2, "several": tiles * side**2 + round((tiles - 1) ** 0.5) * side},
        tiles={"one": 1, "several": tiles},
        vocabulary=0,
        segmenter=_segmenter(model, config.mdlm, text.hidden_size),
        batch=config.loop.batch_size,
        micro_batch=config.loop.batch_size,
        steps=config.loop.steps,
        epochs=None,
        configured_tiles="one" if config.mdlm.llava.image_tiles is ImageTiles.base else "several",
    )


def eddm_blueprint(config: EDDMConfig, *, slices: int) -> Blueprint:
    """The EDDM's training through ms-swift: LoRA on the matrices that the configuration names."""
    model, source = eddm_shape(config)
    if isinstance(model, MiniCPMVShape):
        core: Any = model
        text, vision = core.llm.config, core.vpm.config
        language, tower = core.llm.model, core.vpm
    else:
        core = model
        text, vision = core.config.text_config, core.config.vision_config
        language, tower = core.model.language_model, core.model.vision_tower
    lora = config.lora
    targets = lora.target_regex or _all_matrices(model, language, tower, lora.freeze_vit)
    adapter = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    model.requires_grad_(False)
    with torch.device("meta"):
        get_peft_model(model, adapter)  # type: ignore[arg-type]  # adapts the modules in place
    number = 4 if config.model.torch_dtype == "float32" else 2
    side = vision.image_size // vision.patch_size if config.optim.image_size else 448 // vision.patch_size
    queries = core.config["query_num"] if isinstance(model, MiniCPMVShape) else side**2 // 16
    many = 1 + (0 if config.optim.image_size else slices)
    total = config.optim.total_batch
    return Blueprint(
        name="EDDM",
        source=source,
        **_parameters(model, language, weights=number, weights_of=""),
        embedding_bytes=0,
        weights=number,
        number=number,
        language=_stack(text, language, lora.dropout),
        vision=_stack(vision, tower, 0.0, gated=False),
        patches=side**2,
        vision_trained=_is_trained(tower),
        image_tokens={"one": queries, "several": many * queries},
        tiles={"one": 1, "several": many},
        vocabulary=text.vocab_size,
        segmenter=None,
        batch=total,
        micro_batch=config.optim.batch_size,
        steps=config.optim.max_steps if config.optim.max_steps > 0 else None,
        epochs=None if config.optim.max_steps > 0 else config.optim.epochs,
        configured_tiles="several" if many > 1 else "one",
    )


def mdlm_shape(config: TrainMDLMConfig) -> tuple[MDLM, str]:
    """The MDLM as training builds it, on the meta device, and where its sizes come from."""
    sam = build_sam_shape(config.mdlm.sam)
    llava: Any = build_llava_shape(architecture(config.mdlm.llava.path))
    seg_id = llava.config.text_config.vocab_size - 1
    with torch.device("meta"):
        return build_mdlm(llava, seg_id, sam, config.mdlm), config.mdlm.llava.path


def eddm_shape(config: EDDMConfig) -> tuple[nn.Module, str]:
    """The EDDM's base without weights, and where its sizes come from."""
    values = architecture(config.model.id)
    note = ", sizes from transformers' SigLIP and Qwen2" if values.get("model_type") == "minicpmv" else ""
    return build_chat_shape(values), config.model.id + note


def _parameters(model: nn.Module, language: nn.Module, *, weights: int, weights_of: str) -> dict[str, int]:
    """Counts of parameters; frozen ones outside `weights_of` (SAM) are float32."""
    named = list(model.named_parameters())
    frozen = [(name, parameter.numel()) for name, parameter in named if not parameter.requires_grad]
    matrices = [module for module in language.modules() if isinstance(module, nn.Linear)]
    return {
        "total": sum(parameter.numel() for _, parameter in named),
        "trainable": sum(parameter.numel() for _, parameter in named if parameter.requires_grad),
        "quantizable": sum(module.weight.numel() for module in matrices if not module.weight.requires_grad),
        "largest": max(module.weight.numel() for module in matrices),
        "frozen_bytes": sum(count * (weights if name.startswith(weights_of) else 4) for name, count in frozen),
    }


def _stack(config: Any, module: nn.Module, dropout: float, *, gated: bool = True) -> Stack:
    """Reads a stack off its config and its (possibly adapted) module."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    linears = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear)}
    firsts = {name: part for name, part in linears.items() if ".lora_A." in name}
    owners = {name.split(".lora_A.")[0]: part for name, part in firsts.items()}
    shared = {}
    for name, part in owners.items():
        parent, _, leaf = name.rpartition(".")
        shared[parent, SHARED_INPUT.get(leaf, leaf)] = part.in_features
    return Stack(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        query=config.num_attention_heads * head,
        heads=config.num_attention_heads,
        mlp=config.intermediate_size,
        gated=gated,
        matrices=sum(part.weight.numel() for name, part in linears.items() if ".lora_" not in name),
        adapted=sum(part.in_features for part in owners.values()),
        adapted_shared=sum(shared.values()),
        ranks=sum(part.out_features for part in owners.values()),
        dropout=dropout > 0,
    )


def _segmenter(model: MDLM, config: MDLMConfig, text_width: int) -> Segmenter:
    sam = config.sam
    encoder = model.sam.image_encoder
    matrices = sum(part.weight.numel() for part in encoder.modules() if isinstance(part, nn.Linear | nn.Conv2d))
    decoder = model.sam.mask_decoder
    return Segmenter(
        cells=sam.image_size // sam.patch_size,
        width=sam.width,
        depth=sam.depth,
        heads=sam.heads,
        window=sam.window,
        global_layers=len(sam.global_layers) if sam.window else sam.depth,
        relative=sam.relative_positions,
        fused=sam.attention is SamAttention.sdpa,
        matrices=matrices,
        channels=sam.channels,
        decoder_heads=sam.decoder_heads,
        decoder_matrices=sum(p.numel() for p in decoder.parameters() if p.requires_grad),
        dam=config.dam.enabled,
        text_width=text_width,
        encoder_trained=_is_trained(encoder),
    )


def _is_trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _all_matrices(model: nn.Module, language: nn.Module, tower: nn.Module, freeze_vit: bool) -> str:
    """What ms-swift adapts by default: the linear layers of the language model, and of the tower if it is trained."""
    parts = [language] if freeze_vit else [language, tower]
    inside = {id(module) for part in parts for module in part.modules() if isinstance(module, nn.Linear)}
    names = [re.escape(name) for name, module in model.named_modules() if id(module) in inside]
    return "|".join(names)

"""The two trainings in numbers, read off models without weights: parameters, tokens, batch, and a step's footprint."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from models.mdlm.llava import ImageTiles
from models.mdlm.model import MDLM, build_mdlm
from models.weights.shapes import MiniCPMVShape, architecture, build_chat_shape, build_llava_shape, build_sam_shape
from train.eddm.config import EDDMConfig
from train.engine.launch import MixedPrecision
from train.mdlm.config import TrainMDLMConfig
from train.plan.footprint import Footprint, eddm_footprint, mdlm_footprint

NUMBERS = {MixedPrecision.no: None, MixedPrecision.fp16: torch.float16, MixedPrecision.bf16: torch.bfloat16}


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
        weights: Bytes of a frozen weight of the language model.
        image_tokens: Image tokens of a row, with one tile and with several.
        batch: Rows (images) a step, over all GPUs.
        micro_batch: Most rows that one GPU takes at a time.
        steps: Steps that the configuration asks for; None leaves it to the epochs.
        epochs: Passes over the data; None where steps are given.
        configured_tiles: Which of the two cases the training runs as configured.
        measure: Rows of one GPU, tokens of a row beside the image, `one` or `several` tiles, and whether layers are
            computed again in the backward pass, to what a step needs.
    """

    name: str
    source: str
    total: int
    trainable: int
    quantizable: int
    largest: int
    frozen_bytes: int
    weights: int
    image_tokens: dict[str, int]
    batch: int
    micro_batch: int
    steps: int | None
    epochs: float | None
    configured_tiles: str
    measure: Callable[[int, int, str, bool], Footprint]


def mdlm_blueprint(config: TrainMDLMConfig) -> Blueprint:
    """The MDLM's training: the model that training builds, without its weights."""
    model, source = mdlm_shape(config)
    llava = model.llava.llava
    side = llava.config.vision_config.image_size // llava.config.vision_config.patch_size
    grid = max(height * width for height, width in llava.config.image_grid_pinpoints)
    tiles = max(1, grid // llava.config.vision_config.image_size**2)

    def measure(rows: int, text_tokens: int, tiles: str, checkpointing: bool) -> Footprint:
        part = replace(config, mdlm=replace(config.mdlm, gradient_checkpointing=checkpointing))
        return mdlm_footprint(
            mdlm_shape(part)[0],
            rows=rows,
            text_tokens=text_tokens,
            anyres=tiles == "several",
            number=NUMBERS[config.loop.precision],
            loss=config.loss,
        )

    return Blueprint(
        name="MDLM",
        source=source,
        **_parameters(model, llava.model.language_model),
        # several tiles: the whole image, its tiles, and one separator a row of cells
        image_tokens={"one": side**2, "several": (1 + tiles) * side**2 + round(tiles**0.5) * side},
        batch=config.loop.batch_size,
        micro_batch=config.loop.batch_size,
        steps=config.loop.steps,
        epochs=None,
        configured_tiles="one" if config.mdlm.llava.image_tiles is ImageTiles.base else "several",
        measure=measure,
    )


def eddm_blueprint(config: EDDMConfig, *, slices: int) -> Blueprint:
    """The EDDM's training through ms-swift: LoRA on the matrices that the configuration names.

    Args:
        config: The training.
        slices: Most tiles of an image beside the whole of it; none where the training resizes its images.
    """
    model, source, language = eddm_shape(config)
    core: Any = model
    vision = core.vpm.config if isinstance(model, MiniCPMVShape) else core.config.vision_config
    side = (448 if config.optim.image_size is None else vision.image_size) // vision.patch_size
    queries = core.config["query_num"] if isinstance(model, MiniCPMVShape) else side**2 // 16
    tiles = {"one": 1, "several": 1 + (slices if config.optim.image_size is None else 0)}
    number = None if config.model.torch_dtype == "float32" else getattr(torch, config.model.torch_dtype)

    def measure(rows: int, text_tokens: int, case: str, checkpointing: bool) -> Footprint:
        model, _, _ = eddm_shape(config)
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        adapted = adapt(model, config)
        return eddm_footprint(adapted, rows=rows, tiles=tiles[case], text_tokens=text_tokens, side=side, number=number)

    adapt(model, config)
    return Blueprint(
        name="EDDM",
        source=source,
        **_parameters(model, language),
        image_tokens={case: count * queries for case, count in tiles.items()},
        batch=config.optim.total_batch,
        micro_batch=config.optim.batch_size,
        steps=config.optim.max_steps if config.optim.max_steps > 0 else None,
        epochs=None if config.optim.max_steps > 0 else config.optim.epochs,
        configured_tiles="several" if tiles["several"] > 1 else "one",
        measure=measure,
    )


def mdlm_shape(config: TrainMDLMConfig) -> tuple[MDLM, str]:
    """The MDLM as training builds it, on the meta device in its number formats, and where its sizes come from."""
    sam = build_sam_shape(config.mdlm.sam)
    llava: Any = build_llava_shape(architecture(config.mdlm.llava.path))
    llava = llava.to(getattr(torch, config.mdlm.llava.precision.value))
    seg_id = llava.config.text_config.vocab_size - 1
    with torch.device("meta"):
        return build_mdlm(llava, seg_id, sam, config.mdlm), config.mdlm.llava.path


def eddm_shape(config: EDDMConfig) -> tuple[nn.Module, str, nn.Module]:
    """The EDDM's base on the meta device in its number format, where its sizes come from, and its language model."""
    values = architecture(config.model.id)
    note = ", sizes from transformers' SigLIP and Qwen2" if values.get("model_type") == "minicpmv" else ""
    model = build_chat_shape(values).to(getattr(torch, config.model.torch_dtype))
    core: Any = model
    return (
        model,
        config.model.id + note,
        core.llm.model if isinstance(model, MiniCPMVShape) else core.model.language_model,
    )


def adapt(model: nn.Module, config: EDDMConfig) -> nn.Module:
    """The EDDM with its adapter, on the meta device."""
    core: Any = model
    own = isinstance(model, MiniCPMVShape)
    parts = [core.llm.model if own else core.model.language_model]
    if not config.lora.freeze_vit:
        parts.append(core.vpm if own else core.model.vision_tower)
    settings = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.target_regex or _all_matrices(model, parts),
    )
    model.requires_grad_(False)
    with torch.device("meta"):
        return get_peft_model(model, settings)  # type: ignore[arg-type]  # adapts the modules in place


def _parameters(model: nn.Module, language: nn.Module) -> dict[str, int]:
    """Counts of parameters and bytes."""
    parameters = list(model.parameters())
    matrices = [module.weight for module in language.modules() if isinstance(module, nn.Linear)]
    frozen = [weight for weight in matrices if not weight.requires_grad]
    return {
        "total": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "quantizable": sum(weight.numel() for weight in frozen),
        "largest": max(weight.numel() for weight in matrices),
        "frozen_bytes": sum(parameter.nbytes for parameter in parameters if not parameter.requires_grad),
        "weights": frozen[0].element_size(),
    }


def _all_matrices(model: nn.Module, parts: list[nn.Module]) -> str:
    """What ms-swift adapts by default: the linear layers of the language model, and of the tower if it is trained."""
    inside = {id(module) for part in parts for module in part.modules() if isinstance(module, nn.Linear)}
    names = [re.escape(name) for name, module in model.named_modules() if id(module) in inside]
    return "|".join(names)

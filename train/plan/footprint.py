"""What one step needs, measured on the real models with fake tensors: activations, peak, operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen3_5 import modeling_qwen3_5

from models.mdlm.model import MDLM
from models.mdlm.processor import GroundingBatch
from models.weights.shapes import MiniCPMVShape
from train.mdlm.losses import LossConfig, mask_loss
from train.plan.meter import Meter, Saved, fake_weights


@dataclass(frozen=True, slots=True)
class Footprint:
    """One step of one device.

    Attributes:
        saved: Bytes that autograd keeps for the backward pass.
        peak: Most bytes alive at once beside the weights, the gradients of the trained ones included.
        flops: Floating-point operations.
    """

    saved: int
    peak: int
    flops: int


def measure_step(model: nn.Module, loss: Callable[[], Tensor], number: torch.dtype | None) -> Footprint:
    """Runs a step forward and backward.

    Args:
        model: With real weights on the CPU, or inside `fake_weights`.
        loss: Makes a batch and runs forward.
        number: Format of the forward pass under autocast; None leaves it to the weights.
    """
    model.train()
    meter = Meter()
    meter.add([*model.parameters(), *model.buffers()])
    held = meter.now
    with meter:
        with Saved(model) as saved, torch.autocast("cpu", dtype=number, enabled=number is not None):
            total = loss()
        if total.requires_grad:
            total.backward()
    return Footprint(saved.total, meter.peak - held, meter.flops)


def mdlm_footprint(
    model: MDLM, *, rows: int, text_tokens: int, anyres: bool, number: torch.dtype | None, loss: LossConfig
) -> Footprint:
    """A step of the MDLM, built on the meta device; its weights are fake afterwards."""

    def run() -> Tensor:
        batch = grounding_batch(model, rows, text_tokens, anyres=anyres)
        return mask_loss(model(batch), batch.masks, batch.valid, loss).total

    with fake_weights(model):
        return measure_step(model, run, number)


def eddm_footprint(
    model: Any, *, rows: int, tiles: int, text_tokens: int, side: int, number: torch.dtype | None
) -> Footprint:
    """A step of the EDDM's language loss, built on the meta device; its weights are fake afterwards.

    A tile is seen by itself, so one is measured and multiplied. Linear attention is taken to run fused, as with
    flash-linear-attention: transformers' stand-in for machines without it keeps several times as much.

    Args:
        model: With its adapter.
        rows: Rows (images).
        tiles: Tiles of an image, of `side` × `side` patches.
        text_tokens: Tokens beside the image; the loss is taken over all tokens, as logits are.
        side: Patches along a tile's side.
        number: Format of the forward pass under autocast.
    """
    core, count = model.get_base_model(), rows * tiles
    with fake_weights(model), patch.object(modeling_qwen3_5, "torch_chunk_gated_delta_rule", _fused_linear_attention):
        tile = measure_step(model, lambda: _look(core, side).sum(), number)
        language = measure_step(model, lambda: _language_loss(model, rows, tiles, text_tokens, side), number)
    return Footprint(
        language.saved + count * tile.saved,
        max(count * tile.peak, language.peak + count * tile.saved),
        language.flops + count * tile.flops,
    )


def grounding_batch(model: MDLM, rows: int, text_tokens: int, *, anyres: bool = False) -> GroundingBatch:
    """A batch of noise: one prompt an image, its image tokens, then its text, [SEG] last.

    Args:
        model: Gives the sizes.
        rows: Images.
        text_tokens: Tokens beside the image, [SEG] included.
        anyres: Cuts the largest image that LLaVA-NeXT's grid takes, instead of one tile an image.
    """
    llava = model.llava.llava.config
    side = llava.vision_config.image_size
    height, width = max(llava.image_grid_pinpoints, key=lambda size: size[0] * size[1])
    tiles = 1 + height * width // side**2
    patches = side // llava.vision_config.patch_size
    image = tiles * patches**2 + height // side * patches if anyres else patches**2  # a separator closes each row
    word = next(number for number in range(3, 9) if number not in (llava.image_token_id, model.llava.seg_id))
    ids = torch.tensor([[llava.image_token_id] * image + [word] * (text_tokens - 1) + [model.llava.seg_id]] * rows)
    size, masks = model.sam.image_size, model.sam.mask_size
    batch = GroundingBatch(
        ids=[str(row) for row in range(rows)],
        pixels=torch.randint(256, (rows, 3, size, size), dtype=torch.uint8),
        tiles=torch.randint(256, (rows, 3, side, side), dtype=torch.uint8),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        image_index=torch.arange(rows),
        row_image=torch.arange(rows),
        masks=(torch.rand(rows, masks, masks) > 0.9).float(),
        valid=torch.ones(rows, masks, masks),
    )
    if not anyres:
        return batch
    return replace(
        batch, tiles=torch.randn(rows, tiles, 3, side, side), tile_sizes=torch.tensor([[height, width]] * rows)
    )


def _look(core: Any, side: int) -> Tensor:
    """The tokens of one tile of noise, (queries, width); a frozen tower runs without gradients, as in ms-swift."""
    with torch.set_grad_enabled(_trains_tower(core)):
        return _tokens(core, side)


def _trains_tower(core: Any) -> bool:
    tower = core.vpm if isinstance(core, MiniCPMVShape) else core.model.vision_tower
    return any(parameter.requires_grad for parameter in tower.parameters())


def _tokens(core: Any, side: int) -> Tensor:
    if isinstance(core, MiniCPMVShape):
        pixels = side * core.config["vision_config"]["patch_size"]
        return core.look(torch.randn(1, 3, pixels, pixels))[0]
    height = core.config.vision_config.patch_size
    sizes = torch.tensor([[side, side]])
    return core.get_image_features(torch.randn(1, 3, height, side**2 * height), sizes).pooler_output[0]


def _language_loss(model: Any, rows: int, tiles: int, text_tokens: int, side: int) -> Tensor:
    """The loss of rows that start with their tiles' tokens; every token has a label."""
    core = model.get_base_model()
    own = isinstance(core, MiniCPMVShape)
    if not own and core.config.image_token_id is None:  # a table of sizes does not name it
        core.config.image_token_id = 0
    image = 0 if own else core.config.image_token_id
    count = tiles * (core.config["query_num"] if own else side**2 // 16)
    ids = torch.tensor([[image] * count + [image + 1] * text_tokens] * rows)
    width = core.config["hidden_size"] if own else core.config.text_config.hidden_size
    seen = torch.randn(rows * count, width, requires_grad=_trains_tower(core))
    images: dict[str, Any] = {"images": seen}
    if not own:
        images = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=[seen])}, "use_cache": False}  # type: ignore[arg-type]
    return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids, **images).loss


def _fused_linear_attention(query: Tensor, key: Tensor, value: Tensor, **_: Any) -> tuple[Tensor, None]:
    """What a fused kernel keeps: its inputs and its result, (B, T, H, d)."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    read = functional.scaled_dot_product_attention(query, key, value)
    return read.transpose(1, 2), None

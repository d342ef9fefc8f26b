"""One real training step beside its prediction: on a GPU at any size, on a CPU at the tiny one.

On a GPU the peak is what torch's allocator counts. On a CPU there is no such counter: `LiveBytes` adds up the storages
that are alive after each operation.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from data.errors import UserError
from models.mdlm.model import MDLM
from models.mdlm.processor import GroundingBatch
from train.engine.launch import MixedPrecision
from train.engine.optim import build_optimizer
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.losses import mask_loss
from train.plan.blueprint import Blueprint, mdlm_shape
from train.plan.options import GIB, Strategy, predict_memory

CPU_LIMIT = 50_000_000  # parameters that a CPU steps through in seconds


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations inside the block create, and their peak.

    Attributes:
        now: Bytes alive.
        peak: The most that were alive after an operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def add(self, tensors: Any) -> None:
        """Counts storages that existed before the block, such as parameters."""
        for tensor in tree_iter(tensors):
            if isinstance(tensor, Tensor):
                self._count(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs an operation and counts what it made."""
        results = func(*args, **(kwargs or {}))
        self.add(results)
        self.peak = max(self.peak, self.now)
        return results

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._seen:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.now += size
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def measure_mdlm(config: TrainMDLMConfig, blueprint: Blueprint, *, text_tokens: int) -> dict[str, Any]:
    """Runs a step of the MDLM with random weights on one device: all of the batch, DDP's settings, no checkpointing.

    Raises:
        UserError: If there is no GPU and the model is not a tiny one, or the GPU's memory does not suffice.
    """
    on_gpu = torch.cuda.is_available()
    if not on_gpu and blueprint.total > CPU_LIMIT:
        raise UserError(
            f"measure=true needs a GPU for {blueprint.total / 1e9:.1f} billion parameters, and there is none here. "
            "Leave measure out, or measure preset=tiny."
        )
    device = torch.device("cuda" if on_gpu else "cpu")
    rows = blueprint.batch
    length = blueprint.image_tokens["one"] + text_tokens
    predicted = predict_memory(
        blueprint, Strategy.ddp, gpus=1, rows=rows, length=length, tiles="one", checkpointing=False
    ).peak
    try:
        measured = _measure(config, rows, text_tokens, device)
    except torch.cuda.OutOfMemoryError as error:
        need = f"{predicted / GIB:.1f} GiB predicted"
        raise UserError(f"The step does not fit this GPU ({need}). Lower mdlm.loop.batch_size.") from error
    name = torch.cuda.get_device_name(device) if on_gpu else "the CPU"
    return {
        "device": name,
        "setting": f"one device, {rows} images of {length} tokens, no checkpointing",
        "predicted_gib": predicted / GIB,
        "measured_gib": measured / GIB,
    }


def _measure(config: TrainMDLMConfig, rows: int, text_tokens: int, device: torch.device) -> int:
    """Peak bytes of the second step: from then on the optimizer's moments exist."""
    model = materialise(config, device).train()
    batch = random_batch(model, rows, text_tokens, device)
    optimizer = build_optimizer(model.parameters(), config.loop.optim)
    mixed = config.loop.precision is not MixedPrecision.no
    number = torch.float16 if config.loop.precision is MixedPrecision.fp16 else torch.bfloat16

    def step() -> None:
        with torch.autocast(device.type, dtype=number, enabled=mixed):
            loss = mask_loss(model(batch), batch.masks, batch.valid, config.loss).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    live = LiveBytes()
    live.add([*model.parameters(), *model.buffers(), optimizer.state_dict()["state"]])
    with live:
        step()
    return live.peak


def materialise(config: TrainMDLMConfig, device: torch.device) -> MDLM:
    """The planned MDLM with small random weights in the formats that training has them in."""
    model, _ = mdlm_shape(config)
    number = getattr(torch, config.mdlm.llava.precision.value)
    for name, parameter in model.named_parameters():
        if name.startswith("llava.") and not parameter.requires_grad:
            parameter.data = parameter.data.to(number)  # still on the meta device
    model.to_empty(device=device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02)
    for module in model.modules():  # buffers that are computed, not loaded
        frequencies = getattr(module, "inv_freq", None)
        if isinstance(frequencies, Tensor):
            frequencies.fill_(0.01)
        places = getattr(module, "position_ids", None)
        if isinstance(places, Tensor):
            places.copy_(torch.arange(places.shape[-1], device=device).expand_as(places))
        gaussian = getattr(module, "positional_encoding_gaussian_matrix", None)
        if isinstance(gaussian, Tensor):
            gaussian.normal_()
    return model


def random_batch(model: MDLM, rows: int, text_tokens: int, device: torch.device) -> GroundingBatch:
    """A batch of noise: one prompt an image, its image tokens, then its text, [SEG] last."""
    llava = model.llava.llava.config
    side = llava.vision_config.image_size
    patches = (side // llava.vision_config.patch_size) ** 2
    word = next(number for number in range(3, 9) if number not in (llava.image_token_id, model.llava.seg_id))
    text = torch.full((rows, text_tokens - 1), word)
    image = torch.full((rows, patches), llava.image_token_id)
    seg = torch.full((rows, 1), model.llava.seg_id)
    ids = torch.cat([image, text, seg], 1)
    size, masks = model.sam.image_size, model.sam.mask_size
    return GroundingBatch(
        ids=[str(row) for row in range(rows)],
        pixels=torch.randn(rows, 3, size, size),
        tiles=torch.randn(rows, 3, side, side),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        image_index=torch.arange(rows),
        row_image=torch.arange(rows),
        masks=(torch.rand(rows, masks, masks) > 0.9).float(),
        valid=torch.ones(rows, masks, masks),
    ).to(device)

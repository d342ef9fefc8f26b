"""One real training step beside its prediction: on a GPU at any size, on a CPU at the tiny one.

On a GPU the peak is what torch's allocator counts. On a CPU there is no such counter: `train.plan.meter` adds up the
storages that are alive after each operation.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from data.errors import UserError
from train.engine.optim import build_optimizer
from train.mdlm.config import TrainMDLMConfig
from train.mdlm.losses import mask_loss
from train.plan.blueprint import NUMBERS, Blueprint, mdlm_shape
from train.plan.footprint import grounding_batch
from train.plan.meter import Meter
from train.plan.options import GIB, Strategy, predict_memory

CPU_LIMIT = 50_000_000  # parameters that a CPU steps through in seconds


def check_measurable(blueprint: Blueprint) -> None:
    """Refuses what no device here can run.

    Raises:
        UserError: If there is no GPU and the model is not a tiny one.
    """
    if not torch.cuda.is_available() and blueprint.total > CPU_LIMIT:
        raise UserError(
            f"measure=true needs a GPU for {blueprint.total / 1e9:.1f} billion parameters, and there is none here. "
            "Leave measure out, or measure preset=tiny."
        )


def measure_mdlm(config: TrainMDLMConfig, blueprint: Blueprint, *, text_tokens: int) -> dict[str, Any]:
    """Runs a step of the MDLM with random weights on one device: all of the batch, DDP's settings, no checkpointing.

    Raises:
        UserError: If the GPU's memory does not suffice.
    """
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    rows = blueprint.batch
    length = blueprint.image_tokens["one"] + text_tokens
    step = blueprint.measure(rows, text_tokens, "one", False)
    predicted = predict_memory(blueprint, Strategy.ddp, step, gpus=1).peak
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
    model, _ = mdlm_shape(config)
    materialise(model, device)
    model.train()
    batch = grounding_batch(model, rows, text_tokens).to(device)
    optimizer = build_optimizer(model.parameters(), config.loop.optim)
    number = NUMBERS[config.loop.precision]

    def step() -> None:
        with torch.autocast(device.type, dtype=number, enabled=number is not None):
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
    meter = Meter()
    meter.add([*model.parameters(), *model.buffers(), optimizer.state_dict()["state"]])
    meter.add([getattr(batch, field.name) for field in fields(batch)])
    with meter:
        step()
    return meter.peak


def materialise(model: nn.Module, device: torch.device) -> None:
    """Gives a model on the meta device small random weights on another one, in the formats that it has them in."""
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

"""The training loop: accelerate, clipped AdamW, a log row per step, atomic checkpoints, bit-exact resume.

What a step sees is a pure function of (seed, step): the items by `StepBatches`, their augmentation by (seed, epoch,
index), the learning rate by `lr_factor`. So a checkpoint is: trainable weights, optimizer, random states, step.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.batches import MixedDataset, StepBatches
from data.errors import UserError
from data.files import make_dir, read_json, write_json
from train.optim import OptimConfig, build_optimizer, lr_factor
from train.tracking import Tracker, TrackingConfig

log = logging.getLogger(__name__)


class MixedPrecision(StrEnum):
    """Number format of the forward pass; trained weights stay float32."""

    no = "no"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass(kw_only=True, slots=True)
class LoopConfig:
    """How long and how to train.

    Attributes:
        steps: Optimizer steps.
        batch_size: Images per step, over all processes.
        optim: Optimizer and schedule.
        precision: Number format of the forward pass.
        checkpoint_every: Steps between checkpoints; the last one is kept.
        workers: Data-loading processes; 0 loads in this one.
    """

    steps: int = 200
    batch_size: int = 8
    optim: OptimConfig = field(default_factory=OptimConfig)
    precision: MixedPrecision = MixedPrecision.no
    checkpoint_every: int = 50
    workers: int = 0


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The loss of a batch, and its parts for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def fit(
    model: nn.Module,
    dataset: MixedDataset,
    *,
    collate: Callable[[list[Any]], Any],
    loss: Callable[[Any, Any], StepLoss],
    config: LoopConfig,
    tracking: TrackingConfig,
    folder: Path,
    name: str,
    seed: int,
    fingerprint: str,
    settings: dict[str, Any] | None = None,
) -> None:
    """Trains the parameters of `model` that require a gradient, from the last checkpoint if there is one.

    Args:
        model: The model, on the CPU; trained in place.
        dataset: Training items; their parts add up to `config.batch_size`.
        collate: Items to a batch; it has `ids` and `to(device)`.
        loss: The model (as accelerate wraps it) and a batch to the loss.
        config: How long and how to train.
        tracking: How progress is shown.
        folder: Gets `log.jsonl` and, while training, `checkpoints/`.
        name: For the progress lines.
        seed: Seed of the order of the items.
        fingerprint: Identifies the run; a checkpoint with another one is thrown away.
        settings: Configuration for the tracker.

    Raises:
        UserError: If the loss stops being finite; the message names the images.
    """
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    accelerator = Accelerator(
        mixed_precision=config.precision.value,
        dataloader_config=DataLoaderConfiguration(split_batches=True),
    )
    began = time.process_time()
    optimizer = build_optimizer(model.parameters(), config.optim)
    register_trainable_only(accelerator)
    checkpoints = folder / "checkpoints"
    start = find_step(checkpoints, fingerprint)
    batches = StepBatches(dataset.parts, seed=seed, start=start, stop=config.steps)
    if batches.batch_size != config.batch_size:
        raise UserError(f"The parts of a batch add up to {batches.batch_size}, not to batch_size={config.batch_size}.")
    loader: DataLoader = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=config.workers,
        generator=torch.Generator().manual_seed(seed),
    )
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if start:
        accelerator.load_state(str(checkpoints / f"step-{start:06d}"))
        log.info("%s: resuming after step %d", name, start)
    main = accelerator.is_main_process
    tracker = (
        Tracker(folder / "log.jsonl", start=start, steps=config.steps, name=name, config=tracking, settings=settings)
        if main
        else None
    )
    model.train()
    for step, batch in enumerate(loader, start + 1):
        lr = config.optim.lr * lr_factor(step - 1, config.steps, config.optim)
        for group in optimizer.param_groups:
            group["lr"] = lr
        with accelerator.autocast():
            step_loss = loss(model, batch)
        total = float(accelerator.reduce(step_loss.total.detach(), "mean"))
        if not math.isfinite(total):
            raise UserError(
                f"{name}: the loss is {total} at step {step}, on {', '.join(batch.ids)}. "
                "Check these images and masks, or lower optim.lr; then run the same command again."
            )
        accelerator.backward(step_loss.total)
        accelerator.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), config.optim.clip)
        optimizer.step()
        optimizer.zero_grad()
        parts = {key: float(accelerator.reduce(value.detach(), "mean")) for key, value in step_loss.parts.items()}
        if tracker:
            tracker.add(step, loss=total, **parts, lr=lr)
        if step % config.checkpoint_every == 0 or step == config.steps:
            if tracker:
                tracker.flush()
            save_checkpoint(accelerator, checkpoints, step, fingerprint)
    if tracker:
        tracker.close()
    log.info("%s: done, %.0f s of CPU time", name, time.process_time() - began)
    model.eval()
    accelerator.free_memory()


def register_trainable_only(accelerator: Accelerator) -> None:
    """Makes checkpoints hold trainable parameters only: the frozen ones come from the base checkpoints."""

    def save(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        for number, model in enumerate(models):
            if accelerator.is_main_process:
                save_file(
                    trainable_state(accelerator.unwrap_model(model)), Path(folder) / f"trained-{number}.safetensors"
                )
        weights.clear()

    def load(models: list[nn.Module], folder: str) -> None:
        for number, model in enumerate(models):
            load_trainable(accelerator.unwrap_model(model), load_file(Path(folder) / f"trained-{number}.safetensors"))
        models.clear()

    accelerator.register_save_state_pre_hook(save)
    accelerator.register_load_state_pre_hook(load)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Trainable parameters by name, on the CPU."""
    return {n: p.detach().cpu().contiguous().clone() for n, p in model.named_parameters() if p.requires_grad}


def load_trainable(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copies parameters by name; both sides must have the same trainable names."""
    targets = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if targets.keys() != state.keys():
        raise UserError(f"The checkpoint's parameters differ: {sorted(targets.keys() ^ state.keys())[:3]} …")
    with torch.no_grad():
        for name, parameter in targets.items():
            parameter.copy_(state[name])


def find_step(checkpoints: Path, fingerprint: str) -> int:
    """Step of the newest complete checkpoint of this very run; 0 if there is none. Others are removed."""
    for folder in sorted(checkpoints.glob("step-*"), reverse=True):
        progress = folder / "progress.json"
        if progress.is_file() and read_json(progress)["fingerprint"] == fingerprint:
            return int(read_json(progress)["step"])
        log.info("Leaving out the checkpoint %s: it belongs to other settings or data.", folder)
    return 0


def save_checkpoint(accelerator: Accelerator, checkpoints: Path, step: int, fingerprint: str) -> None:
    """Writes `step-<step>/` beside the others under a temporary name, renames it, then removes the others."""
    final, temporary = checkpoints / f"step-{step:06d}", checkpoints / "writing"
    if accelerator.is_main_process:
        make_dir(checkpoints)
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_json(temporary / "progress.json", {"step": step, "fingerprint": fingerprint})
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        for other in checkpoints.glob("step-*"):
            if other != final:
                shutil.rmtree(other)
    accelerator.wait_for_everyone()

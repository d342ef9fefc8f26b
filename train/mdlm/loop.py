"""The training loop: accelerate, clipped AdamW, a log row per step, checkpoints, bit-exact resume, any number of ranks.

What a step sees is a pure function of (seed, step): the items by `StepBatches`, their augmentation by (seed, epoch,
index), the learning rate by `lr_factor`. So a checkpoint is: trainable weights, optimizer, random states, step.
A batch is split among the ranks, so that the batch and the learning rate of the configuration hold for all of them.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from data.errors import UserError
from data.processes.lifeline import end_with_parent
from data.training.batches import MixedDataset, StepBatches
from train.engine import ranks
from train.engine.checkpoint import (
    Progress,
    check_disk,
    find_progress,
    load_checkpoint,
    register_trainable_only,
    save_checkpoint,
)
from train.engine.guard import LossGuard, stop_on
from train.engine.identity import Identity
from train.engine.launch import MixedPrecision, optimizer_bytes, start_accelerator
from train.engine.manifest import Keep
from train.engine.optim import build_optimizer, lr_factor
from train.engine.preflight import audit, check_in_step, check_same
from train.engine.stop import Stop, ignore_stop, stopping
from train.engine.tracking import Tracker
from train.mdlm.config import LoopConfig, RunConfig
from train.mdlm.pictures import draw_masks

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The loss of a batch, its parts for the log, and the mask logits (N, M, M) for pictures, if there are any."""

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor | None = None


def fit(
    model: nn.Module,
    dataset: MixedDataset,
    *,
    collate: Callable[[list[Any]], Any],
    loss: Callable[[Any, Any], StepLoss],
    config: LoopConfig,
    run: RunConfig,
    folder: Path,
    name: str,
    seed: int,
    identity: Identity,
    settings: dict[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> int:
    """Trains the parameters of `model` that require a gradient, from the last checkpoint if there is one.

    Args:
        model: The model, on the CPU; trained in place.
        dataset: Training items; their parts add up to `config.batch_size`.
        collate: Items to a batch; it has `ids` and `to(device)`.
        loss: The model (as accelerate wraps it) and a batch to the loss.
        config: How long and how to train.
        run: Tracking and ranks.
        folder: Gets `log.jsonl`, `tensorboard/` and, while training, `checkpoints/`.
        name: For the progress lines.
        seed: Seed of the order of the items.
        identity: What the stage is made of; only a checkpoint with the same one is gone on from.
        settings: Configuration for the tracker.
        facts: More lines for the audit.

    Returns:
        Bytes of optimizer state that this rank held.

    Raises:
        UserError: If the loss stops being finite or explodes (the message names the images), the ranks disagree, or the
            disk is too small.
        SystemExit: 143 after SIGTERM, when the checkpoint is written.
    """
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    strategy, keep, checkpoints = run.launch.strategy, Keep(config.keep_last, config.keep_best), folder / "checkpoints"
    accelerator = start_accelerator(run.launch, config.precision, batch_size=config.batch_size, clip=config.optim.clip)
    check_same(identity.settings | identity.data, "settings or data")
    precision = config.precision.value
    audit(
        model,
        name=name,
        strategy=strategy.value,
        batch=f"{config.batch_size} a step = {config.batch_size // ranks.world_size()} a rank × {ranks.world_size()}",
        precision=precision if precision != "no" else "as the weights",
        remedy="loop.precision=no mdlm.llava.precision=float32",
        device=accelerator.device,
        facts=facts or {},
    )
    found = ranks.main_decides(lambda: find_progress(checkpoints, identity.fingerprint, strategy=strategy))
    ranks.main_decides(lambda: check_disk(checkpoints, model, keep, key="loop.keep_last"))
    began = time.process_time()
    optimizer = build_optimizer(model.parameters(), config.optim)
    register_trainable_only(accelerator)
    model, optimizer, loader = accelerator.prepare(model, optimizer, _load(dataset, collate, config, seed, found.step))
    if ranks.rank():
        torch.manual_seed(seed + ranks.rank())  # dropout differs among ranks; alone, the generator stays as it is
    if found.step:
        load_checkpoint(accelerator, checkpoints, found.step)
        log.info("%s: resuming after step %d", name, found.step)
    tracker = (
        Tracker(
            folder / "log.jsonl",
            start=found.step,
            steps=config.steps,
            name=name,
            config=run.tracking,
            settings=settings,
        )
        if ranks.is_main()
        else None
    )
    guard = LossGuard(config.explosion, found.losses)
    model.train()
    with stopping() as stop, stop.after_step():
        steps = Steps(accelerator, model, optimizer, loss, config, name, folder, guard, stop, tracker)
        for step, (batch, waited) in enumerate(_timed(loader), found.step + 1):
            last = steps.take(step, batch, waited) or step == config.steps
            if last or step % config.checkpoint_every == 0:
                check_in_step(model)
                if tracker:
                    tracker.flush()
                progress = Progress(step, tuple(guard.losses), guard.smoothed)
                save_checkpoint(
                    accelerator,
                    checkpoints,
                    progress,
                    identity=identity.fingerprint,
                    strategy=strategy,
                    keep=keep,
                )
            if last and step < config.steps:
                if tracker:
                    tracker.close()
                stop.leave(f"{name}, step {step},")
    if tracker:
        tracker.close()
    log.info("%s: done, %.0f s of CPU time", name, time.process_time() - began)
    model.eval()
    held = optimizer_bytes(optimizer)
    accelerator.free_memory()
    return held


@dataclass(slots=True)
class Steps:
    """One optimizer step at a time."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    loss: Callable[[Any, Any], StepLoss]
    config: LoopConfig
    name: str
    folder: Path
    guard: LossGuard
    stop: Stop
    tracker: Tracker | None
    ended: float = field(default_factory=time.perf_counter)

    def take(self, step: int, batch: Any, waited: float) -> bool:
        """Trains on a batch and logs it; whether any rank was asked to stop, which all of them learn at once."""
        config = self.config
        lr = config.optim.lr * lr_factor(step - 1, config.steps, config.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with self.accelerator.autocast():
            step_loss = self.loss(self.model, batch)
        own = [step_loss.total, *step_loss.parts.values()]
        shared = torch.stack(
            [value.detach().float() for value in own] + [own[0].new_tensor(self.stop.requested).float()]
        )
        total, *parts, stop = ranks.mean(shared).tolist()
        if problem := self.guard.judge(total):
            self._refuse(problem, step, batch, float(own[0]))
        self.accelerator.backward(step_loss.total)
        trained = (p for p in self.model.parameters() if p.requires_grad)
        norm = float(self.accelerator.clip_grad_norm_(trained, config.optim.clip) or 0.0)
        if not math.isfinite(norm) and config.precision is not MixedPrecision.fp16:  # fp16's scaler skips such steps
            self._refuse(f"the gradient's norm is {norm}", step, batch, float(own[0]))
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.tracker:
            now = time.perf_counter()
            spent, self.ended = now - self.ended, now
            self.tracker.add(
                step,
                loss=total,
                **dict(zip(step_loss.parts, parts, strict=True)),
                lr=lr,
                grad_norm=norm,
                samples_per_second=round(config.batch_size / spent, 3),
                data_share=round(min(1.0, waited / spent), 4),
                memory_gib=round(peak_memory(self.accelerator.device) / 2**30, 3),
            )
            if step_loss.logits is not None and self.tracker.wants_pictures(step):
                pictures = draw_masks(batch, step_loss.logits, count=self.tracker.pictures)
                self.tracker.add_pictures(step, pictures)
        return stop > 0

    def _refuse(self, problem: str, step: int, batch: Any, loss: float) -> None:
        if self.tracker:
            self.tracker.close()
        stop_on(problem, name=self.name, step=step, ids=batch.ids, loss=loss, folder=self.folder)


def _load(
    dataset: MixedDataset, collate: Callable[[list[Any]], Any], config: LoopConfig, seed: int, start: int
) -> DataLoader:
    batches = StepBatches(dataset.parts, seed=seed, start=start, stop=config.steps, ranks=ranks.world_size())
    if batches.batch_size != config.batch_size:
        raise UserError(f"The parts of a batch add up to {batches.batch_size}, not to batch_size={config.batch_size}.")
    workers: dict[str, Any] = {}
    if config.workers:
        # A fork of this process would inherit the locks of its threads (OpenCV's, torch's) and could wait for ever.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])  # imported once a rank, not once a worker
        workers = {"multiprocessing_context": context, "worker_init_fn": begin_worker}
    return DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=config.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
        **workers,
    )


def begin_worker(number: int) -> None:
    """What a data-loading process does first: one thread, since there is one a core; SIGTERM is not its concern."""
    ignore_stop(number)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    end_with_parent()  # torch's own watch only sees forks of the training


def _timed(loader: Any) -> Iterator[tuple[Any, float]]:
    """The batches, each with the seconds that the loop waited for it."""
    batches = iter(loader)
    while True:
        began = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        yield batch, time.perf_counter() - began


def peak_memory(device: torch.device) -> int:
    """Bytes: the accelerator's peak, or this process's own on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

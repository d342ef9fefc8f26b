"""The loop that every part of the base's training shares: steps, progress, checkpoints to resume from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from train.progress import LogRows

log = logging.getLogger(__name__)
WARMUP = 30
SPEAK_SECONDS = 5.0
Losses = dict[str, tuple[float, Tensor]]  # name → (weight, loss)


class Steps:
    """The optimisation of some modules; every random draw depends on (seed, part, step) only."""

    def __init__(
        self,
        part: str,
        count: int,
        modules: nn.ModuleDict,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        state: Path,
        fingerprint: str,
        seed: int,
        save_every: int,
        log_to: Path,
    ) -> None:
        """Goes on from the state that an interrupted run of the same fingerprint left.

        Args:
            part: Name of the part, as it is logged.
            count: Steps in all.
            modules: What the state holds.
            optimizers: What is stepped; groups keep their peak rate under `peak`.
            state: File to resume from; removed at the end.
            fingerprint: What must agree to resume.
            seed: Seed of the draws.
            save_every: Steps between states.
            log_to: Log file of the part; one row every ten steps.
        """
        self.part, self.count, self.modules, self.optimizers = part, count, modules, optimizers
        self._state, self._fingerprint, self._save_every = state, fingerprint, save_every
        self._log = LogRows(log_to, stage="base")
        self._seed = [seed, *part.encode()]
        self.done = 0
        self._resume()

    def run(
        self, losses: Callable[[np.random.Generator, float], Losses], rates: Callable[[float], Sequence[float]]
    ) -> None:
        """Runs the remaining steps.

        Args:
            losses: Losses of a step, from its random generator and the share of the steps done.
            rates: Factor on the peak rate of each optimizer at a share of the steps.
        """
        running: dict[str, float] = {}
        spoken = time.monotonic()
        while self.done < self.count:
            rng = np.random.default_rng([*self._seed, self.done])
            share = self.done / self.count
            self._set_rates(rates(share))
            values = self._step(losses(rng, share))
            self.done += 1
            running = {name: 0.95 * running.get(name, value) + 0.05 * value for name, value in values.items()}
            if self.done % 10 == 0 or self.done == self.count:
                self._log.add({"part": self.part, "step": self.done, **values})
            if time.monotonic() - spoken > SPEAK_SECONDS or self.done == self.count:
                spoken = time.monotonic()
                text = ", ".join(f"{name} {value:.3f}" for name, value in running.items())
                log.info("EDDM base, %s: step %d of %d, %s", self.part, self.done, self.count, text)
            if self.done % self._save_every == 0 and self.done < self.count:
                self._log.flush()
                self._save()
        self._log.flush()
        self._state.unlink(missing_ok=True)

    def _set_rates(self, factors: Sequence[float]) -> None:
        for optimizer, factor in zip(self.optimizers, factors, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor * min(1.0, (self.done + 1) / WARMUP)

    def _step(self, losses: Losses) -> dict[str, float]:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.stack([weight * loss for weight, loss in losses.values()]).sum().backward()
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        nn.utils.clip_grad_norm_([parameter for group in groups for parameter in group["params"]], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return {name: loss.item() for name, (_, loss) in losses.items()}

    def _save(self) -> None:
        self._state.parent.mkdir(parents=True, exist_ok=True)
        partial = self._state.with_suffix(".partial")
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        modules = self.modules.state_dict()
        torch.save(
            {"fingerprint": self._fingerprint, "step": self.done, "modules": modules, "optimizers": optimizers}, partial
        )
        partial.replace(self._state)

    def _resume(self) -> None:
        if not self._state.is_file():
            return
        state = torch.load(self._state, weights_only=True)
        if state["fingerprint"] != self._fingerprint:
            return
        self.modules.load_state_dict(state["modules"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.done = state["step"]
        log.info("EDDM base, %s: going on from step %d", self.part, self.done)


def make_optimizers(
    module: nn.Module, matrix_lr: float, other_lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices inside a network, AdamW for embeddings, norms, biases and heads."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        inner = parameter.ndim == 2 and "embed" not in name and min(parameter.shape) >= 48
        (matrices if inner else others).append(parameter)
    optimizers = [
        torch.optim.Muon(matrices, lr=matrix_lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw", ns_steps=3),
        torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers

"""The loop that every part of the base's training shares: steps, progress, checkpoints to resume from."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from data.errors import UserError
from data.files import make_dir
from train.engine.durable import check_space
from train.engine.manifest import Keep, Manifest, begin_writing, newest_intact, publish, read_manifest
from train.engine.stop import Stop
from train.engine.tracking import Tracker, TrackingConfig

log = logging.getLogger(__name__)
WARMUP = 30
STATE = "state.pt"  # weights and optimizers
Losses = dict[str, tuple[float, Tensor]]  # name → (weight, loss)


class Steps:
    """The optimisation of a module; every random draw depends on (seed, part, step) only."""

    def __init__(
        self,
        part: str,
        count: int,
        module: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        checkpoints: Path,
        identity: str,
        seed: int,
        save_every: int,
        log_to: Path,
        stop: Stop | None = None,
    ) -> None:
        """Goes on from the newest checkpoint of the same training, if there is one.

        Args:
            part: Name of the part, as it is logged.
            count: Steps in all.
            module: What is trained; the state holds it.
            optimizers: What is stepped; groups keep their peak rate under `peak`.
            checkpoints: Folder of the checkpoints; the caller removes it.
            identity: Fingerprint of the training that they belong to.
            seed: Seed of the draws.
            save_every: Steps between checkpoints.
            log_to: Log of the part; one row every ten steps.
            stop: Whether SIGTERM came; None never ends early.

        Raises:
            UserError: If the checkpoints would not fit on the disk.
        """
        self.part, self.count, self.module, self.optimizers = part, count, module, optimizers
        self._checkpoints, self._identity, self._save_every = checkpoints, identity, save_every
        self._stop = stop or Stop()
        self._seed = [seed, *part.encode()]
        self.done = 0
        self._resume()
        self._tracker = Tracker(
            log_to,
            start=self.done,
            steps=count,
            name=f"EDDM base, {part}",
            config=TrackingConfig(tensorboard=False),
        )
        numbers = sum(value.numel() * value.element_size() for value in self.module.state_dict().values())
        check_space(make_dir(checkpoints), 3 * numbers, what=f"the state of {part}")  # weights, and AdamW's two moments

    def run(
        self, losses: Callable[[np.random.Generator, float], Losses], rates: Callable[[float], Sequence[float]]
    ) -> None:
        """Runs the remaining steps; checkpoints stay, so that nothing is lost before the caller has kept the result.

        Args:
            losses: Losses of a step, from its random generator and the share of the steps done.
            rates: Factor on the peak rate of each optimizer at a share of the steps.

        Raises:
            UserError: If a loss is no number.
            SystemExit: 143 after SIGTERM, when a checkpoint is written.
        """
        with self._stop.after_step():
            self._run(losses, rates)

    def _run(
        self, losses: Callable[[np.random.Generator, float], Losses], rates: Callable[[float], Sequence[float]]
    ) -> None:
        while self.done < self.count:
            rng = np.random.default_rng([*self._seed, self.done])
            share = self.done / self.count
            self._set_rates(rates(share))
            values = self._step(losses(rng, share))
            self._check(values)
            self.done += 1
            if self.done % 10 == 0 or self.done == self.count:
                self._tracker.add(self.done, **values)
            if (self.done % self._save_every == 0 or self._stop.requested) and self.done < self.count:
                self._tracker.flush()
                self._save()
                if self._stop.requested:
                    self._stop.leave(f"EDDM's base, {self.part}, step {self.done}")
        self._tracker.close()

    def _check(self, values: dict[str, float]) -> None:
        if all(math.isfinite(value) for value in values.values()):
            return
        said = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise UserError(
            f"A loss of EDDM's base is no number: {self.part}, step {self.done + 1}: {said}. Its scenes and questions "
            f"follow from the seed, the part and the step. Lower the rates (base.*_lr) and run the same command again."
        )

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
        temporary = begin_writing(self._checkpoints)
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        torch.save({"module": self.module.state_dict(), "optimizers": optimizers}, temporary / STATE)
        manifest = Manifest(identity=self._identity, step=self.done, world=1)
        publish(temporary, manifest, Keep())

    def _resume(self) -> None:
        checkpoint = newest_intact(self._checkpoints, self._identity)
        if checkpoint is None:
            return
        state = torch.load(checkpoint / STATE, weights_only=True)
        self.module.load_state_dict(state["module"])
        for optimizer, values in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.done = read_manifest(checkpoint).step
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

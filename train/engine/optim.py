"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW


@dataclass(kw_only=True, slots=True)
class OptimConfig:
    """AdamW with a linear warm-up and a cosine decay.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Decay of weight matrices; biases, norms and gates have none.
        beta1: First moment.
        beta2: Second moment.
        warmup_steps: Steps of the linear warm-up.
        final_lr: Share of the peak that is left at the last step; 1 keeps it constant after the warm-up.
        clip: Largest gradient norm.
    """

    lr: float = 2e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    warmup_steps: int = 10
    final_lr: float = 0.0
    clip: float = 1.0


def build_optimizer(parameters: Iterable[nn.Parameter], config: OptimConfig) -> AdamW:
    """AdamW over the parameters that require a gradient; on a GPU all of them are updated by one kernel."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(
        [group for group in groups if group["params"]],
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        fused=torch.cuda.is_available() or None,
    )


def lr_factor(step: int, steps: int, config: OptimConfig) -> float:
    """Share of the peak learning rate at a step, counted from 0: linear up, then half a cosine down to `final_lr`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
    return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))

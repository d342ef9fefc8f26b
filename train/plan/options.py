"""The options of a training: what each needs on one GPU, how long it takes, whether it fits, and which one to take.

weights      DDP, ZeRO-2: all of them on each GPU; ZeRO-3: a share; QLoRA: the language model's matrices in 4 bits
gradients    float32, trained parameters only; ZeRO: a share
optimizer    AdamW's two moments in float32; ZeRO: a share, and a share of the float32 copy that DeepSpeed keeps
activations  what autograd keeps, as `train.plan.footprint` measures it
buffers      what lives for a moment, measured too: the peak of a step beyond all that; and by strategy gradient
             buckets, matrices that ZeRO-3 gathers or QLoRA unpacks

The peak is their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from data.errors import UserError
from train.plan.blueprint import Blueprint
from train.plan.config import PlanConfig
from train.plan.footprint import Footprint

GIB = 2**30
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # bitsandbytes' 4 bits, 8-bit scales of 64 weights, their own scales
LIVE_PARAMETERS = 1_000_000_000  # that ZeRO-3 may keep gathered (DeepSpeed's stage3_max_live_parameters)


class Strategy(StrEnum):
    """How the model is spread over the GPUs, simplest first."""

    ddp = "ddp"
    zero2 = "zero2"
    qlora = "qlora"
    zero3 = "zero3"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one GPU."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    buffers: int
    peak: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One way to run a training.

    Attributes:
        strategy: How the model is spread.
        checkpointing: Whether layers are computed again in the backward pass.
        tiles: `one` or `several` tiles an image.
        rows: Rows (images) that one GPU takes at a time.
        accumulation: Times that it does so in a step.
        length: Tokens of a row.
        memory: Bytes on one GPU.
        needed_gib: Peak with margin and overhead.
        fits: Whether that fits.
        step_tflops: Operations of one step over all GPUs, in 10^12.
        step_seconds: Estimated time of a step.
    """

    strategy: Strategy
    checkpointing: bool
    tiles: str
    rows: int
    accumulation: int
    length: int
    memory: Memory
    needed_gib: float
    fits: bool
    step_tflops: float
    step_seconds: float


def list_options(blueprint: Blueprint, config: PlanConfig) -> list[Option]:
    """All options, simplest first.

    Raises:
        UserError: If the batch cannot be shared among the GPUs.
    """
    rows, accumulation = share_batch(blueprint, config.gpus)
    tokens = blueprint.image_tokens
    tiles = ["one"] if tokens["several"] == tokens["one"] else ["one", "several"]
    steps = {
        (case, checkpointing): blueprint.measure(rows, config.text_tokens, case, checkpointing)
        for case in tiles
        for checkpointing in (False, True)
    }
    return [
        _option(blueprint, config, strategy, checkpointing, case, rows, accumulation, steps[case, checkpointing])
        for case in tiles
        for strategy in Strategy
        for checkpointing in (False, True)
    ]


def share_batch(blueprint: Blueprint, gpus: int) -> tuple[int, int]:
    """Rows that one GPU takes at a time, and how often in a step: the batch stays what the configuration says.

    Raises:
        UserError: If the batch is empty or cannot be shared equally.
    """
    batch = blueprint.batch
    if batch < 1 or blueprint.micro_batch < 1:
        raise UserError(f"{blueprint.name}: a batch of {batch} is impossible. Set a batch size of at least 1.")
    if batch % gpus:
        fitting = [count for count in range(1, batch + 1) if batch % count == 0]
        raise UserError(
            f"{blueprint.name}: a batch of {batch} cannot be shared equally among gpus={gpus}. "
            f"Take one of {fitting} GPUs, or another batch size."
        )
    share = batch // gpus
    rows = max(count for count in range(1, min(share, blueprint.micro_batch) + 1) if share % count == 0)
    return rows, share // rows


def recommend(options: Sequence[Option], tiles: str) -> Option | None:
    """The simplest option that fits: DDP, then with checkpointing, then ZeRO-2, QLoRA, ZeRO-3; None if none fits."""
    return next((option for option in options if option.fits and option.tiles == tiles), None)


def predict_memory(blueprint: Blueprint, strategy: Strategy, step: Footprint, *, gpus: int) -> Memory:
    """Bytes on one GPU.

    Args:
        blueprint: The training.
        strategy: How the model is spread.
        step: What a step of this GPU needs beside the weights.
        gpus: GPUs of all nodes together.
    """
    sharded = strategy in (Strategy.zero2, Strategy.zero3)
    shares = gpus if sharded else 1
    trained = blueprint.trainable
    weights = blueprint.frozen_bytes + 4 * trained
    if strategy is Strategy.qlora:
        weights -= int(blueprint.quantizable * (blueprint.weights - NF4_BYTES))
    if strategy is Strategy.zero3:
        weights //= gpus
    gradients = 4 * trained // shares
    optimizer = (12 if sharded else 8) * trained // shares
    buffers = max(0, step.peak - step.saved - 4 * trained)
    if gpus > 1:
        buffers += 4 * trained  # buckets
    if strategy is Strategy.zero3:
        buffers += min(blueprint.total, LIVE_PARAMETERS) * blueprint.weights
    if strategy is Strategy.qlora:
        buffers += 2 * blueprint.largest
    peak = weights + gradients + optimizer + step.saved + buffers
    return Memory(weights, gradients, optimizer, step.saved, buffers, peak)


def _option(
    blueprint: Blueprint,
    config: PlanConfig,
    strategy: Strategy,
    checkpointing: bool,
    tiles: str,
    rows: int,
    accumulation: int,
    step: Footprint,
) -> Option:
    memory = predict_memory(blueprint, strategy, step, gpus=config.gpus)
    flops = step.flops * config.gpus * accumulation
    needed = memory.peak * (1 + config.margin) / GIB + config.overhead_gib
    return Option(
        strategy=strategy,
        checkpointing=checkpointing,
        tiles=tiles,
        rows=rows,
        accumulation=accumulation,
        length=blueprint.image_tokens[tiles] + config.text_tokens,
        memory=memory,
        needed_gib=needed,
        fits=needed <= config.gpu_gib,
        step_tflops=flops / 1e12,
        step_seconds=flops / (config.gpus * config.gpu_tflops * 1e12 * config.utilisation),
    )

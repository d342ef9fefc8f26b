"""The options of a training: what each needs on one GPU, how long it takes, whether it fits, and which one to take.

Peak of a GPU = weights + optimizer + max(while the vision encoders run, while the backward pass runs).

    weights      DDP, ZeRO-2: all of them on each GPU; ZeRO-3: a share; QLoRA: the language model's matrices in 4 bits
    gradients    float32, trained parameters only; ZeRO: a share
    optimizer    AdamW's two moments in float32; ZeRO: a share, and a share of the float32 copy that DeepSpeed keeps
    activations  `train.plan.stack` and `train.plan.segmenter`
    buffers      what lives for a moment: the frozen encoders' tensors, one layer's results and gradients, logits and
                 their gradients, gradient buckets, matrices that ZeRO-3 gathers or QLoRA unpacks, the copy of the word
                 embeddings that training the [SEG] row makes (twice: the copy and its gradient)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from data.errors import UserError
from train.plan.blueprint import Blueprint
from train.plan.config import PlanConfig

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
    tiles = ["one"] if blueprint.tiles["several"] == 1 else ["one", "several"]
    return [
        _option(blueprint, config, strategy, checkpointing, tile, rows, accumulation)
        for tile in tiles
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


def predict_memory(
    blueprint: Blueprint, strategy: Strategy, *, gpus: int, rows: int, length: int, tiles: str, checkpointing: bool
) -> Memory:
    """Bytes on one GPU.

    Args:
        blueprint: The training.
        strategy: How the model is spread.
        gpus: GPUs of all nodes together.
        rows: Rows (images, prompts) that this GPU takes at a time.
        length: Tokens of a row.
        tiles: `one` or `several`.
        checkpointing: Whether layers are computed again in the backward pass.
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
    tokens = rows * length
    number = blueprint.number
    if checkpointing:
        activations = blueprint.language.saved_with_checkpointing(tokens, number, blueprint.weights)
    else:
        activations = blueprint.language.saved(tokens, number)
    patches = rows * blueprint.tiles[tiles] * blueprint.patches
    if blueprint.vision_trained:
        activations += blueprint.vision.saved(patches, number)
    vision = blueprint.vision.working(patches, number)
    if blueprint.segmenter is not None:
        vision += patches * blueprint.vision.width * (blueprint.vision.layers + 1) * number  # every state is kept
        activations += blueprint.segmenter.decoder_saved(rows, length, number)
        activations += blueprint.segmenter.encoder_saved(rows, number)
        vision = max(vision, blueprint.segmenter.encoder_working(rows, number))
    backward = blueprint.language.working(tokens, number) + 2 * blueprint.embedding_bytes
    if blueprint.vocabulary:  # logits, their float32 copy, its logarithm, and the gradient of that
        backward = max(backward, tokens * blueprint.vocabulary * (number + 8 if number < 4 else 12))
    if gpus > 1:
        backward += 4 * trained  # buckets
    if strategy is Strategy.zero3:
        gathered = min(blueprint.total, LIVE_PARAMETERS) * blueprint.weights
        backward, vision = backward + gathered, vision + gathered
    if strategy is Strategy.qlora:
        backward += 2 * blueprint.largest
    held = weights + optimizer
    peak = held + max(vision, gradients + activations + backward)
    return Memory(weights, gradients, optimizer, activations, max(vision, backward), peak)


def step_flops(blueprint: Blueprint, *, length: int, tiles: str, checkpointing: bool) -> float:
    """Operations of one step over all GPUs.

    A frozen matrix costs its forward pass and the gradient of its input; checkpointing adds a forward pass. Adapters
    and heads, a hundredth of the parameters, count three forward passes.

    Args:
        blueprint: The training.
        length: Tokens of a row.
        tiles: `one` or `several`.
        checkpointing: Whether layers are computed again.
    """
    rows = blueprint.batch
    forward = blueprint.language.flops(rows * length, length)
    if blueprint.vocabulary:
        forward += 2.0 * rows * length * blueprint.vocabulary * blueprint.language.width
    total = forward * (3 if checkpointing else 2)
    patches = blueprint.patches
    vision = blueprint.vision.flops(rows * blueprint.tiles[tiles] * patches, patches)
    total += vision * (3 if blueprint.vision_trained else 1)
    total += 6.0 * blueprint.trainable * rows * (length if blueprint.segmenter is None else 1)
    if blueprint.segmenter is not None:
        total += rows * blueprint.segmenter.encoder_flops() * (3 if blueprint.segmenter.encoder_trained else 1)
        total += rows * 3 * blueprint.segmenter.decoder_flops()
    return total


def _option(
    blueprint: Blueprint,
    config: PlanConfig,
    strategy: Strategy,
    checkpointing: bool,
    tiles: str,
    rows: int,
    accumulation: int,
) -> Option:
    length = blueprint.image_tokens[tiles] + config.text_tokens
    memory = predict_memory(
        blueprint,
        strategy,
        gpus=config.gpus,
        rows=rows,
        length=length,
        tiles=tiles,
        checkpointing=checkpointing,
    )
    flops = step_flops(blueprint, length=length, tiles=tiles, checkpointing=checkpointing)
    needed = memory.peak * (1 + config.margin) / GIB + config.overhead_gib
    return Option(
        strategy=strategy,
        checkpointing=checkpointing,
        tiles=tiles,
        rows=rows,
        accumulation=accumulation,
        length=length,
        memory=memory,
        needed_gib=needed,
        fits=needed <= config.gpu_gib,
        step_tflops=flops / 1e12,
        step_seconds=flops / (config.gpus * config.gpu_tflops * 1e12 * config.utilisation),
    )

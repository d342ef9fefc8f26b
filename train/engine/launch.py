"""How a run is spread over processes: the strategy, and the accelerator that carries it out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DataLoaderConfiguration, DeepSpeedPlugin, InitProcessGroupKwargs
from torch import nn

from data.errors import UserError
from train.engine import ranks
from train.engine.deepspeed import deepspeed_config, skip_shared_memory_op


class Strategy(StrEnum):
    """What the ranks share: nothing but gradients, DeepSpeed's optimizer shards, or its weight shards too."""

    ddp = "ddp"
    zero2 = "zero2"
    zero3 = "zero3"


class MixedPrecision(StrEnum):
    """Number format of the forward pass; trained weights stay float32."""

    no = "no"
    bf16 = "bf16"
    fp16 = "fp16"


@dataclass(kw_only=True, slots=True)
class LaunchConfig:
    """How the processes of a run work together. None of it changes what is computed, apart from rounding.

    Attributes:
        strategy: What the ranks share.
        timeout: Seconds that ranks wait for each other before the run fails.
    """

    strategy: Strategy = Strategy.ddp
    timeout: float = 600.0


def check_launch(config: LaunchConfig) -> None:
    """Refuses what this machine or this launcher cannot do.

    Raises:
        UserError: On ZeRO-3 without a GPU, ZeRO without a launcher, or a strategy that the launcher chose itself.
    """
    if config.strategy is Strategy.ddp:
        for name, flag in (("ACCELERATE_USE_DEEPSPEED", "--use_deepspeed"), ("ACCELERATE_USE_FSDP", "--use_fsdp")):
            if os.environ.get(name, "false").lower() == "true":
                raise UserError(
                    f"accelerate launch was given {flag}, but launch.strategy=ddp. Leave the flag out and choose "
                    "launch.strategy=zero2 or zero3: batch size, clipping and precision then come from this config."
                )
        return
    if "LOCAL_RANK" not in os.environ:
        raise UserError(
            f"launch.strategy={config.strategy} needs a launcher: torchrun --nproc_per_node N -m scripts.train_mdlm …"
        )
    if config.strategy is Strategy.zero3 and not torch.cuda.is_available():
        raise UserError("launch.strategy=zero3 needs GPUs: DeepSpeed fails on the CPU. Choose zero2 or ddp here.")


def split_batch(batch_size: int) -> int:
    """Images per rank.

    Raises:
        UserError: If the ranks cannot share the batch evenly.
    """
    count = ranks.world_size()
    if batch_size % count:
        fitting = [number for number in range(1, batch_size + 1) if batch_size % number == 0]
        raise UserError(
            f"batch_size={batch_size} does not divide by {count} ranks. Start with {', '.join(map(str, fitting))} "
            f"ranks, or set batch_size={-(-batch_size // count) * count} (and say so: it is the whole run's batch)."
        )
    return batch_size // count


def start_accelerator(config: LaunchConfig, precision: MixedPrecision, *, batch_size: int, clip: float) -> Accelerator:
    """The accelerator of one training stage; stages of one process may differ in precision and batch.

    Args:
        config: Strategy and timeout.
        precision: Number format of the forward pass.
        batch_size: Images per step, over all ranks.
        clip: Largest gradient norm.

    Raises:
        UserError: If the batch does not divide.
    """
    per_rank = split_batch(batch_size)
    AcceleratorState._reset_state()  # accelerate keeps the first stage's settings otherwise
    GradientState._reset_state()
    cpu = not torch.cuda.is_available()
    loader = DataLoaderConfiguration(split_batches=True, non_blocking=True)
    if config.strategy is Strategy.ddp:
        os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
        accelerator = Accelerator(mixed_precision=precision.value, cpu=cpu, dataloader_config=loader)
    else:
        if cpu:
            skip_shared_memory_op()
        # With `cpu=True` accelerate would drop the plugin silently; without a backend each rank would be alone.
        handler = InitProcessGroupKwargs(backend="gloo" if cpu else "nccl", timeout=timedelta(seconds=config.timeout))
        accelerator = Accelerator(
            deepspeed_plugin=_plugin(config.strategy, precision, per_rank=per_rank, clip=clip),
            dataloader_config=loader,
            kwargs_handlers=[handler],
        )
    if accelerator.num_processes != ranks.world_size():
        raise AssertionError(f"accelerate sees {accelerator.num_processes} of {ranks.world_size()} ranks")
    return accelerator


def _plugin(strategy: Strategy, precision: MixedPrecision, *, per_rank: int, clip: float) -> DeepSpeedPlugin:
    autocast = {"no": None, "bf16": "bfloat16", "fp16": "float16"}[precision.value]
    stage = 2 if strategy is Strategy.zero2 else 3
    composed = deepspeed_config(stage, per_rank=per_rank, ranks=ranks.world_size(), clip=clip, autocast=autocast)
    return DeepSpeedPlugin(hf_ds_config=composed)


@contextmanager
def whole_parameters(model: nn.Module) -> Iterator[None]:
    """Makes the trained parameters readable on every rank: ZeRO-3 keeps only a shard of each elsewhere."""
    sharded: list[Any] = [p for p in model.parameters() if p.requires_grad and hasattr(p, "ds_id")]
    if not sharded:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(sharded):
        yield


def optimizer_bytes(optimizer: Any) -> int:
    """Bytes of the optimizer's moments that this rank holds."""
    while hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer  # accelerate's and DeepSpeed's wrappers
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor.ndim)


@contextmanager
def fast_products(enabled: bool) -> Iterator[None]:
    """Within the block, if enabled, products of float32 matrices run on the CPU's bfloat16 units where it has them."""
    products: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = products.fp32_precision
    products.fp32_precision = "bf16" if enabled else before
    try:
        yield
    finally:
        products.fp32_precision = before

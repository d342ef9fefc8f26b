"""DeepSpeed's configuration, composed from ours, so that there is no second place for batch size or clipping."""

from __future__ import annotations

import os
from typing import Any

from accelerate import PartialState

SHARED_MEMORY_OP = "deepspeed_shm_comm"
BUCKET = 50_000_000  # elements that are reduced at once: 200 MB of float32


def deepspeed_config(stage: int, *, per_rank: int, ranks: int, clip: float, autocast: str | None) -> dict[str, Any]:
    """What `deepspeed.initialize` gets.

    Trained weights and the optimizer's moments stay float32 under every strategy: the forward pass is autocast as
    without DeepSpeed, so the numbers agree between strategies.

    Args:
        stage: ZeRO stage: 2 shards gradients and optimizer state over the ranks, 3 the weights too.
        per_rank: Images per rank and step.
        ranks: Number of ranks.
        clip: Largest gradient norm.
        autocast: `bfloat16` or `float16`; None computes in the weights' own precision.
    """
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_scatter": True,
        "reduce_bucket_size": BUCKET,
    }
    if stage == 2:
        zero["allgather_bucket_size"] = BUCKET
    else:
        zero |= {
            "stage3_prefetch_bucket_size": BUCKET,
            "stage3_param_persistence_threshold": 100_000,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": False,
        }
    config: dict[str, Any] = {
        "train_batch_size": per_rank * ranks,
        "train_micro_batch_size_per_gpu": per_rank,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": clip,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }
    if autocast is not None:
        config["torch_autocast"] = {"enabled": True, "dtype": autocast}
    return config


def skip_shared_memory_op() -> None:
    """Keeps DeepSpeed from compiling an operator that only inference on the CPU calls.

    The build takes minutes, and one that is killed leaves a lock behind on which every later run waits for ever. Call
    it before DeepSpeed starts.
    """
    import deepspeed

    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False


def start_on_cpu() -> None:
    """Prepares transformers' trainer for DeepSpeed on the CPU, before its arguments are made.

    Left to itself the trainer names no backend here, and each rank would take itself for the only one. With
    `use_configured_state` in its `accelerator_config` it takes the state that is set up here instead.
    """
    os.environ["DS_ACCELERATOR"] = "cpu"
    skip_shared_memory_op()
    before = os.environ.get("ACCELERATE_USE_DEEPSPEED")
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    try:
        PartialState(backend="gloo")
    finally:
        if before is None:
            del os.environ["ACCELERATE_USE_DEEPSPEED"]

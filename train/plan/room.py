"""Whether a training fits this machine's GPUs, asked before anything is loaded."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache

import torch

from data.errors import UserError
from train.eddm.config import EDDMConfig, Quantize, zero_stage
from train.mdlm.config import TrainMDLMConfig
from train.plan.blueprint import Blueprint, eddm_blueprint, mdlm_blueprint
from train.plan.footprint import Footprint
from train.plan.options import GIB, Strategy, predict_memory, share_batch

log = logging.getLogger(__name__)
TEXT_TOKENS = 128  # of a row, beside its image: as `scripts.plan` assumes


def check_eddm_room(config: EDDMConfig, base: str, ranks: int) -> None:
    """Refuses a training of EDDM that cannot fit; see `check_room`.

    Args:
        config: The training.
        base: Folder of its base.
        ranks: GPUs that train together.

    Raises:
        UserError: If it does not fit.
    """
    stage = zero_stage(config.optim.deepspeed) if config.optim.deepspeed else 0
    strategy = (Strategy.ddp, Strategy.zero2, Strategy.zero2, Strategy.zero3)[stage]
    if config.lora.quantize is Quantize.nf4:
        strategy = Strategy.qlora
    try:
        blueprint = eddm_blueprint(replace(config, model=replace(config.model, id=base)), slices=0)
    except UserError as error:  # another architecture than those of the presets
        log.info("EDDM: whether it fits the GPU is not known beforehand: %s", error)
        return
    check_room(blueprint, strategy, ranks, checkpointing=config.optim.gradient_checkpointing, preset=config.preset)


def check_mdlm_room(config: TrainMDLMConfig, ranks: int) -> None:
    """Refuses a training of the MDLM that cannot fit; see `check_room`.

    Args:
        config: The training.
        ranks: GPUs that train together.

    Raises:
        UserError: If it does not fit.
    """
    strategy = Strategy.qlora if config.mdlm.llava.quantize is not None else Strategy(config.launch.strategy.value)
    checkpointing = config.mdlm.gradient_checkpointing
    check_room(mdlm_blueprint(config), strategy, ranks, checkpointing=checkpointing, preset=config.preset)


def check_room(blueprint: Blueprint, strategy: Strategy, ranks: int, *, checkpointing: bool, preset: str) -> None:
    """Compares what a step needs at least, with one tile an image and no reserve, with the memory of this GPU.

    Args:
        blueprint: The training.
        strategy: How it is spread over the GPUs.
        ranks: How many there are.
        checkpointing: Whether layers are computed again in the backward pass.
        preset: Its preset, for the message.

    Raises:
        UserError: If the step needs more than there is; with what fits, as `scripts.plan` says.
    """
    there = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    rows, _ = share_batch(blueprint, ranks)

    @cache
    def measure(again: bool) -> Footprint:
        return blueprint.measure(rows, TEXT_TOKENS, "one", again)

    def need(way: Strategy, again: bool) -> int:
        return predict_memory(blueprint, way, measure(again), gpus=ranks).peak

    if (needed := need(strategy, checkpointing)) <= there:
        return
    ways = [(way, again) for way in Strategy for again in (False, True) if need(way, again) <= there]
    fitting = "; ".join(f"{way.value}{' with gradient checkpointing' if again else ''}" for way, again in ways[:3])
    raise UserError(
        f"{blueprint.name}: a step takes {needed / GIB:.1f} GiB at least with {strategy.value}"
        f"{' and gradient checkpointing' if checkpointing else ''}, and this GPU has {there / GIB:.1f} GiB. "
        f"{f'What fits: {fitting}.' if ways else 'Nothing fits, even with smaller settings.'} All options: "
        f"python -m scripts.plan preset={preset} gpus={ranks} gpu_gib={there / GIB:.0f}"
    )

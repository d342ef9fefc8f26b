"""The processes of one training, as `torchrun` or `accelerate launch` start them, and when they must not start."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from data.errors import UserError
from eval.ranks import TIMEOUT, Ranks, join_ranks

log = logging.getLogger(__name__)
LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}


@contextmanager
def joined(*, use_cpu: bool) -> Iterator[Ranks]:
    """Joins the ranks before any library can decide that it is alone; a rank that has nothing to do waits for hours.

    Args:
        use_cpu: Train on the CPU (gloo); else gradients go through NCCL and words through gloo.

    Raises:
        UserError: If this process is one of several that a launcher started without telling them of each other.
    """
    for name, launcher in LAUNCHERS.items():
        if int(os.environ.get(name, "1")) > 1 and "WORLD_SIZE" not in os.environ:
            raise UserError(
                f"{launcher} started {os.environ[name]} processes that do not know of each other (WORLD_SIZE is not "
                f"set). Let it start torchrun: {launcher} torchrun --nproc_per_node 8 … -m scripts.train_eddm"
            )
    ours = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized()
    if ours:
        on_gpu = not use_cpu and torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=TIMEOUT)
    ranks = join_ranks()
    level = logging.getLogger("train").level
    if not ranks.is_main:
        logging.getLogger("train").setLevel(logging.WARNING)
    try:
        check_world(ranks)
        yield ranks
    finally:
        logging.getLogger("train").setLevel(level)
        if ours and dist.is_initialized():
            dist.destroy_process_group()


def check_world(ranks: Ranks, device: torch.device | str = "cpu") -> None:
    """Refuses to train when the ranks do not see each other.

    Raises:
        UserError: If fewer or more ranks answer than were started.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    answered = 1
    if dist.is_available() and dist.is_initialized():
        ones = torch.ones(1, device=device)
        dist.all_reduce(ones)
        answered = int(ones.item())
    if not started == answered == ranks.world:
        raise UserError(
            f"The ranks do not see each other: {started} were started, {answered} answered. Each would train alone. "
            "Start them with torchrun, and check MASTER_ADDR, MASTER_PORT and the network between the nodes."
        )


def check_agreement(ranks: Ranks, settings: dict[str, str]) -> None:
    """Refuses to train when ranks were started with different settings.

    Args:
        ranks: All ranks call this.
        settings: What each rank will use, by name.

    Raises:
        UserError: Names what differs, and on which ranks.
    """
    values = ranks.gather(settings)
    for rank, other in enumerate(values):
        names = sorted(name for name in {*values[0], *other} if values[0].get(name) != other.get(name))
        if names:
            name = names[0]
            raise UserError(
                f"Rank {rank} was started with other settings than rank 0: {name} is {other.get(name)} instead of "
                f"{values[0].get(name)}" + (f" (and {len(names) - 1} more)" if names[1:] else "") + ". "
                "Start all ranks with the same command, code and data."
            )

"""The processes of one training run ("ranks"): how they meet, and the few words that they exchange.

A launcher (`torchrun`, `accelerate launch`, SLURM with `torchrun`) tells each process its place by environment
variables. In a single process every function here does the obvious thing at no cost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from data.errors import UserError
from data.processes.lifeline import end_with_launcher
from models.device import choose

Value = TypeVar("Value")
PATIENCE = 12 * 3600.0  # seconds
NEEDED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
LAUNCHERS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}  # where each says how many it started


def is_distributed() -> bool:
    """Whether a process group is up."""
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """Number of ranks."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """This process's place, counted from 0."""
    return dist.get_rank() if is_distributed() else 0


def is_main() -> bool:
    """Whether this is the rank that writes files and talks."""
    return rank() == 0


def meet(timeout: float, environment: Mapping[str, str] | None = None, *, use_gpu: bool = True) -> None:
    """Joins the process group that the launcher announced, and checks that all ranks are in it.

    Args:
        timeout: Seconds that ranks wait for each other, here and later.
        environment: The launcher's variables; None reads `os.environ`.
        use_gpu: Exchange tensors between GPUs, where there are any.

    Raises:
        UserError: If the variables contradict each other, two ranks would share a GPU, or not every rank answers.
    """
    environment = os.environ if environment is None else environment
    check_environment(environment)
    if is_distributed() or "WORLD_SIZE" not in environment:
        return
    announced = int(environment["WORLD_SIZE"])
    if announced == 1 and any(name not in environment for name in NEEDED):
        return
    end_with_launcher()
    gpu = use_gpu and torch.cuda.is_available()
    if gpu:
        own = choose("cuda", environment=environment).device
        torch.cuda.set_device(own)
        os.environ["LOCAL_RANK"] = str(own.index)  # libraries take it for the GPU's number, also where a rank sees one
    place = f"{environment['MASTER_ADDR']}:{environment['MASTER_PORT']}"
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=timeout))
        seen = count_ranks("cuda" if gpu else "cpu")
    except (RuntimeError, ValueError) as error:  # torch's own errors of a store or a group are RuntimeErrors
        raise UserError(
            f"Rank {environment['RANK']} of {announced} did not meet the others at {place} within {timeout:g} s: "
            f"{str(error).splitlines()[0]} Check that all of them were started, with one MASTER_ADDR and MASTER_PORT, "
            "and that no firewall is between them; launch.timeout=SECONDS waits longer."
        ) from error
    if seen != announced:
        raise UserError(
            f"WORLD_SIZE={announced}, but {seen} ranks answer at {place}. Start all ranks by one launcher, for example "
            f"torchrun --nproc_per_node {announced}."
        )


@contextmanager
def patient(timeout: float, *, seconds: float = PATIENCE) -> Iterator[None]:
    """Within the block ranks wait longer, because one of them may be at work alone: hashing a dataset, downloading.

    Args:
        timeout: Seconds that they wait afterwards, as in `meet`, so that a hung network ends the run.
        seconds: Seconds that they wait within.
    """
    if is_distributed():
        dist.set_timeout(timedelta(seconds=seconds))
    yield
    if is_distributed():
        dist.set_timeout(timedelta(seconds=timeout))


def check_environment(environment: Mapping[str, str]) -> None:
    """Refuses a start in which each rank would believe that it is alone.

    Raises:
        UserError: If `srun` or `mpirun` started several tasks that were told nothing of each other, or variables are
            missing.
    """
    announced = int(environment.get("WORLD_SIZE", "1") or 1)
    agents = int(environment.get("GROUP_WORLD_SIZE", "0") or 0)
    for name, launcher in LAUNCHERS.items():
        tasks = int(environment.get(name, "1") or 1)
        if tasks > 1 and announced == 1:
            raise UserError(
                f"{launcher} started {tasks} tasks, but WORLD_SIZE is not set: each would train alone in the same run "
                f"directory. Start torchrun by {launcher}, as scripts/launch/slurm_nodes.sh does by srun."
            )
        if agents and tasks > agents:
            raise UserError(
                f"{launcher} started torchrun {tasks} times, but this one knows of {agents}: the nodes would train "
                "apart in the same run directory. Give torchrun --nnodes and one --rdzv_endpoint, as "
                "scripts/launch/slurm_nodes.sh does."
            )
    missing = [name for name in NEEDED if not environment.get(name)]
    if announced > 1 and missing:
        raise UserError(
            f"WORLD_SIZE={announced}, but {', '.join(missing)} is not set: the ranks cannot meet. Start them by "
            f"torchrun --nproc_per_node {announced}, or unset WORLD_SIZE to train in one process."
        )


def leave() -> None:
    """Ends the process group; the last thing that a run does."""
    if is_distributed():
        dist.destroy_process_group()


def count_ranks(device: str) -> int:
    """How many ranks answer: the sum of a one from each, on `cuda` or `cpu`."""
    ones = torch.ones(1, device=device)
    dist.all_reduce(ones)
    return int(ones.item())


def wait() -> None:
    """Returns when every rank has come here."""
    if is_distributed():
        dist.barrier()


def gather(value: Value) -> list[Value]:
    """The values of all ranks, in their order, on every rank."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def main_decides(decide: Callable[[], Value]) -> Value:
    """Lets the main rank look, and gives every rank its answer, or its error.

    Raises:
        UserError: On every rank, if the main rank raised it.
    """
    if not is_distributed():
        return decide()
    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer[0] = decide()
        except UserError as error:
            answer[1] = str(error)
    dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise UserError(answer[1])
    return answer[0]


def mean(values: Tensor) -> Tensor:
    """The mean over the ranks of a tensor that no gradient passes."""
    if not is_distributed():
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def weigh(average: Tensor, count: Tensor | int) -> Tensor:
    """Makes an average over this rank's things count as its share of the average over all ranks' things.

    The mean over the ranks of what is returned is the average over everything, and so is its gradient: two ranks train
    like one on the same batch, even where one of them has more masks than the other.

    Args:
        average: Scalar, the mean over `count` things of this rank; 0 where it has none.
        count: How many they are.
    """
    if not is_distributed():
        return average
    own = torch.as_tensor(count, dtype=torch.float32, device=average.device)
    return average * (own / mean(own).clamp(min=1e-6))

import os
import socket
import subprocess
import sys

import pytest
import torch

from data.errors import UserError
from models.device import Placement
from train.engine import ranks

TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29533"}


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "4"}, "RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT is not set"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "srun started 2 tasks, but WORLD_SIZE is not set"),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "mpirun started 4 tasks, but WORLD_SIZE is not set"),
        ({**TORCHRUN, "SLURM_STEP_NUM_TASKS": "2", "GROUP_WORLD_SIZE": "1"}, "the nodes would train apart"),
    ],
)
def test_ranks_that_cannot_see_each_other_are_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ranks.meet(1.0, environment)


def test_two_ranks_on_one_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="3 ranks were started on this machine, which shows 2 GPUs"):
        ranks.meet(1.0, {**TORCHRUN, "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "3"})


def test_libraries_are_told_the_number_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    for name, value in {**TORCHRUN, "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(str(device)))
    monkeypatch.setattr(ranks, "choose", lambda *args, **kwargs: Placement("cuda:0", "bfloat16"))
    monkeypatch.setattr(ranks.dist, "init_process_group", lambda *args, **kwargs: None)
    monkeypatch.setattr(ranks, "count_ranks", lambda device: 2)
    ranks.meet(1.0)
    assert chosen == ["cuda:0"] and os.environ["LOCAL_RANK"] == "0"


def test_good_environments_pass() -> None:
    for environment in ({}, {"WORLD_SIZE": "1"}, {"SLURM_STEP_NUM_TASKS": "1"}):
        ranks.meet(1.0, environment)
        assert not ranks.is_distributed()
    ranks.check_environment({**TORCHRUN, "SLURM_STEP_NUM_TASKS": "2", "GROUP_WORLD_SIZE": "2"})


def test_a_rank_that_nobody_joins_gives_up_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"Rank 0 of 2 did not meet the others at 127.0.0.1:29533 within 3 s"):
        ranks.meet(3.0)
    assert not ranks.is_distributed()


def test_alone_everything_is_itself() -> None:
    value = torch.tensor(0.3)
    assert ranks.weigh(value, 3) is value
    assert ranks.mean(value) is value
    assert (ranks.rank(), ranks.world_size(), ranks.gather("x"), ranks.main_decides(lambda: 3)) == (0, 1, ["x"], 3)


LATE = """
import sys, time
from train.engine import ranks
ranks.meet(30.0, use_gpu=False)
with ranks.patient(float(sys.argv[2]), seconds=float(sys.argv[1])):
    ranks.main_decides(lambda: time.sleep(5))
print(ranks.rank(), ranks.world_size(), flush=True)
ranks.main_decides(lambda: time.sleep(5))
print("waited again")
"""


def meet_late(patience: float, afterwards: float) -> list[str]:
    """What two ranks say when the first works for five seconds: once within the patient block, once after it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        shared = os.environ | TORCHRUN | {"MASTER_PORT": str(found.getsockname()[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LATE, str(patience), str(afterwards)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(2)
    ]
    return [process.communicate(timeout=300)[0] for process in processes]


@pytest.mark.slow
def test_ranks_wait_patiently_only_where_one_works_alone() -> None:
    assert meet_late(60, 30) == ["0 2\nwaited again\n", "1 2\nwaited again\n"]
    assert "1 2" not in meet_late(2, 30)[1]
    assert meet_late(60, 2)[1] == "1 2\n"  # a network that hangs later ends the run

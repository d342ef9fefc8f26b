import os
import socket
import subprocess
import sys

import pytest

from data.errors import UserError
from eval.ranks import Ranks
from train.eddm_ranks import check_agreement, check_world, joined

TALK = """
import os, sys
from data.errors import UserError
from train.eddm_ranks import check_agreement, joined
try:
    with joined(use_cpu=True) as ranks:
        print(ranks.rank, ranks.world, flush=True)
        check_agreement(ranks, {"optim.lr": "1", "seed": sys.argv[1]})
        print("agreed", flush=True)
except UserError as error:
    print(error, flush=True)
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def talk(seeds: list[str]) -> list[str]:
    shared = {"WORLD_SIZE": str(len(seeds)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TALK, seed],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank, seed in enumerate(seeds)
    ]
    return [process.communicate(timeout=300)[0] for process in processes]


def test_one_process_is_alone() -> None:
    with joined(use_cpu=True) as ranks:
        assert ranks == Ranks()
        check_agreement(ranks, {"a": "b"})


@pytest.mark.slow
def test_two_ranks_meet_and_agree() -> None:
    assert talk(["0", "0"]) == ["0 2\nagreed\n", "1 2\nagreed\n"]


@pytest.mark.slow
def test_ranks_with_other_settings_are_refused_on_every_rank() -> None:
    for said in talk(["0", "7"]):
        assert "Rank 1 was started with other settings than rank 0: seed is 7 instead of 0." in said
        assert "agreed" not in said


def test_a_rank_that_stayed_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="2 were started, 1 answered"):
        check_world(Ranks())


def test_srun_without_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(UserError, match=r"srun started 4 processes .* srun torchrun"), joined(use_cpu=True):
        pass

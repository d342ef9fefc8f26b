"""DeepSpeed's own parser accepts what is composed, ZeRO-3 included, which cannot run without a GPU."""

import os
import socket
import subprocess
import sys

import pytest

from train.engine.deepspeed import deepspeed_config


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_deepspeed_accepts_the_composed_config(
    stage: int, autocast: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed import comm
    from deepspeed.runtime import config as runtime

    monkeypatch.setattr(comm, "get_world_size", lambda *args, **more: 4)
    monkeypatch.setattr(comm, "get_rank", lambda *args, **more: 0)
    composed = deepspeed_config(stage, per_rank=2, ranks=4, clip=0.5, autocast=autocast)
    parsed = runtime.DeepSpeedConfig(composed)
    assert (parsed.train_batch_size, parsed.train_micro_batch_size_per_gpu) == (8, 2)
    assert (int(parsed.zero_config.stage), parsed.gradient_clipping) == (stage, 0.5)
    assert parsed.torch_autocast_enabled is (autocast is not None)
    assert parsed.zero_allow_untested_optimizer


ALONE = """
from train.engine import ranks
from train.engine.deepspeed import start_on_cpu
ranks.meet(30.0, use_gpu=False)
start_on_cpu()
from accelerate import PartialState
state = PartialState()
print(state.distributed_type.value, state.num_processes, state.device)
"""


@pytest.mark.slow
def test_on_a_cpu_the_trainer_finds_deepspeed_and_its_ranks() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], env=os.environ | place | hidden, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["DEEPSPEED 1 cpu"], done.stderr[-2000:]

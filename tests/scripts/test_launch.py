"""The example job scripts, with SLURM's commands replaced by ones that print what they were asked."""

import os
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).resolve().parents[2] / "scripts" / "launch"
SLURM = {"SLURM_GPUS_ON_NODE": "4", "SLURM_NNODES": "3", "SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "node[1-3]"}
TRAIN = "-m scripts.train_mdlm resume=auto preset=paper run_dir=a run"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("slurm_node.sh", ["srun --kill-on-bad-exit=1 torchrun", "--standalone --nproc_per_node 4", TRAIN]),
        ("slurm_nodes.sh", ["--nnodes 3 --nproc_per_node 4", "--rdzv_endpoint node1:29500 --rdzv_id 77", TRAIN]),
        ("accelerate.sh", ["accelerate launch --multi_gpu", "--num_processes 4", TRAIN]),
    ],
)
def test_every_script_passes_its_arguments_on(script: str, words: list[str], tmp_path: Path) -> None:
    for name, text in (("srun", 'echo srun "$@"'), ("accelerate", 'echo accelerate "$@"'), ("scontrol", "echo node1")):
        command = tmp_path / name
        command.write_text(f"#!/bin/bash\n{text}\n")
        command.chmod(0o755)
    environment = {**os.environ, **SLURM, "EIAD_RANKS": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    arguments = ["bash", str(LAUNCH / script), "preset=paper", "run_dir=a run"]
    done = subprocess.run(arguments, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in words), done.stdout


def test_nodes_are_told_of_a_time_limit_early_enough_to_save() -> None:
    for name in ("slurm_node.sh", "slurm_nodes.sh"):
        assert "#SBATCH --signal=TERM@120" in (LAUNCH / name).read_text()

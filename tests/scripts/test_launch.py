"""The example job scripts, with SLURM's commands replaced by ones that print what they were asked."""

import os
import re
import subprocess
import sys
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
    started = start(script, tmp_path, "preset=paper", "run_dir=a run")
    assert all(word in started for word in words), started


def start(script: str, folder: Path, *arguments: str) -> str:
    """What the script would start, in words."""
    write_commands(folder, srun='echo srun "$@"', accelerate='echo accelerate "$@"', scontrol="echo node1")
    environment = {**os.environ, **SLURM, "EIAD_RANKS": "4", "PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", str(LAUNCH / script), *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_commands(folder: Path, **texts: str) -> None:
    """Programs of these names that do what their text says."""
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)


def test_a_first_word_names_the_training(tmp_path: Path) -> None:
    for script in ("slurm_node.sh", "slurm_nodes.sh"):
        started = start(script, tmp_path, "train_eddm", "preset=paper", "run_dir=a run")
        assert "-m scripts.train_eddm resume=auto preset=paper run_dir=a run" in started


SAVING = """
import signal, sys, time

def save(number, frame):
    time.sleep(33)  # longer than torchrun grants by itself
    print("saved", flush=True)
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(200)
"""


@pytest.mark.slow
def test_ranks_get_the_time_to_save_that_the_script_promises(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train_mdlm.py").write_text(SAVING)
    write_commands(tmp_path, srun='shift; exec "$@"')
    programs = os.pathsep.join([str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    job = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm_node.sh")],
        env={**os.environ, "SLURM_GPUS_ON_NODE": "1", "PATH": programs},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout is not None
    assert job.stdout.readline() == "ready\n"
    job.terminate()
    assert job.communicate(timeout=90)[0] == "saved\n"


def test_nodes_are_told_of_a_time_limit_before_torchrun_loses_patience() -> None:
    for name in ("slurm_node.sh", "slurm_nodes.sh"):
        text = (LAUNCH / name).read_text()
        told, granted = re.search(r"--signal=TERM@(\d+)", text), re.search(r"SHUTDOWN_TIMEOUT:-(\d+)", text)
        assert told and granted
        assert 60 < int(granted[1]) < int(told[1])

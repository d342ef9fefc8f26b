"""SIGKILL to the MDLM's training, in its base stages and in the adapter: every loss comes out as if it had not been."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data.files import read_jsonl

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("mdlm_worker.py")
MOMENTS = ["base, language: step 2/3", "base, decoder: step 3/3", "MDLM, fixed: 6 training", "MDLM, fixed: step 3/6"]


def run(folder: Path, root: Path, ranks: int, strategy: str, until: str | None = None) -> int:
    """Trains base and adapter, or kills all processes with SIGKILL as soon as they say `until`; the last exit code."""
    if not (folder / "mdlm" / "base" / "config.json").is_file():
        in_base = until if until and "base" in until else None
        if code := start("base", folder, root, ranks, strategy, in_base):
            return code
    return start("adapter", folder, root, ranks, strategy, until)


def start(part: str, folder: Path, root: Path, ranks: int, strategy: str, until: str | None) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", f"--master_port={port}"]
    process = subprocess.Popen(
        [sys.executable, *(torchrun if ranks > 1 else []), str(WORKER), part, str(folder), str(root), strategy],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **({"KILL_AT": until} if until else {})},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if until and until in line:
            os.killpg(process.pid, signal.SIGKILL)
            if ranks > 1:  # torchrun gives each rank a session of its own
                kill_ranks(process.pid, folder)
            break
    else:
        assert until is None, f"never said {until}:\n{''.join(said[-30:])}"
    process.stderr.close()
    return process.wait()


def kill_ranks(launcher: int, folder: Path) -> None:
    """Kills the ranks of this very run, which outlive a launcher that was killed."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(WORKER).encode() in words and str(folder).encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)


def losses(folder: Path) -> list[tuple[int, float]]:
    rows = [row for part in ("base", "fixed") for row in read_jsonl(folder / "mdlm" / part / "log.jsonl")]
    return [(row["step"], row["loss"]) for row in rows]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("ranks", "strategy"), [(1, "ddp"), (2, "ddp"), (2, "zero2")])
def test_killed_anywhere_every_loss_is_the_same(
    tmp_path: Path, write_mvtec: Callable[..., Path], ranks: int, strategy: str
) -> None:
    root = write_mvtec()
    assert run(tmp_path / "whole", root, ranks, strategy) == 0
    killed = tmp_path / "killed"
    for moment in MOMENTS:
        assert run(killed, root, ranks, strategy, until=moment) != 0
        assert not (killed / "mdlm" / "fixed" / "manifest.json").exists()
    assert run(killed, root, ranks, strategy) == 0
    assert losses(killed) == losses(tmp_path / "whole")
    assert len(losses(killed)) == 4 * 3 + 6
    for name in ("base/sam.safetensors", "fixed/heads.safetensors", "fixed/adapter/adapter_model.safetensors"):
        one, other = (load_file(folder / "mdlm" / name) for folder in (killed, tmp_path / "whole"))
        assert all(torch.equal(one[key], other[key]) for key in one)

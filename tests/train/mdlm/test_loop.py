"""The loop in real processes: two ranks train like one, and a killed run goes on as if nothing had happened."""

import itertools
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch
from torch import nn

from data.errors import UserError
from data.files import read_json, read_jsonl, write_json
from data.training.batches import MixedDataset, Part
from train.engine.identity import Identity
from train.engine.optim import OptimConfig
from train.engine.tracking import TrackingConfig
from train.mdlm import loop
from train.mdlm.config import LoopConfig, RunConfig
from train.mdlm.loop import StepLoss, _load, fit

ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).with_name("rank_worker.py")


def launch(folder: Path, count: int = 2, by: str = "torchrun", **spec: Any) -> subprocess.CompletedProcess[str]:
    """Runs the worker on `count` ranks, by torchrun or accelerate; `count=0` runs it without a launcher."""
    path = folder.with_suffix(".json")
    write_json(path, {"folder": str(folder), **spec})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={count}", f"--master_port={port}"] if count else []
    if by == "accelerate":
        launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines=1", f"--num_processes={count}"]
        launcher += ["--mixed_precision=no", "--dynamo_backend=no", f"--main_process_port={port}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(WORKER), str(path)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def train(folder: Path, count: int = 2, **spec: Any) -> list[dict[str, Any]]:
    """A run that must succeed: what its ranks ended with."""
    done = launch(folder, count, **spec)
    assert done.returncode == 0, done.stderr[-3000:]
    return [read_json(folder / f"rank-{number}.json") for number in range(max(1, count))]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(folder / "log.jsonl")]


class Numbers:
    """Six items that are numbers."""

    def __len__(self) -> int:
        return 6

    def get(self, epoch: int, index: int) -> int:
        return index


@dataclass
class Nothing:
    """A batch that no loss looks at."""

    ids: list[str]

    def to(self, device: torch.device, non_blocking: bool = False) -> "Nothing":
        return self


def run_steps(folder: Path, model: nn.Module, loss: Callable[[nn.Module, Nothing], StepLoss], **settings: Any) -> int:
    """Six steps that warm up for two, on the CPU; the bytes of the optimizer's state."""
    return fit(
        model,
        MixedDataset([Part(Numbers(), 1)]),
        collate=lambda items: Nothing([f"image {item}" for item in items]),
        loss=loss,
        config=LoopConfig(steps=6, batch_size=1, optim=OptimConfig(lr=0.1, warmup_steps=2, final_lr=0.2), **settings),
        run=RunConfig(tracking=TrackingConfig(tensorboard=False)),
        folder=folder,
        name="x",
        seed=0,
        identity=Identity({}),
    )


def test_each_step_takes_its_own_learning_rate_and_time(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss(network: nn.Module, batch: Nothing) -> StepLoss:
        seen.append(model.weight.item())
        return StepLoss(model.weight.sum(), {})  # a constant gradient: AdamW moves by the learning rate itself

    began = time.perf_counter()
    run_steps(tmp_path, model, loss, explosion=None)
    took = time.perf_counter() - began
    moved = [before - after for before, after in itertools.pairwise([*seen, model.weight.item()])]
    cosine = [0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * done / 4)) for done in range(4)]  # four steps after two
    rates = [0.05, 0.1, *(0.1 * factor for factor in cosine)]
    assert moved == pytest.approx(rates, rel=1e-4)
    rows = read_jsonl(tmp_path / "log.jsonl")
    assert [row["lr"] for row in rows] == pytest.approx(rates)
    assert 0 < sum(1 / row["samples_per_second"] for row in rows) <= took  # one sample a step
    assert all(0 <= row["data_share"] <= 1 and row["memory_gib"] > 0.01 for row in rows)


def test_a_refused_step_leaves_the_rows_before_it(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    done = [0]

    def loss(network: nn.Module, batch: Nothing) -> StepLoss:
        done[0] += 1
        return StepLoss(model.weight.sum() * (float("nan") if done[0] == 4 else 1.0), {})

    with pytest.raises(UserError, match="step 4"):
        run_steps(tmp_path, model, loss)
    assert [row["step"] for row in read_jsonl(tmp_path / "log.jsonl")] == [1, 2, 3]


def test_a_run_tells_its_memory_and_the_optimizers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "peak_memory", lambda device: 33 * 2**25)  # 33/32 GiB
    model = nn.Linear(3, 5, bias=False)
    held = run_steps(tmp_path, model, lambda network, batch: StepLoss(model.weight.sum(), {}), explosion=None)
    assert held == 2 * 3 * 5 * 4  # AdamW's two moments of 15 weights, 4 bytes each
    assert [row["memory_gib"] for row in read_jsonl(tmp_path / "log.jsonl")] == [1.031] * 6


def test_ranks_that_drifted_apart_save_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(1, 1, bias=False)
    done = [0]

    def loss(network: nn.Module, batch: Nothing) -> StepLoss:
        done[0] += 1
        return StepLoss(model.weight.sum(), {})

    def differ(network: nn.Module) -> None:
        raise UserError(f"The weights differ after {done[0]} steps.")

    monkeypatch.setattr(loop, "check_in_step", differ)
    with pytest.raises(UserError, match="after 2 steps"):
        run_steps(tmp_path, model, loss, explosion=None, checkpoint_every=2)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


@pytest.mark.slow
def test_ranks_train_together_and_like_one(tmp_path: Path) -> None:
    (alone,) = train(tmp_path / "one", 0)
    ends = {}
    for strategy in ("ddp", "zero2"):
        ends[strategy] = train(tmp_path / strategy, 2, strategy=strategy)
        one, other = ends[strategy]
        assert one["world"] == 2
        assert one["weights"] == other["weights"]  # bit for bit, after six steps
        assert losses(tmp_path / strategy) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert len(set(losses(tmp_path / "one"))) == 6
    assert alone["bytes"] == ends["ddp"][0]["bytes"] > 0
    for rank in range(2):
        assert ends["zero2"][rank]["bytes"] <= 0.55 * ends["ddp"][rank]["bytes"]


@pytest.mark.slow
def test_accelerate_launch_works_like_torchrun(tmp_path: Path) -> None:
    by_accelerate = train(tmp_path / "accelerate", 2, by="accelerate")
    assert by_accelerate[0]["world"] == 2
    assert by_accelerate == train(tmp_path / "torchrun", 2)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "zero2"])
def test_killed_ranks_go_on_bit_for_bit(tmp_path: Path, strategy: str) -> None:
    whole = train(tmp_path / "whole", 2, strategy=strategy, dropout=0.3, workers=1)
    died = launch(tmp_path / "killed", 2, strategy=strategy, dropout=0.3, workers=1, kill_rank=1, kill_at=4)
    assert died.returncode != 0
    assert not (tmp_path / "killed" / "rank-0.json").exists()
    resumed = train(tmp_path / "killed", 2, strategy=strategy, dropout=0.3, workers=1)
    assert resumed == whole
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_to_one_rank_saves_and_stops_all(tmp_path: Path) -> None:
    (whole,) = train(tmp_path / "whole", 0)
    stopped = launch(tmp_path / "alone", 0, kill_rank=0, kill_at=3, signal=signal.SIGTERM)
    assert stopped.returncode == 143
    assert "asked to end: points, step 3, is saved; run the same command again" in stopped.stderr
    assert (tmp_path / "alone" / "checkpoints" / "step-000003").is_dir()
    assert train(tmp_path / "alone", 0) == [whole]
    assert losses(tmp_path / "alone") == losses(tmp_path / "whole")
    both = launch(tmp_path / "both", 2, kill_rank=1, kill_at=3, signal=signal.SIGTERM)
    assert both.returncode != 0
    assert len(re.findall("asked to end: points, step 3, is saved", both.stderr)) == 1
    assert (tmp_path / "both" / "checkpoints" / "step-000003" / "manifest.json").is_file()


@pytest.mark.slow
def test_a_bad_loss_on_one_rank_names_the_images_of_all(tmp_path: Path) -> None:
    done = launch(tmp_path / "run", 2, nan_rank=1, nan_at=3)
    assert done.returncode != 0
    bad = read_json(tmp_path / "run" / "bad_batch.json")
    assert (bad["step"], [row["rank"] for row in bad["ranks"]]) == (3, [0, 1])
    assert bad["ranks"][1]["loss"] == "nan" and bad["ranks"][0]["loss"] != "nan"
    names = [name for row in bad["ranks"] for name in row["ids"]]
    assert len(names) == 8
    assert all(name in done.stderr for name in names)
    assert "the loss is nan at step 3" in done.stderr


@pytest.mark.slow
def test_ranks_that_disagree_do_not_start(tmp_path: Path) -> None:
    done = launch(tmp_path / "run", 2, disagree=True)
    assert done.returncode != 0
    assert "different configurations: seed: 0 on rank 0, 1 on rank 1" in done.stderr
    assert not (tmp_path / "run" / "log.jsonl").exists()
    done = launch(tmp_path / "three", 3)
    assert "batch_size=8 does not divide by 3 ranks" in done.stderr


@pytest.mark.slow
def test_a_loading_process_has_one_thread() -> None:
    """It is started from a clean process: a fork of this one would inherit the locks of its threads."""
    config = LoopConfig(steps=2, batch_size=2, workers=1)
    loader = _load(MixedDataset([Part(Threads(), 2)]), list, config, 0, 0)
    assert loader.multiprocessing_context.get_start_method() == "forkserver"
    assert list(loader) == [[(1, 1)] * 2] * 2


@pytest.mark.slow
def test_a_loading_process_shares_what_was_imported() -> None:
    """Each would hold 200 MiB of libraries of its own, and take a second of a core to import them."""
    config = LoopConfig(steps=2, batch_size=2, workers=2)
    for batch in _load(MixedDataset([Part(OwnMemory(), 2)]), list, config, 0, 0):
        assert max(batch) < 100 * 2**20


@pytest.mark.slow
def test_a_killed_training_leaves_no_loading_process(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((8, 8, 3), np.uint8))
    program = f"""
import multiprocessing, time
from pathlib import Path
from data.sample import Sample
from data.training.batches import MixedDataset, Part
from data.training.grounding import SampleGrounding
from train.engine.identity import Identity
from train.engine.optim import OptimConfig
from train.engine.tracking import TrackingConfig
from train.mdlm.config import LoopConfig, RunConfig
from train.mdlm.loop import StepLoss, _load, fit
sample = Sample(id="a", dataset="d", category="c", split="train", image=Path({str(tmp_path / "image.png")!r}))
parts = MixedDataset([Part(SampleGrounding([sample], ["x"], 0), 1)])
batches = iter(_load(parts, list, LoopConfig(steps=1000, batch_size=1, workers=1), 0, 0))
next(batches)
print(multiprocessing.active_children()[0].pid, flush=True)
time.sleep(600)
"""
    training = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    worker = int(training.stdout.readline())
    assert psutil.pid_exists(worker)
    training.kill()
    training.wait()
    psutil.wait_procs([psutil.Process(worker)] if psutil.pid_exists(worker) else [], timeout=30)
    assert not psutil.pid_exists(worker)


class OwnMemory:
    """Items that tell how many bytes are the process's alone where they are made."""

    def __len__(self) -> int:
        return 4

    def get(self, epoch: int, index: int) -> int:
        return psutil.Process().memory_full_info().uss


class Threads:
    """Items that tell how many threads OpenCV and torch have where they are made."""

    def __len__(self) -> int:
        return 4

    def get(self, epoch: int, index: int) -> tuple[int, int]:
        return cv2.getNumThreads(), torch.get_num_threads()

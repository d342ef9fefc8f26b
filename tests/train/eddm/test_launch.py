"""EDDM's adapter trained by real processes: two ranks, ZeRO-2, 4 bits, and what kill -9 and SIGTERM leave behind."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from data.ddqa.tasks import AD_OPTIONS, Task, format_prompt
from data.files import read_jsonl, write_jsonl
from data.tiny.scenes import make_scene
from models.tiny.minicpmv import TinyMiniCPMVConfig, build_model, build_processor, save_checkpoint
from train.tiny.eddm import tiny_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]
STEPS = 8


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights."""
    folder, config = tmp_path_factory.mktemp("base") / "base", TinyMiniCPMVConfig(vision_layers=2, text_layers=1)
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(config.vocab_size)
    save_checkpoint(folder, build_model(config, tokenizer), build_processor(config, tokenizer))
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ddqa")
    rows = []
    for index in range(12):
        path = folder / f"{index}.png"
        cv2.imwrite(str(path), make_scene(np.random.default_rng(index), 64, marks=index % 2).image)
        question = {"role": "user", "content": "<image>" + format_prompt(Task.AD, AD_OPTIONS)}
        answer = {"role": "assistant", "content": "B" if index % 2 else "A"}
        rows.append({"messages": [question, answer], "images": [str(path)], "id": f"scene-{index}"})
    write_jsonl(folder / "train.jsonl", rows)
    return folder / "train.jsonl"


@pytest.fixture(scope="module")
def start(base: Path, questions: Path) -> Callable[..., "subprocess.Popen[str]"]:
    def go(run: Path, *overrides: str, ranks: int = 1) -> "subprocess.Popen[str]":
        launch = ["-m", "torch.distributed.run", f"--nproc_per_node={ranks}", "--standalone"]
        settings = [f"run_dir={run}", f"model.id={base}", f"questions={questions}", f"optim.max_steps={STEPS}"]
        settings += ["optim.total_batch=4", "optim.batch_size=2", "optim.save_steps=2", "optim.log_steps=1"]
        settings += ["lora.dropout=0.1", "optim.fast_matmul=false"]
        command = [sys.executable, *(launch if ranks > 1 else []), "-m", "scripts.train_eddm", *settings, *overrides]
        run.parent.mkdir(parents=True, exist_ok=True)
        log = run.with_suffix(".log").open("a")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=log, text=True, start_new_session=True
        )

    return go


@pytest.fixture(scope="module")
def train(start: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., str]:
    def go(run: Path, *overrides: str, ranks: int = 1, code: int = 0) -> str:
        process = start(run, *overrides, ranks=ranks)
        assert process.wait() == code, run.with_suffix(".log").read_text()[-3000:]
        return run.with_suffix(".log").read_text()

    return go


@pytest.fixture(scope="module")
def whole(train: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of one process."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(run)
    return run


@pytest.fixture(scope="module")
def whole_by_two(train: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of two ranks."""
    run = tmp_path_factory.mktemp("two") / "run"
    said = train(run, ranks=2)
    assert "2 ranks on cpu:0, ddp" in said and "batch: 4 rows a step = 2 × 1 accumulated × 2 ranks" in said
    assert "all 2 ranks hold the same weights after a step" in said
    return run


def result(run: Path) -> tuple[list[dict[str, Any]], bytes]:
    rows = read_jsonl(run / "eddm" / "log.jsonl")
    return rows, (run / "eddm" / "adapter" / "adapter_model.safetensors").read_bytes()


def weights(run: Path) -> torch.Tensor:
    values = load_file(run / "eddm" / "adapter" / "adapter_model.safetensors")
    return torch.cat([values[name].flatten() for name in sorted(values)])


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, "the training ended before it could be interrupted"
        time.sleep(0.002)


def kill(process: "subprocess.Popen[str]") -> None:
    """Ends a launcher and its ranks, which have sessions of their own, with kill -9."""
    launcher = psutil.Process(process.pid)
    for victim in [launcher, *launcher.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait()


def test_one_process_logs_every_step_and_cleans_up(whole: Path) -> None:
    rows, _ = result(whole)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert not (whole / "eddm" / "lora").exists()


@pytest.mark.parametrize("file", ["checkpoint-2/manifest.json", "checkpoint-6/optimizer.pt"])
def test_after_kill_9_the_following_losses_are_bit_identical(
    start: Callable[..., "subprocess.Popen[str]"], train: Callable[..., str], whole: Path, tmp_path: Path, file: str
) -> None:
    run = tmp_path / "run"
    process = start(run)
    wait_for(run / "eddm" / "lora" / file, process)
    kill(process)
    assert "going on from step" in train(run)
    assert result(run) == result(whole)


def test_two_ranks_resume_bit_identically_after_kill_9(
    start: Callable[..., "subprocess.Popen[str]"], train: Callable[..., str], whole_by_two: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(run, ranks=2)
    wait_for(run / "eddm" / "lora" / "checkpoint-4" / "manifest.json", process)
    kill(process)
    assert "going on from step" in train(run, ranks=2)
    assert result(run) == result(whole_by_two)


def test_half_the_batch_on_a_device_goes_on_with_the_same_training(
    start: Callable[..., "subprocess.Popen[str]"], train: Callable[..., str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(run)
    wait_for(run / "eddm" / "lora" / "checkpoint-4" / "manifest.json", process)
    kill(process)
    assert "going on from step" in train(run, "optim.batch_size=1", "optim.gradient_checkpointing=true")
    losses = [row["loss"] for row in result(run)[0]]
    assert losses == pytest.approx([row["loss"] for row in result(whole)[0]], rel=0.05)  # dropout is drawn otherwise


def test_two_ranks_train_what_one_does(train: Callable[..., str], tmp_path: Path) -> None:
    train(tmp_path / "one", "lora.dropout=0")
    train(tmp_path / "two", "lora.dropout=0", ranks=2)
    (one, _), (two, _) = result(tmp_path / "one"), result(tmp_path / "two")
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=1e-4)


def test_zero_2_trains_what_ddp_does_and_resumes(
    start: Callable[..., "subprocess.Popen[str]"], train: Callable[..., str], whole_by_two: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(run, "optim.deepspeed=zero2", ranks=2)
    wait_for(run / "eddm" / "lora" / "checkpoint-4" / "manifest.json", process)
    kill(process)
    said = train(run, "optim.deepspeed=zero2", ranks=2)
    assert "DeepSpeed ZeRO-2" in said and "going on from step" in said
    assert [row["loss"] for row in result(run)[0]] == pytest.approx(
        [row["loss"] for row in result(whole_by_two)[0]], rel=1e-3
    )
    train(tmp_path / "again", "optim.deepspeed=zero2", ranks=2)
    assert result(run) == result(tmp_path / "again")


def test_sigterm_saves_and_exits_with_143(
    start: Callable[..., "subprocess.Popen[str]"], train: Callable[..., str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(run)
    wait_for(run / "eddm" / "lora" / "checkpoint-2" / "manifest.json", process)
    process.terminate()
    assert process.wait() == 143
    assert "is saved; run the same command again" in run.with_suffix(".log").read_text()
    train(run)
    assert result(run) == result(whole)


def test_a_base_in_4_bits_trains_on_a_cpu(train: Callable[..., str], whole: Path, tmp_path: Path) -> None:
    said = train(tmp_path / "run", "lora.quantize=nf4")
    assert "uint8" in said and "linear layers in nf4" in said
    losses, exact = ([row["loss"] for row in result(run)[0]] for run in (tmp_path / "run", whole))
    assert losses != exact and losses == pytest.approx(exact, rel=0.1)
    assert losses[-1] < losses[0]


def test_a_loss_that_is_no_number_names_its_rows(train: Callable[..., str], tmp_path: Path) -> None:
    said = train(tmp_path / "run", "optim.loss_limit=0.001", code=2)
    assert "over its limit of 0.001" in said and "scene-" in said
    assert (tmp_path / "run" / "eddm" / "bad_batch.json").is_file()

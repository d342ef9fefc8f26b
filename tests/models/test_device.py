"""Which device and number format is chosen, on machines with and without GPUs."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from data.errors import UserError
from models.device import CPU, Placement, choose, cpu_computes_in


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, bf16: bool = True, uuid: str = "GPU-0") -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)


@pytest.mark.parametrize(
    ("device", "precision", "count", "local_rank", "expected"),
    [
        ("auto", "auto", 0, None, "cpu torch.float32"),
        ("auto", "bf16", 0, None, "cpu torch.bfloat16"),
        ("auto", "auto", 2, None, "cuda:0 torch.bfloat16"),
        ("auto", "fp16", 2, 1, "cuda:1 torch.float16"),
        ("cuda", "float32", 2, 1, "cuda:1 torch.float32"),
        ("cuda:1", "auto", 2, None, "cuda:1 torch.bfloat16"),
        ("cpu", "auto", 2, 1, "cpu torch.float32"),
    ],
)
def test_device_and_number_format(
    device: str, precision: str, count: int, local_rank: int | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count)
    launcher = {} if local_rank is None else {"LOCAL_RANK": str(local_rank), "LOCAL_WORLD_SIZE": "2"}
    chosen = choose(device, precision, environment=launcher)
    assert f"{chosen.device} {chosen.dtype}" == expected


def test_auto_keeps_the_format_of_a_checkpoint_and_asks_the_gpu_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("cpu", own="bfloat16").dtype is torch.bfloat16
    assert choose("cpu", "float32", own="bfloat16").dtype is torch.float32
    gpus(monkeypatch, 1, bf16=False)
    assert choose(environment={}).dtype is torch.float16


@pytest.mark.parametrize(("number", "said"), [("bfloat16", True), ("float16", True), ("float32", False)])
def test_a_format_that_the_cpu_only_imitates_is_said(
    number: str, said: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bf16", "fp16"):
        monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{name}_supported", lambda: False, raising=False)
    monkeypatch.setattr("models.device._told", set())
    for _ in range(2):
        assert choose("cpu", own=number).number == number
    assert caplog.text.count("precision=float32") == said  # once


@pytest.mark.parametrize("number", ["bfloat16", "fp16", "float32", "no", "as the weights"])
def test_the_cpu_is_asked_for_its_instructions(number: str) -> None:
    assert cpu_computes_in(number) in ((True, False) if "16" in number else (True,))


@pytest.mark.parametrize(
    ("device", "count", "launcher", "message"),
    [
        ("gpu", 1, {}, "device=gpu is none of auto, cpu, cuda"),
        ("cpu:1", 1, {}, "is none of"),
        ("cuda:x", 1, {}, "is none of"),
        ("cuda", 0, {}, "device=cuda asks for GPU 0, but torch sees none here"),
        ("cuda:3", 2, {}, "asks for GPU 3, but torch sees only 2"),
        ("auto", 2, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"}, "3 ranks .* shows 2 GPUs: two would share one"),
        ("cuda:1", 2, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "all 2 ranks on one GPU"),
    ],
)
def test_what_cannot_be_is_said(
    device: str, count: int, launcher: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(UserError, match=message):
        choose(device, environment=launcher)


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.device._held", {})
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def launched(rank: int, port: int = 29500) -> dict[str, str]:
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": str(port)}


@pytest.mark.usefixtures("locks")
def test_a_launcher_may_show_each_rank_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in (0, 1, 0, 1):
        gpus(monkeypatch, 1, uuid=f"GPU-{rank}")
        for device in ("auto", "cuda", "cuda:0"):
            assert choose(device, environment=launched(rank)).where == "cuda:0"
    with pytest.raises(UserError, match="device=cuda:1 asks for GPU 1, but torch sees only 1"):
        choose("cuda:1", environment=launched(1))


@pytest.mark.usefixtures("locks")
def test_two_ranks_that_see_the_same_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    assert choose(environment=launched(0)).where == "cuda:0"
    for device in ("auto", "cuda", "cuda:0"):
        with pytest.raises(UserError, match=r"2 ranks .* shows 1 GPU: two would share one"):
            choose(device, environment=launched(1))
    assert choose(environment=launched(1, port=29501)).where == "cuda:0"  # of another launch: nothing of ours


@pytest.mark.usefixtures("locks")
def test_a_gpu_is_free_again_when_its_rank_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import torch, types; from models.device import choose; torch.cuda.is_available = lambda: True;"
        "torch.cuda.device_count = lambda: 1; torch.cuda.is_bf16_supported = lambda including_emulation: True;"
        "torch.cuda.get_device_properties = lambda device: types.SimpleNamespace(uuid='GPU-0'); print(choose().where)"
    )
    environment = os.environ | launched(0) | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cuda:0"
    gpus(monkeypatch, 1)
    assert choose(environment=launched(1)).where == "cuda:0"


def test_autocast_and_placing() -> None:
    layer = nn.Linear(4, 4)
    with CPU.autocast():
        assert layer(torch.ones(1, 4)).dtype is torch.float32
    with Placement("cpu", "bfloat16").autocast():
        assert layer(torch.ones(1, 4)).dtype is torch.bfloat16
    assert Placement("meta", "float32").place(layer).weight.device.type == "meta"

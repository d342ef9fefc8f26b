"""Which device and number format is chosen, on machines with and without GPUs."""

import pytest
import torch
from torch import nn

from data.errors import UserError
from models.device import CPU, Placement, choose


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
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


@pytest.mark.parametrize(
    ("device", "count", "launcher", "message"),
    [
        ("gpu", 1, {}, "device=gpu is none of auto, cpu, cuda"),
        ("cpu:1", 1, {}, "is none of"),
        ("cuda:x", 1, {}, "is none of"),
        ("cuda", 0, {}, "device=cuda asks for GPU 0, but torch sees none here"),
        ("cuda:3", 2, {}, "asks for GPU 3, but torch sees only 2"),
        ("auto", 1, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "2 ranks .* shows 1 GPU: two would share one"),
        ("cuda:1", 2, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "all 2 ranks on one GPU"),
    ],
)
def test_what_cannot_be_is_said(
    device: str, count: int, launcher: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, count)
    with pytest.raises(UserError, match=message):
        choose(device, environment=launcher)


def test_autocast_and_placing() -> None:
    layer = nn.Linear(4, 4)
    with CPU.autocast():
        assert layer(torch.ones(1, 4)).dtype is torch.float32
    with Placement("cpu", "bfloat16").autocast():
        assert layer(torch.ones(1, 4)).dtype is torch.bfloat16
    assert Placement("meta", "float32").place(layer).weight.device.type == "meta"

import pytest
import torch
from torch import nn

from data.errors import UserError
from train.engine import launch, ranks
from train.engine.launch import LaunchConfig, Strategy, check_launch, optimizer_bytes, split_batch


def test_a_batch_that_does_not_divide_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    assert split_batch(8) == 8
    monkeypatch.setattr(ranks, "world_size", lambda: 3)
    assert split_batch(9) == 3
    with pytest.raises(UserError, match=r"batch_size=8 does not divide by 3 ranks. Start with 1, 2, 4, 8 ranks"):
        split_batch(8)


def test_what_cannot_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launch(LaunchConfig())
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(UserError, match="needs a launcher"):
        check_launch(LaunchConfig(strategy=Strategy.zero2))
    monkeypatch.setenv("LOCAL_RANK", "0")
    check_launch(LaunchConfig(strategy=Strategy.zero2))
    monkeypatch.setattr(launch.torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="zero3 needs GPUs"):
        check_launch(LaunchConfig(strategy=Strategy.zero3))
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UserError, match="--use_deepspeed"):
        check_launch(LaunchConfig())


def test_optimizer_bytes_are_the_two_moments() -> None:
    layer = nn.Linear(3, 5)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert optimizer_bytes(optimizer) == 2 * 4 * (15 + 5)

import pytest
import torch
from torch import nn

from train.engine.optim import OptimConfig, build_optimizer, lr_factor


def test_schedule_rises_and_falls() -> None:
    config = OptimConfig(warmup_steps=4, final_lr=0.1)
    factors = [lr_factor(step, 20, config) for step in range(21)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == pytest.approx(1.0) and factors[20] == pytest.approx(0.1)
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert lr_factor(3, 3, OptimConfig(warmup_steps=2, final_lr=0.1)) == pytest.approx(0.1)
    assert lr_factor(2, 2, OptimConfig(warmup_steps=2, final_lr=0.1)) == pytest.approx(1.0)
    assert lr_factor(15, 20, OptimConfig(warmup_steps=0, final_lr=1.0)) == 1.0


def test_only_trainable_matrices_decay() -> None:
    layer = nn.Linear(3, 2)
    frozen = nn.Parameter(torch.zeros(2, 2), requires_grad=False)
    optimizer = build_optimizer([*layer.parameters(), frozen], OptimConfig(weight_decay=0.3))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decays == {id(layer.weight): 0.3, id(layer.bias): 0.0}


@pytest.mark.parametrize("there_is_a_gpu", [False, True])
def test_a_gpu_updates_all_weights_by_one_kernel(monkeypatch: pytest.MonkeyPatch, there_is_a_gpu: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_a_gpu)
    assert build_optimizer(nn.Linear(3, 2).parameters(), OptimConfig()).defaults["fused"] is (there_is_a_gpu or None)
